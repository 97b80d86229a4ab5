"""Name the Redis that is believed"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    table = op.create_table(
        "blocklist_copy",
        sa.Column("id", sa.Integer(), server_default="1", nullable=False),
        sa.Column("name", sa.String(120), server_default="", nullable=False),
        sa.Column(
            "held_until",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_blocklist_copy_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blocklist_copy")),
    )
    op.bulk_insert(table, [{}])


def downgrade() -> None:
    op.drop_table("blocklist_copy")
