"""The tasks of a session that are not over, in the order in which they are worked on."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "workflow_tasks_open",
        "workflow_tasks",
        ["tenant", "session_id"],
        unique=False,
        sqlite_where=sa.text("status IN ('pending', 'running')"),
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )


def downgrade() -> None:
    op.drop_index("workflow_tasks_open", "workflow_tasks")
