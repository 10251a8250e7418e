"""Tables of the Skills service. Times are epoch milliseconds, JSON is text, cost is 10^-12 currency units."""

from sqlalchemy import BigInteger, Column, Index, MetaData, Table, Text, UniqueConstraint

METADATA = MetaData()

RUNS = Table(
    "skills_runs",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("parent_run_id", Text),
    Column("skill", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("user_id", Text),
    Column("subject", Text, nullable=False),
    Column("turn_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("request", Text, nullable=False),
    Column("state", Text),
    Column("result", Text),
    Column("transcript", Text),
    Column("attempt", BigInteger, nullable=False),
    Column("owner", Text),
    Column("heartbeat_at", BigInteger),
    Column("steps", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost_pico", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Index("skills_runs_session", "tenant", "session_id", "created_at"),
    Index("skills_runs_status", "tenant", "status", "updated_at"),
    Index("skills_runs_turn", "tenant", "session_id", "turn_id"),
)
"""One row per run. ``state`` is the conversation with the model where a run can go on; ``result`` what it gave,
``transcript`` what later turns are shown of its tool calls."""

RUN_STEPS = Table(
    "skills_run_steps",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("tool", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("output", Text),
    Column("error", Text),
    Column("begun_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    UniqueConstraint("tenant", "idempotency_key", name="skills_run_steps_key"),
)
"""One row per write: ``begun`` before the call, ``done``, ``failed`` or ``unknown`` after it.

``step`` is ``model call.position in its answer``, such as ``2.0``.
"""
