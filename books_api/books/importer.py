"""Import a catalogue: one function for the command line and for POST /books/import.

Every record ends as exactly one of: imported, already there, rejected.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import UUID

from marshmallow import ValidationError
from sqlalchemy import Connection, text

from books_api.books.formats import FIELDS, Record
from books_api.books.records import to_book
from books_api.models import new_id

BATCH = 2_000  # records in one COPY: well inside the statement time-out
ALREADY_THERE, REJECTED = "already there", "rejected"

# Two imports of one owner at once take turns, or both would find that a book is not there yet.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('import ' || :owner, 0))")
_STAGE = text("""
    CREATE TEMPORARY TABLE IF NOT EXISTS import_rows (
        line integer, id uuid, user_uid uuid, title text, author text, publisher text,
        published_date text, page_count integer, language text, isbn text
    ) ON COMMIT DROP;
    TRUNCATE import_rows
""")
_COLUMNS = ("id", "user_uid", *FIELDS)
# The same owner and isbn; or, without one, the same folded title and author and the same date.
# Looked for among the owner's books, and among the earlier records of the batch.
_THERE = text("""
    SELECT r.line FROM import_rows r
    JOIN books b ON b.isbn = r.isbn AND b.user_uid = r.user_uid
    UNION
    SELECT line FROM (
        SELECT line, row_number() OVER (PARTITION BY isbn ORDER BY line) AS nth
        FROM import_rows WHERE isbn IS NOT NULL
    ) numbered WHERE nth > 1
    UNION
    SELECT r.line FROM import_rows r
    JOIN books b ON left(books_fold(b.title), 100) COLLATE "C"
            = left(books_fold(r.title), 100) COLLATE "C"
        AND books_fold(b.title) = books_fold(r.title)
        AND books_fold(b.author) = books_fold(r.author)
        AND b.published_date IS NOT DISTINCT FROM r.published_date
        AND b.user_uid = r.user_uid
    WHERE r.isbn IS NULL
    UNION
    SELECT r.line FROM import_rows r
    JOIN import_rows e ON e.line < r.line
        AND books_fold(e.title) = books_fold(r.title)
        AND books_fold(e.author) = books_fold(r.author)
        AND e.published_date IS NOT DISTINCT FROM r.published_date
    WHERE r.isbn IS NULL
""")
_INSERT = text(
    f"INSERT INTO books ({', '.join(_COLUMNS)}) SELECT {', '.join(_COLUMNS)}"  # noqa: S608
    " FROM import_rows WHERE line <> ALL(:there) ORDER BY line"
)
# COPY's text format.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(slots=True)
class Report:
    """How far an import came: the three counts, and the repairs by kind."""

    imported: int = 0
    already_there: int = 0
    rejected: int = 0
    last_line: int = 0
    repairs: Counter[str] = field(default_factory=Counter)

    @property
    def read(self) -> int:
        return self.imported + self.already_there + self.rejected


# Told of every record that was not imported: the record, what became of it, and why.
OnOutcome = Callable[[Record, str, str], None]


def import_records(
    records: Iterator[Record],
    owner: UUID,
    *,
    connection: Connection,
    on_outcome: OnOutcome,
    after_batch: Callable[[Report], None] = lambda report: None,
    duplicates: bool = False,
) -> Report:
    """Import the records in the connection's transaction, and call after_batch, which may commit.

    With `duplicates`, a book that is already there is imported again.
    """
    report = Report()
    while batch := list(islice(records, BATCH)):
        _import_batch(batch, owner, report, connection, on_outcome, duplicates)
        report.last_line = batch[-1].line
        after_batch(report)
    return report


def _import_batch(
    batch: Sequence[Record],
    owner: UUID,
    report: Report,
    connection: Connection,
    on_outcome: OnOutcome,
    duplicates: bool,
) -> None:
    good: dict[int, tuple[Record, dict[str, Any]]] = {}
    for record in batch:
        try:
            if record.reason is not None:
                raise ValidationError(record.reason)
            good[record.line] = (record, to_book(record.values, report.repairs))
        except ValidationError as error:
            report.rejected += 1
            on_outcome(record, REJECTED, reason(error))
    there = _write(good, owner, connection, duplicates) if good else []
    for line in there:
        on_outcome(good[line][0], ALREADY_THERE, "You have this book.")
    report.already_there += len(there)
    report.imported += len(good) - len(there)


def _write(
    good: dict[int, tuple[Record, dict[str, Any]]],
    owner: UUID,
    connection: Connection,
    duplicates: bool,
) -> list[int]:
    """Write the books, and return the lines of those that are already there."""
    connection.execute(_LOCK, {"owner": str(owner)})
    connection.execute(_STAGE)
    rows = io.StringIO()
    for line, (_, book) in good.items():
        values = (line, new_id(), owner, *(book.get(name) for name in FIELDS))
        rows.write("\t".join(map(_copied, values)) + "\n")
    rows.seek(0)
    cursor = connection.connection.cursor()
    cursor.copy_expert("COPY import_rows FROM STDIN", rows)
    there = [] if duplicates else sorted(connection.execute(_THERE).scalars())
    connection.execute(_INSERT, {"there": there})
    return there


def _copied(value: Any) -> str:
    return "\\N" if value is None else str(value).translate(_ESCAPES)


def reason(error: ValidationError) -> str:
    """Return the API's words in one line: field, and what is wrong with it."""
    messages: dict[str, list[str]] = (
        error.messages_dict
        if isinstance(error.messages, dict)
        else {error.field_name: error.messages}
    )
    return " ".join(
        " ".join(texts) if name == "_schema" else f"{name}: {' '.join(texts)}"
        for name, texts in messages.items()
    )
