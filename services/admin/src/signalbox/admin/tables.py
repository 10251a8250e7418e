"""Tables of the Admin service. Times are epoch milliseconds, JSON is text.

What belongs to no customer (the revision, the replicas) is the system tenant's.
"""

from sqlalchemy import BigInteger, Column, Index, MetaData, Table, Text, UniqueConstraint

METADATA = MetaData()

SNAPSHOTS = Table(
    "admin_snapshots",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("config_hash", Text, primary_key=True),
    Column("workflow_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("schema_version", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("warnings", Text, nullable=False),
    Column("artefacts", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Index("admin_snapshots_created", "tenant", "created_at"),
)
"""``document`` is the RFC 8785 form, whose SHA-256 is ``config_hash``."""

RELEASES = Table(
    "admin_releases",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("workflow_id", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("release_id", Text, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    UniqueConstraint("tenant", "release_id", name="admin_releases_id"),
)
"""Every activation, a rollback too, is a release with a number of its own."""

POINTERS = Table(
    "admin_release_pointers",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("workflow_id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("config_hash", Text, nullable=False),
)
"""The active release of each workflow in each environment."""

WORKFLOWS = Table(
    "admin_workflows",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("workflow_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
"""Workflows of which a snapshot was built; the name is that of the newest."""

TENANTS = Table(
    "admin_tenants",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("default_workflow", Text, nullable=False),
)

KEYS = Table(
    "admin_keys",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("workflows", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("models", Text),
    Column("default_max_output", BigInteger),
    Column("priority", BigInteger, nullable=False, server_default="0"),
    Index("admin_keys_presented", "key_id", unique=True),
    Index("admin_keys_created", "tenant", "created_at"),
)
"""A presented key is looked up by its id alone, so an id is never used by two tenants."""

STATE = Table(
    "admin_state",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
)
"""One row. Each change increments it first, which also puts the changes into one order."""

PREPARATIONS = Table(
    "admin_preparations",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("preparation_id", Text, primary_key=True),
    Column("config_hash", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
"""Snapshots about to become active. A row that a crash left behind expires."""

REPLICAS = Table(
    "admin_replicas",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    Column("service", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("loaded", Text, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
)
"""Who follows the change feed; written only where several replicas of Admin share the database."""

AUDIT = Table(
    "admin_audit",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("audit_id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
"""Who did what, when; written in the transaction of the change. Ids sort by time."""
