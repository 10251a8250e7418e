"""Kinds of tokens and labels of the ledger, corrections of it, prices, limits and budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COUNTS = ("cache_write_1h_tokens", "image_input_tokens", "image_output_tokens", "reaped")


def upgrade() -> None:
    op.add_column("ledger_calls", sa.Column("user_id", sa.Text))
    op.add_column("ledger_calls", sa.Column("key_id", sa.Text))
    for table in ("ledger_calls", "ledger_attempts"):
        for name in _COUNTS:
            op.add_column(table, sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.create_index(
        "ledger_attempts_reaped",
        "ledger_attempts",
        ["call_id"],
        sqlite_where=sa.text("reaped = 1"),
        postgresql_where=sa.text("reaped = 1"),
    )
    op.create_table(
        "ledger_corrections",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("correction_id", sa.Text, primary_key=True),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("cost_pico", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ledger_corrections_call", "ledger_corrections", ["tenant", "call_id"])
    _create_policies()


def _create_policies() -> None:
    op.create_table(
        "llm_prices",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("price_id", sa.Text, primary_key=True),
        sa.Column("deployment", sa.Text),
        sa.Column("provider", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("effective_from", sa.BigInteger, nullable=False),
        sa.Column("price", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    for table in ("llm_limits", "llm_budgets"):
        op.create_table(
            table,
            sa.Column("tenant", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("rule", sa.Text, nullable=False),
            sa.Column("changed_by", sa.Text, nullable=False),
            sa.Column("changed_at", sa.BigInteger, nullable=False),
        )
    op.create_table(
        "llm_policy_versions",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in ("llm_policy_versions", "llm_budgets", "llm_limits", "llm_prices", "ledger_corrections"):
        op.drop_table(table)
    op.drop_index("ledger_attempts_reaped", "ledger_attempts")
    for table in ("ledger_attempts", "ledger_calls"):
        for name in _COUNTS:
            op.drop_column(table, name)
    op.drop_column("ledger_calls", "key_id")
    op.drop_column("ledger_calls", "user_id")
