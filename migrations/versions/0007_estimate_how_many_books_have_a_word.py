"""Estimate how many books have a word"""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # By the statistics of the last ANALYZE, as the planner does: a thousand of the commonest words
    # with their shares. It is 0 for another word and without statistics, and for several words,
    # whose shares do not tell how many books have all of them. The word may be unfinished: one or
    # two letters count as the commonest word that they begin.
    op.execute("""
        CREATE FUNCTION books_estimate(folded text) RETURNS double precision
        LANGUAGE plpgsql STABLE STRICT AS $$
            BEGIN
                RETURN coalesce((
                    SELECT greatest(books, 0) * CASE
                        WHEN length(folded) > 2 THEN shares[array_position(words, folded)]
                        ELSE (
                            SELECT max(share) FROM unnest(words, shares) AS known (word, share)
                            WHERE starts_with(word, folded)
                        )
                    END
                    FROM (
                        SELECT c.reltuples, s.most_common_elems::text::text[],
                            s.most_common_elem_freqs
                        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                            JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
                        WHERE c.oid = 'books'::regclass AND s.attname = 'search'
                    ) AS statistics (books, words, shares)
                    WHERE folded <> '' AND position(' ' IN folded) = 0
                ), 0);
            END
        $$
    """)


def downgrade() -> None:
    op.execute("DROP FUNCTION books_estimate")
