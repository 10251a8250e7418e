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
