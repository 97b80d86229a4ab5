"""Export books as CSV or JSON Lines: streamed, oldest first, so that an import keeps the order."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from books_api.books.lists import iterate_books
from books_api.books.models import FIELDS
from books_api.catalogues.readers import Format


def export_books(format: Format, filters: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the books that the filters let through, in pieces of some hundred KiB."""
    batches = iterate_books(filters, FIELDS)
    return _csv(batches) if format == "csv" else _jsonl(batches)


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
