"""Entries: a column of every type that statements take."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "entries",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text),
        sa.Column("amount", sa.BigInteger),
        sa.Column("ratio", sa.Float),
        sa.Column("raw", sa.LargeBinary),
    )
    with op.batch_alter_table("accounts") as accounts:
        accounts.add_column(sa.Column("note", sa.Text))


def downgrade() -> None:
    with op.batch_alter_table("accounts") as accounts:
        accounts.drop_column("note")
    op.drop_table("entries")
