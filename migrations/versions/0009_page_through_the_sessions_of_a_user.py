"""Page through the sessions of a user"""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_index("ix_sessions_newest", "sessions", ["user_id", "created_at", "id"])
    op.drop_index("ix_sessions_user_id", "sessions")  # the new one begins with the same column


def downgrade() -> None:
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.drop_index("ix_sessions_newest", "sessions")
