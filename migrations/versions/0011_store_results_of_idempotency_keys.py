"""Store results of idempotency keys"""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    # Only the result is stored: status and headers are made of it again.
    op.alter_column("idempotency_keys", "status", server_default="200")
    op.alter_column("idempotency_keys", "headers", server_default="{}")


def downgrade() -> None:
    op.alter_column("idempotency_keys", "status", server_default=None)
    op.alter_column("idempotency_keys", "headers", server_default=None)
