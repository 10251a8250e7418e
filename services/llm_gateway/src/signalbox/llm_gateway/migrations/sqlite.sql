-- All tables of llm_gateway at revision 0006, for a new SQLite file. Made from the revisions by
-- tests/gates/sqlite_schemas.py; do not edit.
CREATE TABLE alembic_version_llm_gateway (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_llm_gateway_pkc PRIMARY KEY (version_num)
);
CREATE TABLE ledger_calls (
    tenant TEXT NOT NULL,
    call_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    workflow_id TEXT,
    session_id TEXT,
    skill_id TEXT,
    purpose TEXT NOT NULL,
    operation TEXT NOT NULL,
    model_asked TEXT NOT NULL,
    model_answered TEXT,
    deployment TEXT,
    streamed BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    audio_input_tokens BIGINT NOT NULL,
    audio_output_tokens BIGINT NOT NULL,
    cost_pico BIGINT,
    currency TEXT,
    priced BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    emulated TEXT,
    outcome TEXT NOT NULL,
    status BIGINT NOT NULL,
    error_code TEXT,
    latency_ms BIGINT NOT NULL,
    first_token_ms BIGINT,
    trace_id TEXT,
    created_at BIGINT NOT NULL, user_id TEXT, key_id TEXT, cache_write_1h_tokens BIGINT DEFAULT '0' NOT NULL, image_input_tokens BIGINT DEFAULT '0' NOT NULL, image_output_tokens BIGINT DEFAULT '0' NOT NULL, reaped BIGINT DEFAULT '0' NOT NULL, cached TEXT, held_pico BIGINT,
    PRIMARY KEY (tenant, call_id)
);
CREATE INDEX ledger_calls_created ON ledger_calls (tenant, created_at);
CREATE TABLE ledger_attempts (
    tenant TEXT NOT NULL,
    call_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    deployment TEXT NOT NULL,
    model_answered TEXT,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    audio_input_tokens BIGINT NOT NULL,
    audio_output_tokens BIGINT NOT NULL,
    cost_pico BIGINT,
    currency TEXT,
    estimated BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    status BIGINT NOT NULL,
    error_code TEXT,
    latency_ms BIGINT NOT NULL,
    created_at BIGINT NOT NULL, cache_write_1h_tokens BIGINT DEFAULT '0' NOT NULL, image_input_tokens BIGINT DEFAULT '0' NOT NULL, image_output_tokens BIGINT DEFAULT '0' NOT NULL, reaped BIGINT DEFAULT '0' NOT NULL,
    PRIMARY KEY (tenant, call_id, number)
);
CREATE TABLE llm_responses (
    tenant TEXT NOT NULL,
    response_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    status TEXT NOT NULL,
    background BIGINT NOT NULL,
    previous_response_id TEXT,
    input TEXT NOT NULL,
    response TEXT NOT NULL,
    owner TEXT,
    heartbeat_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, response_id)
);
CREATE INDEX llm_responses_owner ON llm_responses (owner, heartbeat_at);
CREATE INDEX llm_responses_expires ON llm_responses (expires_at);
CREATE TABLE llm_response_events (
    tenant TEXT NOT NULL,
    response_id TEXT NOT NULL,
    first_number BIGINT NOT NULL,
    last_number BIGINT NOT NULL,
    events TEXT NOT NULL,
    PRIMARY KEY (tenant, response_id, first_number)
);
CREATE INDEX ledger_attempts_reaped ON ledger_attempts (call_id) WHERE reaped = 1;
CREATE TABLE ledger_corrections (
    tenant TEXT NOT NULL,
    correction_id TEXT NOT NULL,
    call_id TEXT NOT NULL,
    cost_pico BIGINT NOT NULL,
    currency TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, correction_id)
);
CREATE INDEX ledger_corrections_call ON ledger_corrections (tenant, call_id);
CREATE TABLE llm_prices (
    tenant TEXT NOT NULL,
    price_id TEXT NOT NULL,
    deployment TEXT,
    provider TEXT,
    model TEXT,
    effective_from BIGINT NOT NULL,
    price TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, price_id)
);
CREATE TABLE llm_limits (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    rule TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);
CREATE TABLE llm_budgets (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    rule TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);
CREATE TABLE llm_policy_versions (
    tenant TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant)
);
CREATE TABLE llm_processes (
    owner TEXT NOT NULL,
    heartbeat_at BIGINT NOT NULL,
    PRIMARY KEY (owner)
);
CREATE TABLE llm_idempotency (
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    route TEXT NOT NULL,
    "key" TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    claim TEXT NOT NULL,
    owner TEXT,
    heartbeat_at BIGINT NOT NULL,
    reply TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, subject, route, "key")
);
CREATE INDEX llm_idempotency_owner ON llm_idempotency (owner);
CREATE INDEX llm_idempotency_expires ON llm_idempotency (expires_at);
INSERT INTO alembic_version_llm_gateway (version_num) VALUES ('0006');
