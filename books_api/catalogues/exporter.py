"""Export books: streamed, oldest first, so that an import keeps the order."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain
from threading import Lock
from typing import Any, Literal

import orjson

from books_api.books.lists import as_answer, iterate_books
from books_api.books.models import FIELDS, MEMBERS
from books_api.catalogues.exceptions import TooManyExports
from books_api.catalogues.spreadsheets import ENCODING, MARK, escape

ExportFormat = Literal["csv", "excel", "ndjson", "jsonl"]  # the last two are the same
ONE_A_LINE = orjson.OPT_APPEND_NEWLINE
COLUMNS = ("id", *FIELDS)  # of CSV
EXPORTS_MAX = 2  # of one user at once
_running: Counter[str] = Counter()
_counting = Lock()


def export_books(
    format: ExportFormat, filters: Mapping[str, Any], exporter: str | None = None
) -> Generator[bytes]:
    """Yield an export in pieces of some hundred KiB. Raises TooManyExports."""
    names = COLUMNS if format in ("csv", "excel") else MEMBERS
    batches = iterate_books(filters, names)
    with _slot(exporter) if exporter else nullcontext():
        match format:
            case "csv":
                yield from _csv(batches, COLUMNS)
            case "excel":
                escaped = ([_escaped(row) for row in rows] for rows in batches)
                yield from _csv(escaped, (*COLUMNS, MARK), ENCODING)
            case _:
                for rows in batches:
                    lines = (orjson.dumps(as_answer(row), option=ONE_A_LINE) for row in rows)
                    yield b"".join(lines)


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


def _csv(
    batches: Iterator[list[tuple[Any, ...]]], header: tuple[str, ...], encoding: str = "utf-8"
) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)  # RFC 4180; so it quotes a lone CR too
    encode = codecs.getincrementalencoder(encoding)().encode
    for rows in chain([[header]], batches):
        writer.writerows(row[: len(header)] for row in rows)
        yield encode(buffer.getvalue())
        buffer.seek(0)
        buffer.truncate()


def _escaped(row: tuple[Any, ...]) -> tuple[Any, ...]:
    cells = (escape(cell) if isinstance(cell, str) else cell for cell in row[: len(COLUMNS)])
    return (*cells, "")
