"""Calls and their attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_calls",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("workflow_id", sa.Text),
        sa.Column("session_id", sa.Text),
        sa.Column("skill_id", sa.Text),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("model_asked", sa.Text, nullable=False),
        sa.Column("model_answered", sa.Text),
        sa.Column("deployment", sa.Text),
        sa.Column("streamed", sa.BigInteger, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("audio_input_tokens", sa.BigInteger, nullable=False),
        sa.Column("audio_output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_pico", sa.BigInteger),
        sa.Column("currency", sa.Text),
        sa.Column("priced", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.BigInteger, nullable=False),
        sa.Column("emulated", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("status", sa.BigInteger, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("latency_ms", sa.BigInteger, nullable=False),
        sa.Column("first_token_ms", sa.BigInteger),
        sa.Column("trace_id", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ledger_calls_created", "ledger_calls", ["tenant", "created_at"])
    op.create_table(
        "ledger_attempts",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("model_answered", sa.Text),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("audio_input_tokens", sa.BigInteger, nullable=False),
        sa.Column("audio_output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_pico", sa.BigInteger),
        sa.Column("currency", sa.Text),
        sa.Column("estimated", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("status", sa.BigInteger, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("latency_ms", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("ledger_attempts")
    op.drop_table("ledger_calls")
