"""Idempotency keys of model calls, and which calls were answered without a provider."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger_calls", sa.Column("cached", sa.Text))
    op.create_table(
        "llm_idempotency",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("claim", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("heartbeat_at", sa.BigInteger, nullable=False),
        sa.Column("reply", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("llm_idempotency_owner", "llm_idempotency", ["owner"])
    op.create_index("llm_idempotency_expires", "llm_idempotency", ["expires_at"])


def downgrade() -> None:
    op.drop_table("llm_idempotency")
    op.drop_column("ledger_calls", "cached")
