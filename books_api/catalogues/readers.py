"""Catalogues as people have them: recognise format, delimiter and columns; read records.

What is recognised is said, never guessed silently.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import chain, islice
from typing import IO, Any, Literal

import orjson
from marshmallow import ValidationError

from books_api.books.models import FIELDS
from books_api.catalogues.columns import check_fields, find_columns, shown
from books_api.catalogues.encodings import LINE_MAX, open_text, read_lines
from books_api.catalogues.exceptions import UnknownColumn, UnreadableCatalogue
from books_api.catalogues.repair import QUOTES, Note, date_form, read_book

Format = Literal["csv", "jsonl"]
LOOKED_AT = 100  # records whose dates are looked at to name their form
REREAD_MAX = 8 * LINE_MAX  # characters read again behind quotes that do not match
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# Rejected records: line, reason and the record as it was; of JSON Lines, that is one cell.
REJECTED_COLUMNS = ["line", "reason"]
JSON_COLUMNS = ["record"]


@dataclass(frozen=True, slots=True)
class Record:
    """A record: where it begins, its cells as they were, its book or the reason why it has none.

    A field that the record has not, or whose cell was left out, is no member of `book`; one whose
    cell is empty is None. `id` is the book's, in a file that we exported; `notes` are what was left
    out or repaired.
    """

    line: int
    cells: list[str]
    book: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    id: str | None = None
    notes: Sequence[Note] = ()


@dataclass(slots=True)
class Catalogue:
    """A catalogue that is recognised and not yet read. `header` names the cells of a record.

    `columns` leads from fields to the columns that they are read from; `unused` are the others.
    """

    header: list[str]
    records: Iterator[Record]
    text: TextIOWrapper  # which closes its file when it is let go
    encoding: str
    form: str  # CSV or JSON Lines, and its delimiter
    columns: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    dates: str = ""

    @property
    def description(self) -> str:
        """What was recognised, for the first line of a report."""
        used = ", ".join(f"{name} from {column!r}" for name, column in self.columns.items())
        parts = [f"{self.form}, {self.encoding}", used, self.dates and f"dates as {self.dates}"]
        parts.append(f"not used: {shown(self.unused)}" if self.unused else "")
        return "; ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class _Row:
    """What stands in a record, by the names of columns.KNOWN_COLUMNS. `typed` values are JSON's."""

    line: int
    cells: list[str]
    values: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    typed: bool = False
    notes: tuple[Note, ...] = ()


def open_catalogue(
    raw: IO[bytes],
    *,
    format: Format | None = None,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    strict: bool = False,
) -> Catalogue:
    """Recognise a seekable binary file.

    `mapping` leads from fields of a book to columns of the file, besides those known by name.
    `encoding` is the name of a codec; without it, it is recognised. `strict` rejects a record for
    a cell that cannot be read, which otherwise is left out. Raises UnreadableCatalogue and
    UnknownColumn.
    """
    mapping = mapping or {}
    check_fields(mapping)
    text, found = open_text(raw, encoding)
    first = next((line for line in read_lines(text) if line.strip("\ufeff \t\r\n")), None)
    if first is None:
        raise UnreadableCatalogue("The file is empty.")
    text.seek(0)
    if format is None:
        format = "jsonl" if first.lstrip("\ufeff \t").startswith("{") else "csv"
    if format == "csv":
        catalogue, rows = _open_csv(text, first, found, mapping)
    else:
        lines = enumerate(read_lines(text), 1)
        rows = _read_jsonl(
            ((number, line.strip("\ufeff \t\r\n")) for number, line in lines), mapping
        )
        catalogue = Catalogue(JSON_COLUMNS, iter(()), text, found, "JSON Lines")
    start = list(islice(rows, LOOKED_AT))
    if not start:
        raise UnreadableCatalogue("The file has a header and no records.")
    forms = {date_form(row.values.get("published_date", "")) for row in start} - {None}
    catalogue.dates = " or ".join(sorted(map(str, forms)))
    catalogue.records = _read_records(chain(start, rows), strict)
    return catalogue


def _read_records(rows: Iterable[_Row], strict: bool) -> Iterator[Record]:
    for row in rows:
        if row.reason is not None:
            yield Record(row.line, row.cells, reason=row.reason)
            continue
        try:
            book, notes = read_book(row.values, strict=strict, typed=row.typed)
        except ValidationError as error:
            yield Record(row.line, row.cells, reason=reason(error))
        else:
            yield Record(row.line, row.cells, book, notes=[*row.notes, *notes])


