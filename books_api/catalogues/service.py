"""Import of a file that a request brings: bounded, whole or not at all, with a report."""

from collections.abc import Mapping
from functools import partial
from itertools import chain, islice
from typing import IO, Any
from uuid import UUID

from sqlalchemy import Connection

from books_api.catalogues.exceptions import UnreadableCatalogue
from books_api.catalogues.importer import import_records
from books_api.catalogues.readers import Catalogue, Format, open_catalogue
from books_api.catalogues.records import Record
from books_api.catalogues.staging import ALREADY_THERE, IMPORTED, REJECTED, UPDATED, Outcome
from books_api.observability.metrics import IMPORT_RECORDS

RECORDS_MAX = 200_000  # of one request: 16 MiB can hold eight million that are not imported
OUTCOMES_MAX = 1_000  # that are listed, the weightiest first; what has notes weighs 1
WEIGHTS = {REJECTED: 0, UPDATED: 2, ALREADY_THERE: 2, IMPORTED: 3}
LINES_MAX = 1_000_000  # empty ones are no records, and to read 16 MiB of them takes 12 s
CHUNK = 1024 * 1024
REASON_MAX = 300  # characters of one: it may repeat a cell


def read_file(body: IO[bytes], format: Format | None, options: Mapping[str, Any]) -> Catalogue:
    """Recognise a file: all of it is looked at, so no transaction waits meanwhile."""
    chunks = iter(partial(body.read, CHUNK), b"")
    lines = sum(max(chunk.count(b"\n"), chunk.count(b"\r")) for chunk in chunks)
    body.seek(0)
    if lines > LINES_MAX:
        raise UnreadableCatalogue(f"More than {LINES_MAX:,} lines; send fewer at once.")
    return open_catalogue(
        body,
        format=format,
        mapping=options.get("mapping"),
        encoding=options.get("encoding"),
        strict=options.get("strict", False),
        records_max=RECORDS_MAX,
    )


def import_file(
    catalogue: Catalogue, owner: UUID, options: Mapping[str, Any], connection: Connection | None
) -> dict[str, Any]:
    """Import a file whole or not at all, and return the report of the answer."""
    dry_run = options["dry_run"]
    outcomes = Outcomes()
    report = import_records(
        catalogue.records,
        owner,
        on_outcome=outcomes.add,
        on_duplicate=options.get("on_duplicate") or ("add" if options["duplicates"] else "skip"),
        dry_run=dry_run,
        connection=connection,
    )
    listed = outcomes.listed()
    for outcome, count in report.counts.items() if not dry_run else ():
        IMPORT_RECORDS.labels(outcome).inc(count)
    return {
        "dry_run": dry_run,
        "recognised": catalogue.description,
        "read": report.read,
        "imported": report.counts[IMPORTED],
        "updated": report.counts[UPDATED],
        "already_there": report.counts[ALREADY_THERE],
        "rejected": report.counts[REJECTED],
        "repairs": dict(report.repairs),
        "records": listed,
        "records_not_listed": report.read - len(listed),
    }


class Outcomes:
    """The outcomes of an answer: of 200,000 bad lines all would be 25 MiB."""

    def __init__(self) -> None:
        self._by_weight: list[list[dict[str, Any]]] = [[], [], [], []]

    def add(self, record: Record, outcome: Outcome) -> None:
        weight = 1 if record.notes and outcome.kind != REJECTED else WEIGHTS[outcome.kind]
        if len(self._by_weight[weight]) < OUTCOMES_MAX:
            self._by_weight[weight].append(
                {
                    "line": record.line,
                    "outcome": outcome.kind,
                    "id": outcome.book_id,
                    "reason": _shortened(outcome.reason),
                    "notes": [_shortened(note.text or note.kind) for note in record.notes],
                }
            )

    def listed(self) -> list[dict[str, Any]]:
        """Return the weightiest, by line."""
        weightiest = islice(chain.from_iterable(self._by_weight), OUTCOMES_MAX)
        return sorted(weightiest, key=lambda found: int(found["line"]))


def _shortened(text: str) -> str:
    return text if len(text) <= REASON_MAX else f"{text[:REASON_MAX]}..."
