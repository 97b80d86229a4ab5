"""Bound what a search costs"""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    for name in ("books_crowded_deletions_1", "books_near_query_2", "books_take_slot_1"):
        op.execute((SQL / f"{name}.sql").read_text("utf-8"))


def downgrade() -> None:
    op.execute((SQL / "books_near_query_1.sql").read_text("utf-8"))
    op.execute("DROP FUNCTION books_crowded_deletions, books_take_slot")
