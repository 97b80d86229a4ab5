"""Import of a file that a request brings: bounded, whole or not at all, with a report."""

from collections.abc import Iterator
from functools import partial
from typing import IO, Any
from uuid import UUID

from sqlalchemy import Connection

from books_api.catalogues.exceptions import UnreadableCatalogue
from books_api.catalogues.importer import BATCH, import_records
from books_api.catalogues.readers import Catalogue, Format, open_catalogue
from books_api.catalogues.records import Record

RECORDS_MAX = 200_000  # of one request: 16 MiB can hold eight million that are not imported
OUTCOMES_MAX = 1_000  # that are listed
LINES_MAX = 1_000_000  # empty ones are no records, and to read 16 MiB of them takes 12 s
CHUNK = 1024 * 1024
REASON_MAX = 300  # characters of one: it may repeat a cell


def read_file(body: IO[bytes], format: Format) -> Catalogue:
    """Recognise a file: all of it is looked at, so no transaction waits meanwhile."""
    if _count_lines(body) > LINES_MAX:
        raise UnreadableCatalogue(f"More than {LINES_MAX:,} lines; send fewer at once.")
    return open_catalogue(body, format=format)


def import_file(
    catalogue: Catalogue,
    owner: UUID,
    connection: Connection | None,
    *,
    dry_run: bool,
    duplicates: bool,
) -> dict[str, Any]:
    """Import a file whole or not at all, and return the report of the answer."""
    outcomes = Outcomes()
    report = import_records(
        _bounded(catalogue.records),
        owner,
        on_outcome=outcomes.add,
        duplicates=duplicates,
        dry_run=dry_run,
        connection=connection,
    )
    return {
        "dry_run": dry_run,
        "recognised": catalogue.description,
        "read": report.read,
        "imported": report.imported,
        "already_there": report.already_there,
        "rejected": report.rejected,
        "repairs": dict(report.repairs),
        "records": outcomes.first(),
        "records_not_listed": report.already_there + report.rejected - len(outcomes.first()),
    }


def _count_lines(body: IO[bytes]) -> int:
    chunks = iter(partial(body.read, CHUNK), b"")
    lines = sum(max(chunk.count(b"\n"), chunk.count(b"\r")) for chunk in chunks)
    body.seek(0)
    return lines


class Outcomes:
    """The first outcomes by line: of 200,000 bad lines all would be an answer of 25 MiB."""

    def __init__(self) -> None:
        self._found: list[dict[str, Any]] = []

    def add(self, record: Record, outcome: str, reason: str) -> None:
        # Within a batch they come by outcome: enough of them is where the batch ends.
        if len(self._found) < OUTCOMES_MAX + BATCH:
            reason = reason if len(reason) <= REASON_MAX else f"{reason[:REASON_MAX]}..."
            self._found.append({"line": record.line, "outcome": outcome, "reason": reason})

    def first(self) -> list[dict[str, Any]]:
        return sorted(self._found, key=lambda found: int(found["line"]))[:OUTCOMES_MAX]


def _bounded(records: Iterator[Record]) -> Iterator[Record]:
    for number, record in enumerate(records):
        if number == RECORDS_MAX:
            raise UnreadableCatalogue(
                f"More than {RECORDS_MAX:,} records; send them in several requests."
            )
        yield record
