"""Batches, schedules, and what tasks need to belong to them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, kind in (
        ("principal", sa.Text()),
        ("batch_id", sa.Text()),
        ("item", sa.BigInteger()),
        ("schedule_id", sa.Text()),
        ("cancel_at", sa.BigInteger()),
    ):
        op.add_column("workflow_tasks", sa.Column(name, kind, nullable=True))
    op.create_index("workflow_tasks_subject", "workflow_tasks", ["tenant", "subject", "task_id"])
    op.create_index("workflow_tasks_batch", "workflow_tasks", ["tenant", "batch_id", "status", "due_at"])
    op.create_table(
        "workflow_batches",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("parallel", sa.BigInteger(), nullable=False),
        sa.Column("webhook", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "batch_id"),
    )
    op.create_index("workflow_batches_unfinished", "workflow_batches", ["finished_at", "checked_at"])
    op.create_table(
        "workflow_schedules",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("schedule_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("webhook", sa.Text(), nullable=True),
        sa.Column("principal", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("last_run_at", sa.BigInteger(), nullable=True),
        sa.Column("last_task_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "schedule_id"),
    )
    op.create_index("workflow_schedules_due", "workflow_schedules", ["status", "due_at"])
    op.create_index("workflow_schedules_subject", "workflow_schedules", ["tenant", "subject"])


def downgrade() -> None:
    op.drop_table("workflow_schedules")
    op.drop_table("workflow_batches")
    op.drop_index("workflow_tasks_batch", "workflow_tasks")
    op.drop_index("workflow_tasks_subject", "workflow_tasks")
    for name in ("cancel_at", "schedule_id", "item", "batch_id", "principal"):
        op.drop_column("workflow_tasks", name)
