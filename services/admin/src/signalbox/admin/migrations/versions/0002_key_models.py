"""What keys may do at the gateway: models, cap of the output, priority."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("admin_keys", sa.Column("models", sa.Text))
    op.add_column("admin_keys", sa.Column("default_max_output", sa.BigInteger))
    op.add_column("admin_keys", sa.Column("priority", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    for name in ("priority", "default_max_output", "models"):
        op.drop_column("admin_keys", name)
