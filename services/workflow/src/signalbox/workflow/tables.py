"""Tables of the Workflow service. Times are epoch milliseconds, JSON is text, cost is 10^-12 currency units."""

from sqlalchemy import BigInteger, Column, Float, Index, MetaData, Table, Text, UniqueConstraint, text

METADATA = MetaData()

SESSIONS = Table(
    "workflow_sessions",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("user_id", Text),
    Column("workflow_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("message_count", BigInteger, nullable=False),
    Column("config_hash", Text),
    Column("state", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("keep_until", BigInteger),
    Index("workflow_sessions_updated", "tenant", "updated_at"),
    Index(
        "workflow_sessions_kept",
        "keep_until",
        sqlite_where=text("keep_until IS NOT NULL"),
        postgresql_where=text("keep_until IS NOT NULL"),
    ),
    Index(
        "workflow_sessions_user",
        "tenant",
        "user_id",
        sqlite_where=text("user_id IS NOT NULL"),
        postgresql_where=text("user_id IS NOT NULL"),
    ),
)
"""One row per session; ``state`` is what a turn needs to go on. A deleted session keeps a row without content."""

TURNS = Table(
    "workflow_turns",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("turn_id", Text, primary_key=True),
    Column("session_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger),
    Column("status", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("heartbeat_at", BigInteger, nullable=False),
    Column("first_message", BigInteger, nullable=False),
    Column("user_text", Text, nullable=False),
    Column("reply", Text),
    Column("events", Text),
    Column("workflow_id", Text, nullable=False),
    Column("release_number", BigInteger),
    Column("arm", Text),
    Column("config_hash", Text, nullable=False),
    Column("stage", Text),
    Column("score", Float),
    Column("intent", Text),
    Column("outcome", Text),
    Column("latency_ms", Float),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cost_pico", BigInteger),
    Column("currency", Text),
    Column("trace_id", Text),
    Column("thumb", Text),
    Column("comment", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("committed_at", BigInteger),
    Column("kind", Text, nullable=False, server_default="message"),
    UniqueConstraint("tenant", "session_id", "epoch", "seq", name="workflow_turns_order"),
    Index("workflow_turns_history", "tenant", "session_id", "first_message"),
    Index("workflow_turns_created", "tenant", "created_at"),
)
"""One row per turn. A turn that failed has no ``seq``, so that the next one takes its place in the order.

``first_message`` is the position, counted over all epochs, of the turn's first message in the session's history:
the user's; the assistant's follows it. A turn of another ``kind`` than ``message`` has no message of the user.
"""

IDEMPOTENCY = Table(
    "workflow_idempotency",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("target_id", Text, nullable=False),
    Column("reply", Text),
    Column("locked_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("workflow_idempotency_created", "created_at"),
)
"""What a repeated request gets. ``target_id`` is the turn or task that the first one made."""

TASKS = Table(
    "workflow_tasks",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("result", Text),
    Column("webhook", Text),
    Column("attempt", BigInteger, nullable=False),
    Column("owner", Text),
    Column("heartbeat_at", BigInteger),
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("principal", Text),
    Column("batch_id", Text),
    Column("item", BigInteger),
    Column("schedule_id", Text),
    Column("cancel_at", BigInteger),
    Column("pause_id", Text),
    Index("workflow_tasks_due", "status", "due_at"),
    Index("workflow_tasks_session", "tenant", "session_id"),
    Index(
        "workflow_tasks_open",
        "tenant",
        "session_id",
        sqlite_where=text("status IN ('pending', 'running')"),
        postgresql_where=text("status IN ('pending', 'running')"),
    ),
    Index(
        "workflow_tasks_waiting",
        "tenant",
        "subject",
        sqlite_where=text("status IN ('pending', 'running')"),
        postgresql_where=text("status IN ('pending', 'running')"),
    ),
    Index("workflow_tasks_subject", "tenant", "subject", "task_id"),
    Index("workflow_tasks_batch", "tenant", "batch_id", "status", "due_at"),
)
"""Async queries; the row is the truth, a queue message only says to look now."""

BATCHES = Table(
    "workflow_batches",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("batch_id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("parallel", BigInteger, nullable=False),
    Column("webhook", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("checked_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Index("workflow_batches_unfinished", "finished_at", "checked_at"),
)
"""Async queries that were posted together; their tasks name them."""

SCHEDULES = Table(
    "workflow_schedules",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("schedule_id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("webhook", Text),
    Column("principal", Text),
    Column("status", Text, nullable=False),
    Column("due_at", BigInteger),
    Column("last_run_at", BigInteger),
    Column("last_task_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("workflow_schedules_due", "status", "due_at"),
    Index("workflow_schedules_subject", "tenant", "subject"),
)
"""Messages that are sent again and again; ``due_at`` is the next run."""

OUTBOX = Table(
    "workflow_outbox",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("last_error", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("session_id", Text),
    Index("workflow_outbox_due", "status", "due_at"),
    Index(
        "workflow_outbox_session",
        "tenant",
        "session_id",
        sqlite_where=text("session_id IS NOT NULL"),
        postgresql_where=text("session_id IS NOT NULL"),
    ),
)
"""Webhooks to deliver, written in the transaction of what they tell about. ``session_id`` is whose words are in it."""

TIMERS = Table(
    "workflow_timers",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("plan", Text, nullable=False),
    Index("workflow_timers_due", "due_at"),
)
"""The timers of a session, in one row: set by each of its user's turns, and over with the next one.

``epoch`` and ``seq`` are the turn that set them; ``plan`` is JSON, a list of timers with when they fire and how often
they did; ``due_at`` is the first of those. Each firing counts ``revision`` up, so that no other has the same.
"""

PAUSED_RUNS = Table(
    "workflow_paused_runs",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("pause_id", Text, primary_key=True),
    Column("session_id", Text, nullable=False),
    Column("turn_id", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("skill", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("user_id", Text),
    Column("reason", Text, nullable=False),
    Column("calls", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("decision", Text),
    Column("output", Text),
    Column("note", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", BigInteger),
    Column("task_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("done_at", BigInteger),
    Index("workflow_paused_runs_status", "tenant", "status", "pause_id"),
    Index("workflow_paused_runs_session", "tenant", "session_id"),
    Index("workflow_paused_runs_due", "status", "expires_at"),
)
"""Runs of skills that wait for an operator, written with the turn in which they stopped. ``status`` is ``waiting``,
then ``decided`` with the task in which the run goes on, then ``done`` with that task's turn."""

SUMMARIES = Table(
    "workflow_summaries",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("through_seq", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("cost_pico", BigInteger, nullable=False, server_default="0"),
)
"""What models are told of a session's turns up to ``through_seq``, instead of the turns themselves; and what those
cost in the epoch that were made after a turn, which its session's state does not know of."""

ERASURES = Table(
    "workflow_erasures",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("erasure_id", Text, primary_key=True),
    Column("what", Text, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("workflow_erasures_due", "due_at"),
)
"""What is still to be forgotten elsewhere (other services, the cache) of what was deleted here; ``what`` is JSON."""
