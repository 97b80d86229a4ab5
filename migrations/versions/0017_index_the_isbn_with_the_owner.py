"""Index the isbn with the owner

To find an owner's copy of what very many have. Its first column is ix_books_isbn, which the release
before needs.
"""

from alembic import op

revision = "0017"
down_revision = "0016"

INDEX = "ix_books_isbn_of_user"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")  # an interrupted one is invalid
        op.execute(f"CREATE INDEX CONCURRENTLY {INDEX} ON books (isbn, user_uid, id)")
        op.execute("SET lock_timeout = '5s'")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY {INDEX}")
