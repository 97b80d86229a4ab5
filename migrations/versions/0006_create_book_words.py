"""Create book words"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

SQL = Path(__file__).parent.parent / "sql"
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
    op.execute((SQL / "books_near_query_1.sql").read_text("utf-8"))
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
    op.execute("DROP FUNCTION books_near_query")
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature.partition('(')[0]}")
