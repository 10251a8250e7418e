"""Runs that wait for an operator, and the tasks in which they go on."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workflow_paused_runs",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("pause_id", sa.Text, primary_key=True),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("turn_id", sa.Text, nullable=False),
        sa.Column("workflow_id", sa.Text, nullable=False),
        sa.Column("config_hash", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("skill", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("calls", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("decision", sa.Text),
        sa.Column("output", sa.Text),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("decided_by", sa.Text),
        sa.Column("decided_at", sa.BigInteger),
        sa.Column("task_id", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("done_at", sa.BigInteger),
    )
    op.create_index("workflow_paused_runs_status", "workflow_paused_runs", ["tenant", "status", "pause_id"])
    op.create_index("workflow_paused_runs_session", "workflow_paused_runs", ["tenant", "session_id"])
    op.create_index("workflow_paused_runs_due", "workflow_paused_runs", ["status", "expires_at"])
    op.add_column("workflow_tasks", sa.Column("pause_id", sa.Text()))


def downgrade() -> None:
    op.drop_column("workflow_tasks", "pause_id")
    op.drop_table("workflow_paused_runs")
