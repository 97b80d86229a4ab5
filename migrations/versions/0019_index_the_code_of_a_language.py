"""Index the code of a language

Without its region: en-US is found with en. ix_books_language finds what has a region.
"""

from alembic import op

revision = "0019"
down_revision = "0018"

INDEX = "ix_books_language_code"
CODE = r"regexp_replace(lower(language), '^([a-z]{2,3})[-_].*$', '\1')"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")  # an interrupted one is invalid
        op.execute(f"CREATE INDEX CONCURRENTLY {INDEX} ON books ({CODE}, created_at, id)")
        op.execute("SET lock_timeout = '5s'")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY {INDEX}")
