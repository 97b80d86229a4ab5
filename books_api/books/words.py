"""The words of all books, which a search looks near ones up in: those of no book go."""

import time

from psycopg2.errorcodes import LOCK_NOT_AVAILABLE
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from books_api.database import transaction

PRUNED = 1_000  # words that are looked at in one transaction
PATIENCE = 60.0  # seconds to wait for a moment in which nobody writes
_IS_UNUSED = "NOT EXISTS (SELECT FROM books WHERE search @@ quote_literal(word)::tsquery OFFSET 0)"
_FIND_UNUSED = text(
    f"SELECT id, {_IS_UNUSED} AS is_unused FROM ("  # noqa: S608  # of our own
    " SELECT id, word FROM book_words WHERE id > :after ORDER BY id LIMIT :rows) AS b ORDER BY id"
)
_DELETE_UNUSED = text(f"DELETE FROM book_words WHERE id = ANY(:ids) AND {_IS_UNUSED}")  # noqa: S608  # as above
_BY_INDEX = text("SET LOCAL enable_seqscan = off")
# A transaction that has not ended may have brought a book with a word that it found here. None is
# under way while this is held: whoever writes waits for it, for the milliseconds of one DELETE.
_LOCK = text("SET LOCAL lock_timeout = '200ms'; LOCK TABLE books IN SHARE MODE")


def prune_words() -> int:
    """Delete unused words; return how many. Stops early when writes never pause."""
    deleted, after, deadline = 0, 0, time.monotonic() + PATIENCE
    while True:
        with transaction(long=True) as connection:
            connection.execute(_BY_INDEX)
            words = connection.execute(_FIND_UNUSED, {"after": after, "rows": PRUNED}).all()
        if not words:
            return deleted
        after = words[-1].id
        unused = [word.id for word in words if word.is_unused]
        while unused:
            try:
                with transaction() as connection:
                    connection.execute(_BY_INDEX)
                    connection.execute(_LOCK)
                    deleted += connection.execute(_DELETE_UNUSED, {"ids": unused}).rowcount
                break
            except OperationalError as error:
                if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                    raise
                if time.monotonic() > deadline:
                    return deleted
                time.sleep(0.1)
