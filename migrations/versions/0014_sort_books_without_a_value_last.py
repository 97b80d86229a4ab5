"""Sort books without a value last in descending order, too"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

INDEXES = {
    "ix_books_published_last": "((coalesce(published_on - DATE '0001-01-01', -1)), id)",
    "ix_books_page_count_last": "((coalesce(page_count, -1)), id)",
}
SMALL = 8 * 1024 * 1024  # bytes of a table that is indexed in the blink of an eye


def upgrade() -> None:
    context = op.get_context()
    size = sa.text("SELECT pg_table_size('books')")
    if not context.as_sql and op.get_bind().scalar(size) < SMALL:
        for name, definition in INDEXES.items():
            op.execute(f"CREATE INDEX {name} ON books {definition}")
        return
    with context.autocommit_block():  # see docs/deployment.md
        op.execute("SET lock_timeout = 0")
        for name, definition in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # invalid, of a broken attempt
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON books {definition}")
        op.execute("SET lock_timeout = '5s'")


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "books")
