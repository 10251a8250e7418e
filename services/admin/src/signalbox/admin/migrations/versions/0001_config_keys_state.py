"""Snapshots, releases, keys, the change feed's state and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_config()
    _create_keys()
    _create_state()


def _create_config() -> None:
    op.create_table(
        "admin_snapshots",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("config_hash", sa.Text, primary_key=True),
        sa.Column("workflow_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("schema_version", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("warnings", sa.Text, nullable=False),
        sa.Column("artefacts", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
    )
    op.create_index("admin_snapshots_created", "admin_snapshots", ["tenant", "created_at"])
    op.create_table(
        "admin_releases",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("workflow_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("release_id", sa.Text, nullable=False),
        sa.Column("config_hash", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.UniqueConstraint("tenant", "release_id", name="admin_releases_id"),
    )
    op.create_table(
        "admin_release_pointers",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("workflow_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("config_hash", sa.Text, nullable=False),
    )
    op.create_table(
        "admin_workflows",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("workflow_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "admin_tenants",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("default_workflow", sa.Text, nullable=False),
    )


def _create_keys() -> None:
    op.create_table(
        "admin_keys",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("workflows", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_index("admin_keys_presented", "admin_keys", ["key_id"], unique=True)
    op.create_index("admin_keys_created", "admin_keys", ["tenant", "created_at"])


def _create_state() -> None:
    op.create_table(
        "admin_state",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "admin_preparations",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("preparation_id", sa.Text, primary_key=True),
        sa.Column("config_hash", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "admin_replicas",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("loaded", sa.Text, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "admin_audit",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("audit_id", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("admin_audit")
    op.drop_table("admin_replicas")
    op.drop_table("admin_preparations")
    op.drop_table("admin_state")
    op.drop_table("admin_keys")
    op.drop_table("admin_tenants")
    op.drop_table("admin_workflows")
    op.drop_table("admin_release_pointers")
    op.drop_table("admin_releases")
    op.drop_table("admin_snapshots")
