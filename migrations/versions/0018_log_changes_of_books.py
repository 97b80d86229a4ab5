"""Log changes of books"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

SQL = Path(__file__).parent.parent / "sql" / "books_log_changes_1.sql"
TABLES = {"INSERT": "NEW", "UPDATE": "NEW", "DELETE": "OLD"}


def upgrade() -> None:
    # No column of books: a table of its own is made at once, however many books there are.
    now = sa.func.now()
    op.create_table(
        "book_changes",
        sa.Column("changed_in", sa.BigInteger(), nullable=False),
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("user_uid", sa.Uuid(), nullable=False),
        sa.Column("is_deletion", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("changed_in", "book_id", name=op.f("pk_book_changes")),
    )
    op.create_index(
        "ix_book_changes_of_user", "book_changes", ["user_uid", "changed_in", "book_id"]
    )
    op.execute(SQL.read_text("utf-8"))
    for event, table in TABLES.items():
        op.execute(f"""
            CREATE TRIGGER books_log_changes_of_{event.lower()} AFTER {event} ON books
            REFERENCING {table} TABLE AS changed_books
            FOR EACH STATEMENT EXECUTE FUNCTION books_log_changes()
        """)


def downgrade() -> None:
    for event in TABLES:
        op.execute(f"DROP TRIGGER books_log_changes_of_{event.lower()} ON books")
    op.execute("DROP FUNCTION books_log_changes")
    op.drop_table("book_changes")
