"""Create book words"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# One look into an index for each word, whatever Postgres thinks of a table that grows while a plan
# is kept: no scan; and with OFFSET 0 an EXISTS does not become a join, which may read it all.
BY_INDEX = "SET enable_seqscan = off"
FUNCTIONS = {
    # The word, and the word without one of its letters. Two words that differ by one typo (a letter
    # left out, put in, replaced or swapped with the next) have one of these in common.
    "books_deletions(word text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE": """
        SELECT array_agg(DISTINCT rest)
        FROM generate_series(1, length(word) + 1) AS cut,
            LATERAL (SELECT left(word, cut - 1) || substr(word, cut + 1)) AS deletion (rest)
        WHERE length(rest) > 1""",
    # What was meant, when no book has all words as they are typed. A word may be any that is one
    # typo away, of those the first in the catalogue: as a rule they are the commonest; or a part
    # of a word that was torn in two, or two words that ran together; the last may be unfinished.
    # What is like no word counts for nothing. A word that is in some book stands for itself
    # only; if no book has all of these, it may be any that is one typo away, too, and what has one
    # or two letters counts for nothing. Chinese and Japanese stay as they are.
    f"""books_near_query(folded text) RETURNS tsquery
        LANGUAGE plpgsql STABLE STRICT {BY_INDEX}""": r"""
        DECLARE
            near tsquery;
            known_stay boolean;
        BEGIN
            FOREACH known_stay IN ARRAY ARRAY[true, false] LOOP
                WITH typed AS (
                    SELECT word, place, books_words(word) <> word AS is_exact,
                        lag(word) OVER places AS before, lead(word) OVER places AS after,
                        CASE WHEN lead(word) OVER places IS NULL THEN ':*' ELSE '' END AS ending,
                        1 + 100 / count(*) OVER () AS most
                    FROM unnest(string_to_array(folded, ' ')) WITH ORDINALITY AS t (word, place)
                    WINDOW places AS (ORDER BY place)
                ), known AS (
                    SELECT *, EXISTS (
                        SELECT FROM book_words b WHERE b.word BETWEEN typed.word
                        AND typed.word || CASE ending WHEN '' THEN '' ELSE U&'\+10FFFF' END
                    ) AS is_known
                    FROM typed WHERE known_stay OR is_exact OR length(word) > 2
                ), told AS MATERIALIZED (
                    SELECT *, is_exact OR is_known AND known_stay AS stays FROM known
                )
                SELECT
                    to_tsquery('simple', string_agg('(' || meanings || ')', ' & ' ORDER BY place))
                INTO near
                FROM told CROSS JOIN LATERAL (
                    SELECT string_agg(meaning, ' | ') FROM (
                        SELECT
                            regexp_replace(btrim(books_words(word)), ' +', ' <-> ', 'g') || ending
                        WHERE is_exact OR is_known
                        UNION (
                            SELECT b.word FROM book_words b
                            WHERE NOT stays
                                AND books_deletions(b.word) && books_deletions(told.word)
                            ORDER BY b.id + 0 LIMIT most  -- found by the typo, not in order
                        )
                        UNION
                        SELECT joined FROM unnest(ARRAY[before || word, word || after]) AS joined
                        WHERE NOT stays AND EXISTS (
                            SELECT FROM book_words b WHERE b.word = joined OFFSET 0
                        )
                        UNION
                        SELECT first || ' <-> ' || second
                        FROM generate_series(1, length(word) - 1) AS cut,
                            unnest(ARRAY[1, 2]) AS gap,  -- a letter may be typed for the space
                            LATERAL (
                                SELECT left(word, cut), substr(word, cut + gap)
                            ) AS halves (first, second)
                        WHERE NOT stays
                            AND EXISTS (SELECT FROM book_words b WHERE b.word = first OFFSET 0)
                            AND EXISTS (SELECT FROM book_words b WHERE b.word = second OFFSET 0)
                    ) AS m (meaning)
                ) AS n (meanings)
                HAVING bool_or(meanings IS NOT NULL AND (is_exact OR length(word) > 2));
                EXIT WHEN EXISTS (SELECT FROM books WHERE search @@ near);
            END LOOP;
            RETURN near;
        END""",
    # Two transactions that bring the same new word both add it: neither waits for the other.
    f"books_learn_words() RETURNS trigger LANGUAGE plpgsql {BY_INDEX}": """
        BEGIN
            INSERT INTO book_words (word)
            SELECT word
            FROM (
                SELECT word, count(*) AS times
                FROM new_books, unnest(tsvector_to_array(search)) AS word
                WHERE length(word) <= 40 GROUP BY word
            ) AS found
            WHERE NOT EXISTS (
                SELECT FROM book_words b WHERE b.word = found.word OFFSET 0
            )
            ORDER BY times DESC, word;
            RETURN NULL;
        END""",
}
# The commonest first.
FILL = """
    INSERT INTO book_words (word)
    SELECT word FROM books, unnest(tsvector_to_array(search)) AS word
    WHERE length(word) <= 40 GROUP BY word ORDER BY count(*) DESC, word
"""


def upgrade() -> None:
    op.create_table(
        "book_words",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("word", sa.Text(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_book_words")),
    )
    for signature, body in FUNCTIONS.items():
        op.execute(f"CREATE FUNCTION {signature} AS $$ {body} $$")
    for event in ("INSERT", "UPDATE"):
        op.execute(f"""
            CREATE TRIGGER books_learn_words_of_{event.lower()} AFTER {event} ON books
            REFERENCING NEW TABLE AS new_books
            FOR EACH STATEMENT EXECUTE FUNCTION books_learn_words()
        """)
    op.execute(FILL)
    op.create_index("ix_book_words_word", "book_words", ["word"])
    op.execute("""
        CREATE INDEX ix_book_words_deletions ON book_words
        USING gin (books_deletions(word)) WITH (fastupdate = off)
    """)
    op.drop_index("ix_books_search_text", "books")
    op.drop_column("books", "search_text")


def downgrade() -> None:
    op.execute("""
        ALTER TABLE books ADD COLUMN search_text text GENERATED ALWAYS AS (
            books_fold(title || ' ' || author || ' ' || coalesce(publisher, ''))
        ) STORED
    """)
    op.execute("CREATE INDEX ix_books_search_text ON books USING gin (search_text gin_trgm_ops)")
    for event in ("INSERT", "UPDATE"):
        op.execute(f"DROP TRIGGER books_learn_words_of_{event.lower()} ON books")
    op.drop_table("book_words")
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature.partition('(')[0]}")
