"""Import a catalogue: one function for the command line and for POST /books/import.

Every record ends as exactly one of: imported, already there, rejected.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg2
from psycopg2.errorcodes import LOCK_NOT_AVAILABLE
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, OperationalError

from books_api.books.models import FIELDS
from books_api.books.service import owner_must_exist
from books_api.catalogues.exceptions import ImportRunning, UnreadableCatalogue
from books_api.catalogues.records import Record
from books_api.database import transaction
from books_api.models import new_id

BATCH = 2_000  # records in one COPY: well inside the statement time-out
HOPELESS = 10_000  # records, all of them rejected: a request ends there
BATCH_CHARACTERS = 8 * 1024 * 1024  # of enormous records a batch holds fewer
ALREADY_THERE, REJECTED = "already there", "rejected"

# Of two imports of one owner at once both would find that a book is not there yet.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('import ' || :owner, 0))")
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('import ' || :owner, 0))")
_COLUMNS = ", ".join(("id", "user_uid", *FIELDS))
_STAGE = text(f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS import_rows ON COMMIT DROP AS
        SELECT 0 AS line, {_COLUMNS} FROM books WITH NO DATA;
    TRUNCATE import_rows
""")  # noqa: S608  # names of our own
# The same owner and isbn; or, without one, the same folded title and author and the same date.
# Looked for among the earlier records of the batch, and among the owner's books: there LATERAL
# with LIMIT means one look into an index for each record, whatever the planner thinks of tables
# that nobody has analyzed; = would let it take the index of all the owner's books.
# Only if a record has no isbn is anything folded. Folding takes C++ and C# for C, and signs for
# nothing at all: these are compared besides.
FIND_DUPLICATES = text("""
    WITH keys AS MATERIALIZED (
        SELECT line, isbn, user_uid, books_fold(title) AS title, books_fold(author) AS author,
            published_date, regexp_replace(title, '[^#+]+', '', 'g') AS signs,
            CASE books_fold(title) WHEN '' THEN title END AS unfolded
        FROM import_rows WHERE EXISTS (SELECT FROM import_rows WHERE isbn IS NULL)
    )
    SELECT line FROM (
        SELECT line, row_number() OVER (PARTITION BY isbn ORDER BY line) AS nth
        FROM import_rows WHERE isbn IS NOT NULL
    ) numbered WHERE nth > 1
    UNION
    SELECT line FROM (
        SELECT line, isbn,
            row_number() OVER (
                PARTITION BY title, author, published_date, signs, unfolded ORDER BY line
            ) AS nth
        FROM keys
    ) numbered WHERE nth > 1 AND isbn IS NULL
    UNION
    SELECT line FROM import_rows r CROSS JOIN LATERAL (
        SELECT FROM books b
        WHERE b.isbn = r.isbn AND b.user_uid IS NOT DISTINCT FROM r.user_uid
        LIMIT 1
    ) there
    UNION
    SELECT line FROM keys k CROSS JOIN LATERAL (
        SELECT FROM books b
        WHERE left(books_fold(b.title), 100) COLLATE "C" = left(k.title, 100) COLLATE "C"
            AND books_fold(b.title) = k.title
            AND books_fold(b.author) = k.author
            AND regexp_replace(b.title, '[^#+]+', '', 'g') = k.signs
            AND (k.unfolded IS NULL OR b.title = k.unfolded)
            AND b.published_date IS NOT DISTINCT FROM k.published_date
            AND b.user_uid IS NOT DISTINCT FROM k.user_uid
        LIMIT 1
    ) there WHERE k.isbn IS NULL
""")
_INSERT = text(
    f"INSERT INTO books ({_COLUMNS}) SELECT {_COLUMNS}"  # noqa: S608  # names of our own
    " FROM import_rows WHERE line <> ALL(:there) ORDER BY line"
)
# COPY's text format.
_ESCAPED = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(slots=True)
class Report:
    """How far an import came: the three counts, and the repairs by kind."""

    imported: int = 0
    already_there: int = 0
    rejected: int = 0
    last_line: int = 0
    last_reason: str = ""  # of a rejection
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
    on_outcome: OnOutcome,
    duplicates: bool = False,
    dry_run: bool = False,
    on_batch: Callable[[Report], None] | None = None,
    connection: Connection | None = None,
) -> Report:
    """Import the records in one transaction, which may be that of a connection, or nothing.

    With on_batch each batch has a transaction of its own, as long as an operator's work may take,
    and waits for another import of the owner; on_batch is told when it is committed (of a dry run,
    which is one transaction, when it is read). With `duplicates`, a book that is already there is
    imported again. Raises ImportRunning, and TokenRefused when the owner's account is gone.
    """
    report, in_batches = Report(), on_batch is not None
    on_batch = on_batch or (lambda report: None)
    batches = _batches(records)
    units = ([batch] for batch in batches) if in_batches and not dry_run else [batches]
    for unit in units:
        begun = transaction(long=in_batches) if connection is None else nullcontext(connection)
        with owner_must_exist(), begun as joined:
            _take_turn(owner, joined, wait=in_batches)  # before more of the file is read
            for batch in unit:
                _take_turn(owner, joined, wait=in_batches)
                _import_batch(batch, owner, report, joined, on_outcome, duplicates)
                if not in_batches and HOPELESS <= report.read == report.rejected:
                    raise UnreadableCatalogue(
                        f"None of the first {report.read:,} records is a book."
                        f" Line {report.last_line:,}: {report.last_reason:.300}"
                    )
                if dry_run:
                    on_batch(report)
            if dry_run:
                joined.rollback()
        if not dry_run:
            on_batch(report)
    return report


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += sum(map(len, record.cells))
        if len(batch) == BATCH or size > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _import_batch(
    batch: Sequence[Record],
    owner: UUID,
    report: Report,
    connection: Connection,
    on_outcome: OnOutcome,
    duplicates: bool,
) -> None:
    good: dict[int, Record] = {}
    for record in batch:
        if record.reason is None:
            report.repairs.update(note.kind for note in record.notes)
            good[record.line] = record
        else:
            report.rejected += 1
            report.last_reason = record.reason
            on_outcome(record, REJECTED, record.reason)
    report.last_line = batch[-1].line
    there = _write(good, owner, connection, duplicates) if good else []
    for line in there:
        on_outcome(good[line], ALREADY_THERE, "You have this book.")
    report.already_there += len(there)
    report.imported += len(good) - len(there)


