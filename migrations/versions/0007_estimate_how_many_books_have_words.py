"""Estimate how many books have words"""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # By the statistics of the last ANALYZE, as the planner does: a thousand of the commonest words
    # with their shares. A word that is not among them makes it 0, and so do no statistics. The
    # last word may be unfinished: one or two letters count as the commonest word they begin.
    op.execute("""
        CREATE FUNCTION books_estimate(folded text) RETURNS double precision
        LANGUAGE plpgsql STABLE STRICT AS $$
            DECLARE
                books double precision := (
                    SELECT reltuples FROM pg_class WHERE oid = 'books'::regclass
                );
                words text[];
                shares real[];
                typed text[] := string_to_array(folded, ' ');
                word text;
            BEGIN
                SELECT most_common_elems::text::text[], most_common_elem_freqs INTO words, shares
                FROM pg_stats
                WHERE schemaname = current_schema AND tablename = 'books' AND attname = 'search';
                word := typed[cardinality(typed)];
                IF length(word) < 3 THEN
                    SELECT max(share) * books INTO books
                    FROM unnest(words, shares) AS known (lexeme, share)
                    WHERE starts_with(lexeme, word);
                    typed := typed[1 : cardinality(typed) - 1];
                END IF;
                FOREACH word IN ARRAY typed LOOP
                    books := books * shares[array_position(words, word)];
                END LOOP;
                RETURN CASE WHEN folded = '' THEN 0 ELSE greatest(books, 0) END;
            END
        $$
    """)


def downgrade() -> None:
    op.execute("DROP FUNCTION books_estimate")
