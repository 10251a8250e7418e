-- All tables of skills at revision 0002, for a new SQLite file. Made from the revisions by
-- tests/gates/sqlite_schemas.py; do not edit.
CREATE TABLE alembic_version_skills (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_skills_pkc PRIMARY KEY (version_num)
);
CREATE TABLE skills_runs (
    tenant TEXT NOT NULL,
    run_id TEXT NOT NULL,
    parent_run_id TEXT,
    skill TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    session_id TEXT NOT NULL,
    user_id TEXT,
    subject TEXT NOT NULL,
    turn_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    request TEXT NOT NULL,
    state TEXT,
    result TEXT,
    attempt BIGINT NOT NULL,
    owner TEXT,
    heartbeat_at BIGINT,
    steps BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cost_pico BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    finished_at BIGINT, transcript TEXT,
    PRIMARY KEY (tenant, run_id)
);
CREATE INDEX skills_runs_session ON skills_runs (tenant, session_id, created_at);
CREATE INDEX skills_runs_status ON skills_runs (tenant, status, updated_at);
CREATE TABLE skills_run_steps (
    tenant TEXT NOT NULL,
    run_id TEXT NOT NULL,
    step TEXT NOT NULL,
    tool TEXT NOT NULL,
    arguments TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    status TEXT NOT NULL,
    output TEXT,
    error TEXT,
    begun_at BIGINT NOT NULL,
    ended_at BIGINT,
    PRIMARY KEY (tenant, run_id, step),
    CONSTRAINT skills_run_steps_key UNIQUE (tenant, idempotency_key)
);
CREATE INDEX skills_runs_turn ON skills_runs (tenant, session_id, turn_id);
INSERT INTO alembic_version_skills (version_num) VALUES ('0002');