def _take_turn(owner: UUID, connection: Connection, *, wait: bool) -> None:
    # Of each batch: Postgres ends a transaction that sends it nothing for long.
    try:
        taken = connection.scalar(_LOCK if wait else _TRY_LOCK, {"owner": str(owner)})
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
            raise
        raise ImportRunning from error
    if taken is False:  # who waits is given nothing
        raise ImportRunning


def _write(
    good: dict[int, Record],
    owner: UUID,
    connection: Connection,
    duplicates: bool,
) -> list[int]:
    """Write the books, and return the lines of those that are already there."""
    rows, owned_by = io.StringIO(), str(owner)
    connection.execute(_STAGE)
    for line, record in good.items():
        values = (line, new_id(), owned_by, *(record.book.get(name) for name in FIELDS))
        rows.write("\t".join(map(_copied, values)) + "\n")
    rows.seek(0)
    try:
        connection.connection.cursor().copy_expert("COPY import_rows FROM STDIN", rows)
    except psycopg2.Error as error:  # SQLAlchemy has no COPY, and so does not wrap its errors
        raise DBAPIError.instance("COPY", None, error, psycopg2.Error) from error
    there = [] if duplicates else sorted(connection.execute(FIND_DUPLICATES).scalars())
    connection.execute(_INSERT, {"there": there})
    return there


def _copied(value: Any) -> str:
    if value is None:
        return "\\N"
    copied = str(value)
    return copied.translate(_ESCAPES) if _ESCAPED.search(copied) else copied
