"""Timers, summaries, erasures; whose an outgoing message is; what kind of turn a turn is; sessions by user."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workflow_turns", sa.Column("kind", sa.Text(), nullable=False, server_default="message"))
    op.add_column("workflow_outbox", sa.Column("session_id", sa.Text(), nullable=True))
    op.create_index(
        "workflow_outbox_session",
        "workflow_outbox",
        ["tenant", "session_id"],
        unique=False,
        sqlite_where=sa.text("session_id IS NOT NULL"),
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )
    op.create_index("workflow_tasks_session", "workflow_tasks", ["tenant", "session_id"], unique=False)
    op.create_index(
        "workflow_sessions_user",
        "workflow_sessions",
        ["tenant", "user_id"],
        unique=False,
        sqlite_where=sa.text("user_id IS NOT NULL"),
        postgresql_where=sa.text("user_id IS NOT NULL"),
    )
    op.create_table(
        "workflow_timers",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "session_id"),
    )
    op.create_index("workflow_timers_due", "workflow_timers", ["due_at"], unique=False)
    op.create_table(
        "workflow_summaries",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("through_seq", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "session_id"),
    )
    op.create_table(
        "workflow_erasures",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("erasure_id", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "erasure_id"),
    )
    op.create_index("workflow_erasures_due", "workflow_erasures", ["due_at"], unique=False)


def downgrade() -> None:
    op.drop_table("workflow_erasures")
    op.drop_table("workflow_summaries")
    op.drop_table("workflow_timers")
    op.drop_index("workflow_sessions_user", "workflow_sessions")
    op.drop_index("workflow_tasks_session", "workflow_tasks")
    op.drop_index("workflow_outbox_session", "workflow_outbox")
    op.drop_column("workflow_outbox", "session_id")
    op.drop_column("workflow_turns", "kind")
