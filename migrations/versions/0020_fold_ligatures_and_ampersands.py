"""Fold ligatures and ampersands, part more scripts into letters, and index the beginnings of words

The functions behind generated columns and indexes are replaced, then the books of which they make
something else are written again, which makes both anew. Until then the old code and the new one
find them as before. Nobody waits: a batch locks its own rows only, for a fraction of a second.
Interrupted, it can be run again.

books_near_query(), books_estimate() and books_crowded_deletions() stay for the old code, which
calls them until it has gone: the next release drops them.
"""

from pathlib import Path

from alembic import op

revision = "0020"
down_revision = "0019"

SQL = Path(__file__).parent.parent / "sql"
# What the functions make of a book is compared, batch by batch, with what is stored: no list of
# letters could be complete. ASCII is folded as before, but for an ampersand. A book that is written
# again is indexed by its folded texts anew.
REFOLD = r"""
    DO $$
    DECLARE
        after uuid := '00000000-0000-0000-0000-000000000000';
        ids uuid[];
    BEGIN
        LOOP
            ids := ARRAY(SELECT id FROM books WHERE id > after ORDER BY id LIMIT 5000);
            EXIT WHEN ids = '{}';
            UPDATE books SET title = title, author = author
            WHERE id = ANY(ids) AND concat(title, author, publisher) ~ '[^\x01-\x7f]|&'
                AND (author_text, search) IS DISTINCT FROM (
                    books_fold(author),
                    setweight(to_tsvector('simple', books_words(books_fold(title))), 'A')
                    || setweight(to_tsvector('simple', books_words(books_fold(author))), 'B')
                    || setweight(
                        to_tsvector('simple', books_words(books_fold(coalesce(publisher, '')))), 'C'
                    )
                );
            COMMIT;
            after := ids[cardinality(ids)];
        END LOOP;
    END $$
"""
INDEX = "ix_book_words_beginnings"


def upgrade() -> None:
    replace_functions("books_fold_2", "books_words_2")
    with op.get_context().autocommit_block():
        op.execute(REFOLD)
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {INDEX}")  # an interrupted one is invalid
        op.execute(
            f"CREATE INDEX CONCURRENTLY {INDEX} ON book_words"
            " USING gin (books_deletions(left(word, 5))) WITH (fastupdate = off)"
        )
        op.execute("SET lock_timeout = '5s'")


def downgrade() -> None:
    replace_functions("books_fold_1", "books_words_1")
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY {INDEX}")
        op.execute(REFOLD)


def replace_functions(*names: str) -> None:
    for name in names:
        op.execute((SQL / f"{name}.sql").read_text("utf-8"))
