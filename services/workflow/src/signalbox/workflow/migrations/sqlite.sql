-- All tables of workflow at revision 0007, for a new SQLite file. Made from the revisions by
-- tests/gates/sqlite_schemas.py; do not edit.
CREATE TABLE alembic_version_workflow (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_workflow_pkc PRIMARY KEY (version_num)
);
CREATE TABLE workflow_idempotency (
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    route TEXT NOT NULL,
    "key" TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    target_id TEXT NOT NULL,
    reply TEXT,
    locked_until BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, subject, route, "key")
);
CREATE INDEX workflow_idempotency_created ON workflow_idempotency (created_at);
CREATE TABLE workflow_outbox (
    tenant TEXT NOT NULL,
    message_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    payload TEXT NOT NULL,
    status TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    last_error TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT, session_id TEXT,
    PRIMARY KEY (tenant, message_id)
);
CREATE INDEX workflow_outbox_due ON workflow_outbox (status, due_at);
CREATE TABLE workflow_sessions (
    tenant TEXT NOT NULL,
    session_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT,
    workflow_id TEXT NOT NULL,
    status TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    message_count BIGINT NOT NULL,
    config_hash TEXT,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL, keep_until BIGINT,
    PRIMARY KEY (tenant, session_id)
);
CREATE INDEX workflow_sessions_updated ON workflow_sessions (tenant, updated_at);
CREATE TABLE workflow_tasks (
    tenant TEXT NOT NULL,
    task_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    session_id TEXT NOT NULL,
    status TEXT NOT NULL,
    request TEXT NOT NULL,
    result TEXT,
    webhook TEXT,
    attempt BIGINT NOT NULL,
    owner TEXT,
    heartbeat_at BIGINT,
    due_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT, principal TEXT, batch_id TEXT, item BIGINT, schedule_id TEXT, cancel_at BIGINT, pause_id TEXT,
    PRIMARY KEY (tenant, task_id)
);
CREATE INDEX workflow_tasks_due ON workflow_tasks (status, due_at);
CREATE TABLE workflow_turns (
    tenant TEXT NOT NULL,
    turn_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    heartbeat_at BIGINT NOT NULL,
    first_message BIGINT NOT NULL,
    user_text TEXT NOT NULL,
    reply TEXT,
    events TEXT,
    workflow_id TEXT NOT NULL,
    release_number BIGINT,
    arm TEXT,
    config_hash TEXT NOT NULL,
    stage TEXT,
    score FLOAT,
    intent TEXT,
    outcome TEXT,
    latency_ms FLOAT,
    input_tokens BIGINT,
    output_tokens BIGINT,
    cost_pico BIGINT,
    currency TEXT,
    trace_id TEXT,
    thumb TEXT,
    comment TEXT,
    created_at BIGINT NOT NULL,
    committed_at BIGINT, kind TEXT DEFAULT 'message' NOT NULL,
    PRIMARY KEY (tenant, turn_id),
    CONSTRAINT workflow_turns_order UNIQUE (tenant, session_id, epoch, seq)
);
CREATE INDEX workflow_turns_created ON workflow_turns (tenant, created_at);
CREATE INDEX workflow_turns_history ON workflow_turns (tenant, session_id, first_message);
CREATE INDEX workflow_outbox_session ON workflow_outbox (tenant, session_id) WHERE session_id IS NOT NULL;
CREATE INDEX workflow_tasks_session ON workflow_tasks (tenant, session_id);
CREATE INDEX workflow_sessions_user ON workflow_sessions (tenant, user_id) WHERE user_id IS NOT NULL;
CREATE TABLE workflow_timers (
    tenant TEXT NOT NULL,
    session_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    "plan" TEXT NOT NULL,
    PRIMARY KEY (tenant, session_id)
);
CREATE INDEX workflow_timers_due ON workflow_timers (due_at);
CREATE TABLE workflow_summaries (
    tenant TEXT NOT NULL,
    session_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    through_seq BIGINT NOT NULL,
    text TEXT NOT NULL,
    made_at BIGINT NOT NULL, cost_pico BIGINT DEFAULT '0' NOT NULL,
    PRIMARY KEY (tenant, session_id)
);
CREATE TABLE workflow_erasures (
    tenant TEXT NOT NULL,
    erasure_id TEXT NOT NULL,
    what TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, erasure_id)
);
CREATE INDEX workflow_erasures_due ON workflow_erasures (due_at);
CREATE INDEX workflow_tasks_subject ON workflow_tasks (tenant, subject, task_id);
CREATE INDEX workflow_tasks_batch ON workflow_tasks (tenant, batch_id, status, due_at);
CREATE TABLE workflow_batches (
    tenant TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    total BIGINT NOT NULL,
    parallel BIGINT NOT NULL,
    webhook TEXT,
    created_at BIGINT NOT NULL,
    checked_at BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (tenant, batch_id)
);
CREATE INDEX workflow_batches_unfinished ON workflow_batches (finished_at, checked_at);
CREATE TABLE workflow_schedules (
    tenant TEXT NOT NULL,
    schedule_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    cron TEXT NOT NULL,
    timezone TEXT NOT NULL,
    request TEXT NOT NULL,
    webhook TEXT,
    principal TEXT,
    status TEXT NOT NULL,
    due_at BIGINT,
    last_run_at BIGINT,
    last_task_id TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, schedule_id)
);
CREATE INDEX workflow_schedules_due ON workflow_schedules (status, due_at);
CREATE INDEX workflow_schedules_subject ON workflow_schedules (tenant, subject);
CREATE INDEX workflow_tasks_open ON workflow_tasks (tenant, session_id) WHERE status IN ('pending', 'running');
CREATE INDEX workflow_sessions_kept ON workflow_sessions (keep_until) WHERE keep_until IS NOT NULL;
CREATE INDEX workflow_tasks_waiting ON workflow_tasks (tenant, subject) WHERE status IN ('pending', 'running');
CREATE TABLE workflow_paused_runs (
    tenant TEXT NOT NULL,
    pause_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    turn_id TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    run_id TEXT NOT NULL,
    skill TEXT NOT NULL,
    subject TEXT NOT NULL,
    principal TEXT NOT NULL,
    user_id TEXT,
    reason TEXT NOT NULL,
    calls TEXT NOT NULL,
    status TEXT NOT NULL,
    decision TEXT,
    output TEXT,
    note TEXT NOT NULL,
    decided_by TEXT,
    decided_at BIGINT,
    task_id TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    done_at BIGINT,
    PRIMARY KEY (tenant, pause_id)
);
CREATE INDEX workflow_paused_runs_status ON workflow_paused_runs (tenant, status, pause_id);
CREATE INDEX workflow_paused_runs_session ON workflow_paused_runs (tenant, session_id);
CREATE INDEX workflow_paused_runs_due ON workflow_paused_runs (status, expires_at);
INSERT INTO alembic_version_workflow (version_num) VALUES ('0007');
