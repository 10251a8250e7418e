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
    Index("ledger_calls_created", "tenant", "created_at"),
)
"""One row per call, exactly once. A null cost means that the model has no price, never that it cost nothing."""

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
)
"""One row per attempt at a provider, numbered from 1 in its call."""

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
