"""Export books as CSV or JSON Lines: streamed, oldest first, so that an import keeps the order."""

import csv
import io
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import Any

import orjson

from books_api.books.lists import iterate_books
from books_api.books.models import FIELDS
from books_api.catalogues.exceptions import TooManyExports
from books_api.catalogues.readers import Format

EXPORTS_MAX = 2  # of one user at once
_running: Counter[str] = Counter()
_counting = Lock()


def export_books(
    format: Format, filters: Mapping[str, Any], exporter: str | None = None
) -> Generator[bytes]:
    """Yield the books that the filters let through, in pieces of some hundred KiB.

    An `exporter`, a user's id, has EXPORTS_MAX at once. Raises TooManyExports.
    """
    batches = iterate_books(filters, FIELDS)
    with _slot(exporter) if exporter else nullcontext():
        yield from _csv(batches) if format == "csv" else _jsonl(batches)


@contextmanager
def _slot(exporter: str) -> Iterator[None]:
    # Counted by each process for itself: what a slow reader holds between two batches is a thread
    # of this process, and nothing that others share. It ends with the process, or its response.
    with _counting:
        if _running[exporter] == EXPORTS_MAX:
            raise TooManyExports
        _running[exporter] += 1
    try:
        yield
    finally:
        with _counting:
            _running[exporter] -= 1
            if not _running[exporter]:
                del _running[exporter]


def _csv(batches: Iterator[list[tuple[Any, ...]]]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)  # RFC 4180; so it quotes a lone CR too
    writer.writerow(FIELDS)
    for rows in batches:
        writer.writerows(row[: len(FIELDS)] for row in rows)
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


def _jsonl(batches: Iterator[list[tuple[Any, ...]]]) -> Iterator[bytes]:
    for rows in batches:
        yield b"".join(
            orjson.dumps(dict(zip(FIELDS, row, strict=False)), option=orjson.OPT_APPEND_NEWLINE)
            for row in rows
        )
