"""What later turns are shown of runs, and finding the runs of a turn."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("skills_runs", sa.Column("transcript", sa.Text))
    op.create_index("skills_runs_turn", "skills_runs", ["tenant", "session_id", "turn_id"])


def downgrade() -> None:
    op.drop_index("skills_runs_turn", "skills_runs")
    op.drop_column("skills_runs", "transcript")
