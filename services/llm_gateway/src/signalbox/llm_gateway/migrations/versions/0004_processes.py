"""Processes that live."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "llm_processes",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("heartbeat_at", sa.BigInteger, nullable=False),
    )
