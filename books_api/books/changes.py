"""What has changed since: how a client keeps a copy of the catalogue.

A trigger logs every change with the id of its transaction. Changes are read in the order of these
ids, below the oldest transaction that is still running: all of those are decided, and visible.
Clocks, and the order of commits, play no part. A cursor is the place of a change that was
committed, never of a transaction that left none: Postgres may use its id again after a crash.

A page shows books as they are now, with changes behind its place, too. The last of them is in the
cursor: when it is undone, so may be what the reader has.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from books_api.books.exceptions import CursorExpired
from books_api.books.lists import COLUMNS, answered, as_answer, list_books
from books_api.books.models import Book, BookChange
from books_api.database import Statement
from books_api.web.fields import format_timestamp
from books_api.web.pagination import Sort, decode_cursor, encode_cursor, keyset

KEPT = timedelta(days=90)
NOTHING: Sequence[Any] = (-1, str(UUID(int=0)), "")  # before all changes

_IS_DECIDED = BookChange.changed_in < sa.literal_column(
    "pg_snapshot_xmin(pg_current_snapshot())::text::bigint", sa.BigInteger
)
_ORDER = Sort(BookChange.changed_in, BookChange.book_id)
_PLACE = (
    BookChange.changed_in,
    sa.cast(BookChange.book_id, sa.TEXT),
    answered(BookChange.changed_at),
)
# A dump that is restored in another cluster brings transaction ids of the old one.
_CLUSTER = sa.literal_column("(SELECT system_identifier::text FROM pg_control_system())", sa.TEXT)


def _last(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
    newest = (BookChange.changed_in.desc(), BookChange.book_id.desc())
    last = sa.select(sa.func.json_build_array(*_PLACE)).where(*conditions)
    return last.order_by(*newest).limit(sa.literal_column("1")).scalar_subquery()


def _is_there(name: str) -> sa.ColumnElement[bool]:
    same = (
        BookChange.changed_in == sa.bindparam(f"{name}_in", type_=sa.BigInteger),
        BookChange.book_id == sa.bindparam(f"{name}_id", type_=sa.Uuid(as_uuid=False)),
        _PLACE[2] == sa.bindparam(f"{name}_at"),
    )
    return sa.select(BookChange.book_id).where(*same).exists()


_LOG = Statement(
    sa.select(_CLUSTER, _last(_IS_DECIDED), _last(), _is_there("place"), _is_there("seen"))
)


def list_changes(
    *, limit: int, cursor: str | None = None, user_uid: UUID | None = None
) -> dict[str, Any]:
    """Return books that have changed since the cursor, or all of them, and what was deleted.

    The first walk goes through the books, oldest first; then come the changes since it began. A
    book may come more than once, and always as it is now. Raises InvalidCursor and CursorExpired.
    """
    now, scope = format_timestamp(datetime.now(UTC)), f"changes {user_uid}"
    filters = {} if user_uid is None else {"user_uid": user_uid}
    walk: str | None
    if cursor is None:
        cluster, decided, *_ = _read_log(NOTHING, NOTHING)
        place = decided or NOTHING  # before the walk begins
        read_at, walk, seen = now, "", NOTHING
    else:
        read_at, cluster, place, walk, seen = decode_cursor(cursor, scope)
    known = (read_at, cluster, place, seen)
    deleted: list[dict[str, Any]] = []
    if walk is not None:
        page = list_books(limit=limit, cursor=walk or None, sort="created_at", filters=filters)
        books, walk, more = page.rows, page.cursor, True
    else:
        after = {"after_key": place[0], "after_id": place[1], "rows": limit + 1}
        rows = _changes(bool(filters)).rows(**after, user_uid=user_uid and str(user_uid))
        more, rows = len(rows) > limit, rows[:limit]
        place = rows[-1][:3] if rows else place
        read_at = place[2] if more else now
        width = len(_PLACE) + 1
        found = {row[1]: row[width:] for row in rows if row[width] is not None}
        books = [as_answer(values) for values in found.values()]
        deleted = [
            {"id": book_id, "deleted_at": changed_at}
            for _, book_id, changed_at, is_deletion, *_ in rows
            if is_deletion and book_id not in found
        ]
    seen = _check(*known)
    cursor = encode_cursor((read_at, cluster, place, walk, seen), scope)
    return {"books": books, "deleted": deleted, "cursor": cursor, "more": more}


def _read_log(place: Sequence[Any], seen: Sequence[Any]) -> tuple[Any, ...]:
    """Return the cluster, the last decided change, the last of all, and which of two there are."""
    names = [f"{name}_{part}" for name in ("place", "seen") for part in ("in", "id", "at")]
    [row] = _LOG.rows(**dict(zip(names, (*place, *seen), strict=True)))
    return row


def _check(read_at: str, cluster: str, place: Sequence[Any], seen: Sequence[Any]) -> Sequence[Any]:
    """Return the last change that a page just read may show.

    Raises CursorExpired when changes after the place are forgotten, or it itself, or what was seen
    with the page before, is undone. The reader has all changes up to `read_at`. A restore, or a
    standby that was behind, undoes.
    """
    oldest = format_timestamp(datetime.now(UTC) - KEPT)
    this_cluster, _, last, *are_there = _read_log(place, seen)
    are_kept = [change[2] >= oldest for change in (place, seen)]
    is_undone = any(kept and not there for kept, there in zip(are_kept, are_there, strict=True))
    if read_at < oldest or cluster != this_cluster or is_undone:
        raise CursorExpired
    return last or NOTHING


@lru_cache
def _changes(of_user: bool) -> Statement:
    columns = (*_PLACE, BookChange.is_deletion, *COLUMNS)
    statement = sa.select(*columns).where(_IS_DECIDED)
    if of_user:
        owner = sa.bindparam("user_uid", type_=sa.Uuid(as_uuid=False))
        statement = statement.where(BookChange.user_uid == owner)
    joined = statement.join_from(BookChange, Book, BookChange.book_id == Book.id, isouter=True)
    return Statement(keyset(joined, _ORDER, after=True))
