"""Responses of the Responses API and the events of those in the background."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "llm_responses",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("response_id", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("background", sa.BigInteger, nullable=False),
        sa.Column("previous_response_id", sa.Text),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("response", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("heartbeat_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("llm_responses_owner", "llm_responses", ["owner", "heartbeat_at"])
    op.create_index("llm_responses_expires", "llm_responses", ["expires_at"])
    op.create_table(
        "llm_response_events",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("response_id", sa.Text, primary_key=True),
        sa.Column("first_number", sa.BigInteger, primary_key=True),
        sa.Column("last_number", sa.BigInteger, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("llm_response_events")
    op.drop_table("llm_responses")
