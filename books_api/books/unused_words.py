"""Words that no book has any more: a search looks near ones up, so they go."""

import time
from typing import Any

from psycopg2.errorcodes import LOCK_NOT_AVAILABLE
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from books_api.database import transaction

PRUNED = 1_000  # words that are deleted in one transaction
PATIENCE = 60.0  # seconds to wait for a moment in which nobody writes
_OWNERS = text("SELECT DISTINCT user_uid FROM owner_words")
_FIND_UNUSED_OF_OWNER = text(
    "SELECT word FROM owner_words WHERE user_uid = :owner"
    " EXCEPT SELECT unnest(tsvector_to_array(search)) FROM books WHERE user_uid = :owner"
)
_DELETE_UNUSED_OF_OWNER = text(
    "DELETE FROM owner_words WHERE user_uid = :owner AND word = ANY(:words) AND NOT EXISTS ("
    "SELECT FROM books WHERE user_uid = :owner AND search @@ quote_literal(word)::tsquery OFFSET 0)"
)
_FIND_UNUSED = text(
    "SELECT word FROM book_words b"
    " WHERE NOT EXISTS (SELECT FROM owner_words o WHERE o.word = b.word)"
)
_DELETE_UNUSED = text(
    "DELETE FROM book_words WHERE word = ANY(:words) AND NOT EXISTS ("
    "SELECT FROM books WHERE search @@ quote_literal(word)::tsquery OFFSET 0)"
)
_BY_INDEX = text("SET LOCAL enable_seqscan = off")
# A transaction that has not ended may have brought a book with a word that it found here. None is
# under way while this is held: whoever writes waits for it, for the milliseconds of one DELETE.
_LOCK = text("SET LOCAL lock_timeout = '200ms'; LOCK TABLE books IN SHARE MODE")


def prune_words() -> int:
    """Delete the words that no book, or none of the owner, has any more; return how many of all.

    Stops early when somebody writes books without a pause.
    """
    deadline = time.monotonic() + PATIENCE
    with transaction(long=True) as connection:
        owners = connection.execute(_OWNERS).scalars().all()
    for owner in owners:
        _prune(_FIND_UNUSED_OF_OWNER, _DELETE_UNUSED_OF_OWNER, deadline, owner=owner)
    return _prune(_FIND_UNUSED, _DELETE_UNUSED, deadline)


def _prune(find: Any, delete: Any, deadline: float, **parameters: Any) -> int:
    deleted = 0
    with transaction(long=True) as connection:
        connection.execute(_BY_INDEX)
        unused = connection.execute(find, parameters).scalars().all()
    while unused:
        try:
            with transaction() as connection:
                connection.execute(_BY_INDEX)
                connection.execute(_LOCK)
                words = {**parameters, "words": unused[:PRUNED]}
                deleted += connection.execute(delete, words).rowcount
            unused = unused[PRUNED:]
        except OperationalError as error:
            if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    return deleted
