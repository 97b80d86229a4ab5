"""Catalogues as people have them: what is recognised is said, never guessed silently."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from io import TextIOWrapper
from typing import IO, Literal, NamedTuple

import orjson
from marshmallow import ValidationError

from books_api.catalogues.encodings import LINE_MAX, open_text
from books_api.catalogues.exceptions import UnreadableCatalogue
from books_api.catalogues.import_columns import KNOWN_COLUMNS, check_fields, plain, shown
from books_api.catalogues.import_dates import Order
from books_api.catalogues.records import Record, Row
from books_api.catalogues.repair import read_book
from books_api.catalogues.sources import BLANK, DUMPED, open_csv, open_document, open_json_lines

Format = Literal["csv", "jsonl", "json"]
UNUSED_SHOWN = 4_000  # characters


class Catalogue(NamedTuple):
    """A catalogue that is recognised and not yet read."""

    records: Iterator[Record]
    header: list[str]  # of the cells of a record
    columns: Mapping[str, str]  # from a field to the column that it is read from
    description: str  # what was recognised, for the first line of a report
    text: TextIOWrapper  # which closes its file when it is let go


def open_catalogue(
    raw: IO[bytes],
    *,
    format: Format | None = None,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    strict: bool = False,
    records_max: int = sys.maxsize,
) -> Catalogue:
    """Recognise a seekable binary file by all of it; "json" is a document or lines.

    `mapping` leads from fields of a book to columns, besides those known by name. `strict` rejects
    a record for a cell that cannot be read. Raises UnreadableCatalogue and UnknownColumn.
    """
    mapping = mapping or {}
    check_fields(mapping)
    text, encoding_name = open_text(raw, encoding)
    start = _start(text)
    match _format_of(start, format):
        case "csv":
            source = open_csv(text, start[0], mapping, records_max)
        case "jsonl":
            source = open_json_lines(text, mapping, records_max)
        case "json":
            source = open_document(text, mapping, records_max)
    used = ", ".join(f"{name} from {column!r}" for name, column in source.columns.items())
    unused = shown(source.unused, UNUSED_SHOWN)
    said = (f"{source.form}, {encoding_name}", used, str(source.dates))
    description = "; ".join(filter(None, (*said, unused and f"not used: {unused}")))
    records = _read_records(source.rows, source.dates.decided, strict)
    return Catalogue(records, source.header, source.columns, description, text)


def _start(text: TextIOWrapper) -> list[str]:
    """Return the first lines that are not blank, the last of which may be cut off."""
    text.seek(0)
    lines = re.split(r"[\r\n]+", text.read(LINE_MAX))
    if found := list(filter(None, (line.strip(BLANK) for line in lines))):
        return found
    raise UnreadableCatalogue("The file is empty.")


def _format_of(start: list[str], format: Format | None) -> Format:
    first, *others = start
    if format is not None and format != "json":
        return format
    if first.startswith(DUMPED) or (first[0] == "{" and others and others[0][0] == "{"):
        return "jsonl"
    if first[0] not in "[{":
        return format or "csv"
    try:
        found = orjson.loads(first)
    except orjson.JSONDecodeError:
        return "json"
    names = set(map(plain, found)) if isinstance(found, dict) else set()
    return "json" if others or names.isdisjoint(KNOWN_COLUMNS["title"]) else "jsonl"


def _read_records(rows: Iterable[Row], order: Order | None, strict: bool) -> Iterator[Record]:
    for row in rows:
        if row.reason is not None:
            yield Record(row.line, row.cells, reason=row.reason)
            continue
        try:
            book, notes = read_book(row.values, order=order, strict=strict, literal=row.is_ours)
        except ValidationError as error:
            yield Record(row.line, row.cells, reason=reason(error))
        else:
            yield Record(row.line, row.cells, book, id=row.id, notes=[*row.notes, *notes])


def reason(error: ValidationError) -> str:
    """Return the API's words in one line: field, and what is wrong with it."""
    messages: dict[str, list[str]] = error.messages_dict
    return " ".join(f"{name}: {' '.join(texts)}" for name, texts in messages.items())