def reason(error: ValidationError) -> str:
    """Return the API's words in one line: field, and what is wrong with it."""
    messages: dict[str, list[str]] = error.messages_dict
    return " ".join(f"{name}: {' '.join(texts)}" for name, texts in messages.items())


def _open_csv(
    text: TextIOWrapper, first: str, encoding: str, mapping: Mapping[str, str]
) -> tuple[Catalogue, Iterator[_Row]]:
    csv.field_size_limit(LINE_MAX)

    def known(delimiter: str) -> tuple[int, int]:
        header = next(csv.reader([first], delimiter=delimiter))
        try:
            return len(find_columns(header, {})), len(header)
        except UnknownColumn:  # several of a name
            return len(header), len(header)

    delimiter = max(DELIMITERS, key=known)
    form = f"CSV, {DELIMITERS[delimiter]}"
    rows = _read_rows(read_lines(text), delimiter)
    _, header, reason = next(row for row in rows if row[1])
    if reason:
        raise UnreadableCatalogue(f"The header {reason[0].lower()}{reason[1:]}")
    if header == REJECTED_COLUMNS + JSON_COLUMNS:
        lines = ((number, row[-1]) for number, row, _ in rows if row)
        form += ", of rejected JSON Lines"
        catalogue = Catalogue(JSON_COLUMNS, iter(()), text, encoding, form)
        return catalogue, _read_jsonl(lines, mapping)
    columns = find_columns(header, mapping)
    missing = [name for name in ("title", "author") if name not in columns]
    if missing:
        raise UnknownColumn(
            f"No column is known as the {' or the '.join(missing)} among: {shown(header)}."
            f" Name the columns {', '.join(FIELDS)}."
        )
    used = {name: header[index] for name, index in columns.items()}
    unused = [name for index, name in enumerate(header) if index not in columns.values()]
    catalogue = Catalogue(header, iter(()), text, encoding, form, used, unused)
    return catalogue, _read_csv(rows, delimiter, len(header), columns)


def _read_rows(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str], str | None]]:
    """Yield where a row began, its cells, and why they cannot be read, if so.

    Quotes that do not match cost the line where they began, and not those behind it.
    """
    number, reread = 1, 0
    again: deque[str] = deque()
    taken: list[str] = []

    def take() -> Iterator[str]:
        size = 0
        while line := again.popleft() if again else next(lines, ""):
            size = size + len(line) if taken else len(line)
            taken.append(line)
            if size > LINE_MAX:
                raise csv.Error(f"longer than {LINE_MAX:,} characters")
            yield line

    while True:
        try:
            for row in csv.reader(take(), delimiter=delimiter, strict=True):
                yield number, row, None
                number += len(taken)
                taken.clear()
            return
        except csv.Error as error:
            first, *rest = taken
            taken.clear()
            yield number, [first.rstrip("\r\n")], f"Is not CSV: {error}."
            number += 1
            reread += sum(map(len, rest))
            if reread > REREAD_MAX:
                raise UnreadableCatalogue(
                    f"The quotes before line {number} do not match."
                ) from None
            again.extendleft(reversed(rest))


def _read_csv(
    rows: Iterator[tuple[int, list[str], str | None]],
    delimiter: str,
    width: int,
    columns: Mapping[str, int],
) -> Iterator[_Row]:
    for line, row, reason in rows:
        notes: tuple[Note, ...] = ()
        if reason is not None and len(cells := row[0].split(delimiter)) == width:
            row, reason, notes = cells, None, (QUOTES,)
        if reason is None and len(row) == width:
            values = {name: row[index] for name, index in columns.items()}
            yield _Row(line, row, values, notes=notes)
        elif row:
            yield _Row(line, row, reason=reason or f"Has {len(row)} columns in place of {width}.")


def _read_jsonl(lines: Iterator[tuple[int, str]], mapping: Mapping[str, str]) -> Iterator[_Row]:
    keys: list[str] = []
    columns: dict[str, int] = {}
    for number, line in lines:
        if not line:
            continue
        try:
            found = orjson.loads(line)
            if not isinstance(found, dict):
                raise UnknownColumn("Must be a JSON object.")
            if list(found) != keys:
                keys = list(found)
                used = {name: column for name, column in mapping.items() if column in found}
                columns = find_columns(keys, used)
        except orjson.JSONDecodeError as error:
            yield _Row(number, [line], reason=f"Is not JSON: {error}.")
        except UnknownColumn as error:
            keys = []
            yield _Row(number, [line], reason=str(error))
        else:
            values = {name: found[keys[index]] for name, index in columns.items()}
            yield _Row(number, [line], values, typed=True)
