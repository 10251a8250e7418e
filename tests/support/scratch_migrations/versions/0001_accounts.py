"""Accounts and their entries."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("email", sa.Text),
        sa.UniqueConstraint("tenant", "email", name="accounts_email"),
    )


def downgrade() -> None:
    op.drop_table("accounts")
