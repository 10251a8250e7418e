"""Until when sessions are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workflow_sessions", sa.Column("keep_until", sa.BigInteger(), nullable=True))
    op.create_index(
        "workflow_sessions_kept",
        "workflow_sessions",
        ["keep_until"],
        unique=False,
        sqlite_where=sa.text("keep_until IS NOT NULL"),
        postgresql_where=sa.text("keep_until IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("workflow_sessions_kept", "workflow_sessions")
    op.drop_column("workflow_sessions", "keep_until")
