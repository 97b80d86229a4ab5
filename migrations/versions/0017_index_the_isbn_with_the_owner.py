"""Index the isbn with the owner

To find an owner's copy of what very many have. It begins with the column of ix_books_isbn, in whose
place it serves the release before, too.
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
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_books_isbn")
        op.execute("SET lock_timeout = '5s'")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_books_isbn")
        op.execute("CREATE INDEX CONCURRENTLY ix_books_isbn ON books (isbn)")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")
        op.execute("SET lock_timeout = '5s'")
