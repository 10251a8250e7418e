"""Tables of the gateway. Times are epoch milliseconds, flags 0 or 1, money 10^-12 units of its currency."""

from sqlalchemy import BigInteger, Column, Index, MetaData, Table, Text

METADATA = MetaData()

CALLS = Table(
    "ledger_calls",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("call_id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("workflow_id", Text),
    Column("session_id", Text),
    Column("skill_id", Text),
    Column("purpose", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("model_asked", Text, nullable=False),
    Column("model_answered", Text),
    Column("deployment", Text),
    Column("streamed", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("audio_input_tokens", BigInteger, nullable=False),
    Column("audio_output_tokens", BigInteger, nullable=False),
    Column("cost_pico", BigInteger),
    Column("currency", Text),
    Column("priced", BigInteger, nullable=False),
    Column("estimated", BigInteger, nullable=False),
    Column("emulated", Text),
    Column("outcome", Text, nullable=False),
    Column("status", BigInteger, nullable=False),
    Column("error_code", Text),
    Column("latency_ms", BigInteger, nullable=False),
    Column("first_token_ms", BigInteger),
    Column("trace_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("user_id", Text),
    Column("key_id", Text),
    Column("cache_write_1h_tokens", BigInteger, nullable=False, server_default="0"),
    Column("image_input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("image_output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("reaped", BigInteger, nullable=False, server_default="0"),
    Column("cached", Text),
    Column("held_pico", BigInteger),
    Index("ledger_calls_created", "tenant", "created_at"),
)
"""One row per call, exactly once. A null cost means that the model has no price, never that it cost nothing.

``reaped``: 1 where another process wrote the row for one that was gone, 2 where that row was then replaced by the
call's own. ``held_pico``: what budgets count of the call instead of its cost, where nobody knows what it used.
"""

ATTEMPTS = Table(
    "ledger_attempts",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("call_id", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("deployment", Text, nullable=False),
    Column("model_answered", Text),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("audio_input_tokens", BigInteger, nullable=False),
    Column("audio_output_tokens", BigInteger, nullable=False),
    Column("cost_pico", BigInteger),
    Column("currency", Text),
    Column("estimated", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", BigInteger, nullable=False),
    Column("error_code", Text),
    Column("latency_ms", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("cache_write_1h_tokens", BigInteger, nullable=False, server_default="0"),
    Column("image_input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("image_output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("reaped", BigInteger, nullable=False, server_default="0"),
)
"""One row per attempt at a provider, numbered from 1 in its call."""

_REAPED = Index(
    "ledger_attempts_reaped",
    ATTEMPTS.c.call_id,
    sqlite_where=ATTEMPTS.c.reaped == 1,
    postgresql_where=ATTEMPTS.c.reaped == 1,
)

CORRECTIONS = Table(
    "ledger_corrections",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("correction_id", Text, primary_key=True),
    Column("call_id", Text, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ledger_corrections_call", "tenant", "call_id"),
)
"""What a call cost more or, below zero, less than its row says: money of a row is never changed."""

PRICES = Table(
    "llm_prices",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("price_id", Text, primary_key=True),
    Column("deployment", Text),
    Column("provider", Text),
    Column("model", Text),
    Column("effective_from", BigInteger, nullable=False),
    Column("price", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
"""Prices of deployments, or of a provider's models, from a time on; rows are added and never changed. ``price`` is JSON
with decimals as text. They are the operator's, so the tenant is the system's."""

LIMITS = Table(
    "llm_limits",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)
"""A tenant's own limits; ``rule`` is JSON."""

BUDGETS = Table(
    "llm_budgets",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)
"""A tenant's own budgets; ``rule`` is JSON."""

POLICY_VERSIONS = Table(
    "llm_policy_versions",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)
"""One row, of the system's tenant: counted up with every change of prices, limits and budgets, so that replicas see in
one look whether they must read anew."""

PROCESSES = Table(
    "llm_processes",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("heartbeat_at", BigInteger, nullable=False),
)
"""The processes that live, where they share a Redis: when it was emptied, it must hear of the calls of each."""

RESPONSES = Table(
    "llm_responses",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("response_id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("background", BigInteger, nullable=False),
    Column("previous_response_id", Text),
    Column("input", Text, nullable=False),
    Column("response", Text, nullable=False),
    Column("owner", Text),
    Column("heartbeat_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("llm_responses_owner", "owner", "heartbeat_at"),
    Index("llm_responses_expires", "expires_at"),
)
"""Responses that their caller may read again: ``input`` and ``response`` are JSON, content of the caller's.

``owner`` is the process that works on it; without one it is over. Who writes its end takes it from the owner, so there
is one end.
"""

RESPONSE_EVENTS = Table(
    "llm_response_events",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("response_id", Text, primary_key=True),
    Column("first_number", BigInteger, primary_key=True),
    Column("last_number", BigInteger, nullable=False),
    Column("events", Text, nullable=False),
)
"""The events of background responses, some in a row, one JSON document a line, numbered without a gap."""

IDEMPOTENCY = Table(
    "llm_idempotency",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("claim", Text, nullable=False),
    Column("owner", Text),
    Column("heartbeat_at", BigInteger, nullable=False),
    Column("reply", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("llm_idempotency_owner", "owner"),
    Index("llm_idempotency_expires", "expires_at"),
)
"""What a repeated call gets. ``owner`` is the process that makes it; without one it was made, and ``reply`` is what it
got, or null where that is too large to be kept. ``claim`` names the call that took the key: only it writes the end.
"""
