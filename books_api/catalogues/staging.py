"""A batch of records in Postgres: copied beside the books, matched (duplicates.sql), written."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

import psycopg2
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from books_api.books.models import FIELDS
from books_api.catalogues.records import DATE_KEPT, REDUCED, Record
from books_api.model_base import new_id_text

OnDuplicate = Literal["skip", "update", "add"]
IMPORTED, UPDATED = "imported", "updated"
ALREADY_THERE, REJECTED = "already there", "rejected"
ANOTHERS = "id: Is the id of another user's book."
NOBODYS = (
    "id: Is not the id of any book. Without an id, a book is recognised by its ISBN, or by title,"
    " author, date and publisher."
)

_COLUMNS = ", ".join(("id", "user_uid", *FIELDS))
_STAGE = text(f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS import_rows ON COMMIT DROP AS
        SELECT 0 AS number, id AS given_id, '{{}}'::text[] AS said, {_COLUMNS}
        FROM books WITH NO DATA;
    TRUNCATE import_rows
""")  # noqa: S608  # names of our own
_MATCHES = (Path(__file__).parent / "duplicates.sql").read_text("utf-8")
_FIND = text(_MATCHES)
# Nobody deletes what is found before it is updated.
_FIND_AND_LOCK = text(_MATCHES.replace("/* lock */", "FOR NO KEY UPDATE"))
_INSERT = text(
    f"INSERT INTO books ({_COLUMNS}) SELECT {_COLUMNS}"  # noqa: S608  # names of our own
    " FROM import_rows WHERE number <> ALL(:known) ORDER BY number"
)
_SAID = {name: f"CASE WHEN '{name}' = ANY(said) THEN r.{name} ELSE b.{name} END" for name in FIELDS}
_UPDATE = text(f"""
    UPDATE books b SET {", ".join(f"{name} = {said}" for name, said in _SAID.items())},
        version = version + 1, updated_at = now()
    FROM import_rows r
    WHERE b.id = r.id AND ({", ".join(_SAID.values())})
        IS DISTINCT FROM ({", ".join(f"b.{name}" for name in FIELDS)})
    RETURNING b.id::text
""")  # noqa: S608  # names of our own
# Before its books, as one who deletes the account does.
_LOCK_OWNER = text("SELECT FROM users WHERE id = :owner FOR KEY SHARE")
_EXISTING = text("SELECT id::text FROM books WHERE id = ANY(CAST(:ids AS uuid[]))")
# COPY's text format.
_ESCAPED = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Outcome(NamedTuple):
    """What became of a record, the id of its book, and the reason if it was not imported."""

    kind: str
    book_id: str | None
    reason: str = ""


class _Row(NamedTuple):
    """The id of the book that a record names, the one of a new book, and what the record says."""

    given_id: str | None
    id: str
    book: dict[str, Any]


def write(
    records: Mapping[int, Record], owner: UUID, connection: Connection, on_duplicate: OnDuplicate
) -> dict[int, Outcome]:
    """Write the books of the records, by their numbers; return what became of them."""
    update = on_duplicate == "update"
    rows = {n: _Row(record.id, new_id_text(), dict(record.book)) for n, record in records.items()}
    if update:
        connection.execute(_LOCK_OWNER, {"owner": owner})
        for n, record in records.items():
            if record.id and REDUCED in record.notes:  # by a spreadsheet, which swapped its parts
                rows[n].book.pop("published_date")
                record.notes[record.notes.index(REDUCED)] = DATE_KEPT
    _copy(rows, owner, connection)
    matches: dict[int, tuple[str | None, int]] = {}
    if on_duplicate != "add":
        found = connection.execute(_FIND_AND_LOCK if update else _FIND)
        matches = {n: (book_id, first) for n, book_id, first in found}
    outcomes = _reject_unknown_ids(rows, matches, connection) if update else {}
    for n in outcomes:
        del rows[n]
    targets: dict[int, str] = {}
    for n, row in rows.items():
        book_id, first = matches.get(n, (None, n))
        # If the first one was rejected, the next takes its place.
        targets[n] = book_id or targets.setdefault(first, row.id)
    changed: set[str] = set()
    if update:
        _copy(_merge(rows, targets, changed), owner, connection)
        changed.update(connection.execute(_UPDATE).scalars())
    known = [n for n, row in rows.items() if targets[n] != row.id]
    connection.execute(_INSERT, {"known": known})
    for n, row in rows.items():
        book_id = targets[n]
        if book_id == row.id:
            outcomes[n] = Outcome(IMPORTED, book_id)
        elif book_id in changed:
            outcomes[n] = Outcome(UPDATED, book_id)
        else:
            outcomes[n] = Outcome(ALREADY_THERE, book_id, "You have this book.")
    return outcomes


def _reject_unknown_ids(
    rows: Mapping[int, _Row], matches: Mapping[int, tuple[str | None, int]], connection: Connection
) -> dict[int, Outcome]:
    unknown = {
        n: row.given_id
        for n, row in rows.items()
        if row.given_id and matches.get(n, (None, n))[0] != row.given_id
    }
    others = set(connection.execute(_EXISTING, {"ids": list(unknown.values())}).scalars())
    reasons = {n: ANOTHERS if given_id in others else NOBODYS for n, given_id in unknown.items()}
    return {n: Outcome(REJECTED, None, reason) for n, reason in reasons.items()}


def _merge(
    rows: Mapping[int, _Row], targets: Mapping[int, str], changed: set[str]
) -> dict[int, _Row]:
    """Return one row for each book, with its id; where records contradict, the last decides.

    Adds to `changed` the new books that a later record changes.
    """
    merged: dict[str, tuple[int, _Row]] = {}
    for n, row in rows.items():
        book_id = targets[n]
        # Only of a book that it names does a record know what it leaves empty.
        says = {
            name: value
            for name, value in row.book.items()
            if value is not None or row.given_id == book_id
        }
        first, so_far = merged.setdefault(book_id, (n, _Row(None, book_id, {})))
        if first != n and rows[first].id == book_id and says.items() - so_far.book.items():
            changed.add(book_id)
        so_far.book.update(says)
    return dict(merged.values())


def _copy(rows: Mapping[int, _Row], owner: UUID, connection: Connection) -> None:
    lines, owned_by = io.StringIO(), str(owner)
    connection.execute(_STAGE)
    for n, row in rows.items():
        said = f"{{{','.join(row.book)}}}"
        values = (n, row.given_id, said, row.id, owned_by, *map(row.book.get, FIELDS))
        lines.write("\t".join(map(_copied, values)) + "\n")
    lines.seek(0)
    try:
        connection.connection.cursor().copy_expert("COPY import_rows FROM STDIN", lines)
    except psycopg2.Error as error:  # SQLAlchemy has no COPY, and so does not wrap its errors
        raise DBAPIError.instance("COPY", None, error, psycopg2.Error) from error


def _copied(value: Any) -> str:
    if value is None:
        return "\\N"
    copied = str(value)
    return copied.translate(_ESCAPES) if _ESCAPED.search(copied) else copied
