"""Read no temporary view as statistics

A schema that the path does not name is searched first when it is that of temporary objects: a view
`pg_stats` of the caller's would be read, and its functions run, with the rights of the owner.
"""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute(
        """
        DO $$ BEGIN EXECUTE format(
            'ALTER FUNCTION books_crowded_deletions() SET search_path = %I, pg_temp',
            current_schema()
        ); END $$
        """
    )


def downgrade() -> None:
    op.execute("ALTER FUNCTION books_crowded_deletions() SET search_path FROM CURRENT")
