"""Index the identity of a book

By a hash: an identity may be longer than an entry of an index.
"""

from alembic import op

revision = "0016"
down_revision = "0015"

INDEX = "ix_books_identity"
KEY = """hashtextextended(
    user_uid::text || books_identity(
        title, books_fold(title), author_text, published_date, books_fold(publisher)
    ), 0
)"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")  # an interrupted one is invalid
        op.execute(f"CREATE INDEX CONCURRENTLY {INDEX} ON books (({KEY}), id)")
        op.execute("SET lock_timeout = '5s'")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY {INDEX}")
