-- All tables of admin at revision 0002, for a new SQLite file. Made from the revisions by
-- tests/gates/sqlite_schemas.py; do not edit.
CREATE TABLE alembic_version_admin (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_admin_pkc PRIMARY KEY (version_num)
);
CREATE TABLE admin_snapshots (
    tenant TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    name TEXT NOT NULL,
    schema_version TEXT NOT NULL,
    document TEXT NOT NULL,
    size BIGINT NOT NULL,
    state TEXT NOT NULL,
    warnings TEXT NOT NULL,
    artefacts TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant, config_hash)
);
CREATE INDEX admin_snapshots_created ON admin_snapshots (tenant, created_at);
CREATE TABLE admin_releases (
    tenant TEXT NOT NULL,
    environment TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    release_id TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant, environment, workflow_id, number),
    CONSTRAINT admin_releases_id UNIQUE (tenant, release_id)
);
CREATE TABLE admin_release_pointers (
    tenant TEXT NOT NULL,
    environment TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    config_hash TEXT NOT NULL,
    PRIMARY KEY (tenant, environment, workflow_id)
);
CREATE TABLE admin_workflows (
    tenant TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, workflow_id)
);
CREATE TABLE admin_tenants (
    tenant TEXT NOT NULL,
    default_workflow TEXT NOT NULL,
    PRIMARY KEY (tenant)
);
CREATE TABLE admin_keys (
    tenant TEXT NOT NULL,
    key_id TEXT NOT NULL,
    name TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL,
    scopes TEXT NOT NULL,
    workflows TEXT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT, models TEXT, default_max_output BIGINT, priority BIGINT DEFAULT '0' NOT NULL,
    PRIMARY KEY (tenant, key_id)
);
CREATE UNIQUE INDEX admin_keys_presented ON admin_keys (key_id);
CREATE INDEX admin_keys_created ON admin_keys (tenant, created_at);
CREATE TABLE admin_state (
    tenant TEXT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (tenant)
);
CREATE TABLE admin_preparations (
    tenant TEXT NOT NULL,
    preparation_id TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, preparation_id)
);
CREATE TABLE admin_replicas (
    tenant TEXT NOT NULL,
    instance TEXT NOT NULL,
    service TEXT NOT NULL,
    revision BIGINT NOT NULL,
    loaded TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    PRIMARY KEY (tenant, instance)
);
CREATE TABLE admin_audit (
    tenant TEXT NOT NULL,
    audit_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    subject TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (tenant, audit_id)
);
INSERT INTO alembic_version_admin (version_num) VALUES ('0002');
