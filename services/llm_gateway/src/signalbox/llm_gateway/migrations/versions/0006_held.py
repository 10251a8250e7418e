"""What budgets count of a call of which nobody knows what it used."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger_calls", sa.Column("held_pico", sa.BigInteger))


def downgrade() -> None:
    op.drop_column("ledger_calls", "held_pico")
