"""Tasks of a key that are not ended, to be counted; and what summaries cost that were made after a turn."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "workflow_summaries", sa.Column("cost_pico", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.create_index(
        "workflow_tasks_waiting",
        "workflow_tasks",
        ["tenant", "subject"],
        unique=False,
        sqlite_where=sa.text("status IN ('pending', 'running')"),
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )


def downgrade() -> None:
    op.drop_index("workflow_tasks_waiting", "workflow_tasks")
    op.drop_column("workflow_summaries", "cost_pico")
