"""Import a catalogue: one function for the command line and for POST /books/import.

Every record ends as exactly one of: imported, updated, already there, rejected.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from uuid import UUID

from psycopg2.errorcodes import LOCK_NOT_AVAILABLE
from sqlalchemy import Connection, text

from books_api.auth.idempotency import owner_must_exist
from books_api.catalogues.exceptions import ImportRunning, UnreadableCatalogue
from books_api.catalogues.records import Record
from books_api.catalogues.staging import REJECTED, OnDuplicate, Outcome, write
from books_api.database import transaction, translate

BATCH = 2_000  # records in one COPY: well inside the statement time-out
HOPELESS = 10_000  # records, all of them rejected: a request ends there
BATCH_CHARACTERS = 8 * 1024 * 1024  # of enormous records a batch holds fewer

# Of two imports of one owner at once both would find that a book is not there yet.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('import ' || :owner, 0))")
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('import ' || :owner, 0))")


@dataclass(slots=True)
class Report:
    """How far an import came: how many records became what, and the repairs by kind."""

    counts: Counter[str] = field(default_factory=Counter)
    last_line: int = 0
    last_reason: str = ""  # of a rejection
    repairs: Counter[str] = field(default_factory=Counter)

    @property
    def read(self) -> int:
        return self.counts.total()


OnOutcome = Callable[[Record, Outcome], None]  # told of every record


def import_records(
    records: Iterator[Record],
    owner: UUID,
    *,
    on_outcome: OnOutcome,
    on_duplicate: OnDuplicate = "skip",
    dry_run: bool = False,
    on_batch: Callable[[Report], None] | None = None,
    connection: Connection | None = None,
) -> Report:
    """Import the records in one transaction, which may be that of a connection, or nothing.

    With on_batch each batch has a transaction of its own, as long as an operator's work may take,
    and waits for another import of the owner; on_batch is told when it is committed (of a dry run,
    which is one transaction, when it is read). A book that is already there is skipped, updated
    with what the record says, or added again. Raises ImportRunning, and TokenRefused when the
    owner's account is gone.
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
                _import_batch(batch, owner, report, joined, on_outcome, on_duplicate)
                if not in_batches and HOPELESS <= report.read == report.counts[REJECTED]:
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
    on_duplicate: OnDuplicate,
) -> None:
    good = {number: record for number, record in enumerate(batch) if record.reason is None}
    outcomes = write(good, owner, connection, on_duplicate) if good else {}
    for number, record in enumerate(batch):
        outcome = outcomes.get(number) or Outcome(REJECTED, None, record.reason or "")
        report.counts[outcome.kind] += 1
        if outcome.kind == REJECTED:
            report.last_reason = outcome.reason
        elif record.notes:
            report.repairs.update(note.kind for note in record.notes)
        on_outcome(record, outcome)
    report.last_line = batch[-1].line


def _take_turn(owner: UUID, connection: Connection, *, wait: bool) -> None:
    # Of each batch: Postgres ends a transaction that sends it nothing for long.
    with translate(LOCK_NOT_AVAILABLE, ImportRunning):
        taken = connection.scalar(_LOCK if wait else _TRY_LOCK, {"owner": str(owner)})
    if taken is False:  # who waits is given nothing
        raise ImportRunning
