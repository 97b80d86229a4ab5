"""Catalogues as people have them: recognise format, delimiter and columns; read records.

What is recognised is said, never guessed silently.
"""

import csv
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import chain, islice
from typing import IO, Any, Literal

import orjson

from books_api.books.models import FIELDS
from books_api.catalogues.columns import check_fields, find_columns, shown
from books_api.catalogues.encodings import LINE_MAX, open_text, read_lines
from books_api.catalogues.exceptions import UnknownColumn, UnreadableCatalogue
from books_api.catalogues.repair import QUOTES, date_form

Format = Literal["csv", "jsonl"]
LOOKED_AT = 100  # records whose dates are looked at to name their form
REREAD_MAX = 8 * LINE_MAX  # characters read again behind quotes that do not match
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# Rejected records: line, reason and the record as it was; of JSON Lines, that is one cell.
REJECTED_COLUMNS = ["line", "reason"]
JSON_COLUMNS = ["record"]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was: where it began, its cells, and why it cannot be read, if so.

    `typed` values are JSON's; the others are text, in which an empty cell means unknown.
    """

    line: int
    cells: list[str]
    values: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    typed: bool = False
    repairs: tuple[str, ...] = ()


@dataclass(slots=True)
class Catalogue:
    """A catalogue that is recognised and not yet read. `description` says what was recognised."""

    header: list[str]
    records: Iterator[Record]
    description: str
    text: TextIOWrapper  # which closes its file when it is let go


def open_catalogue(
    raw: IO[bytes],
    *,
    format: Format | None = None,
    mapping: Mapping[str, str] | None = None,
) -> Catalogue:
    """Recognise a seekable binary file.

    `mapping` leads from fields of a book to columns of the file, besides those known by name.
    Raises UnreadableCatalogue and UnknownColumn.
    """
    mapping = mapping or {}
    check_fields(mapping)
    text, encoding = open_text(raw)
    first = next((line for line in read_lines(text) if line.strip("\ufeff \t\r\n")), None)
    if first is None:
        raise UnreadableCatalogue("The file is empty.")
    text.seek(0)
    if format is None:
        format = "jsonl" if first.lstrip("\ufeff \t").startswith("{") else "csv"
    if format == "csv":
        return _described(_open_csv(text, first, encoding, mapping))
    lines = enumerate(read_lines(text), 1)
    records = _read_jsonl(
        ((number, line.strip("\ufeff \t\r\n")) for number, line in lines), mapping
    )
    return _described(Catalogue(JSON_COLUMNS, records, f"JSON Lines, {encoding}", text))


def _open_csv(
    text: TextIOWrapper, first: str, encoding: str, mapping: Mapping[str, str]
) -> Catalogue:
    csv.field_size_limit(LINE_MAX)

    def known(delimiter: str) -> tuple[int, int]:
        header = next(csv.reader([first], delimiter=delimiter))
        try:
            return len(find_columns(header, {})), len(header)
        except UnknownColumn:  # several of a name
            return len(header), len(header)

    delimiter = max(DELIMITERS, key=known)
    described = f"CSV, {DELIMITERS[delimiter]}, {encoding}"
    rows = _read_rows(read_lines(text), delimiter)
    _, header, reason = next(row for row in rows if row[1])
    if reason:
        raise UnreadableCatalogue(f"The header {reason[0].lower()}{reason[1:]}")
    if header == REJECTED_COLUMNS + JSON_COLUMNS:
        lines = ((number, row[-1]) for number, row, _ in rows if row)
        described += ", of rejected JSON Lines"
        return Catalogue(JSON_COLUMNS, _read_jsonl(lines, mapping), described, text)
    columns = find_columns(header, mapping)
    missing = [name for name in ("title", "author") if name not in columns]
    if missing:
        raise UnknownColumn(
            f"No column is known as the {' or the '.join(missing)} among: {shown(header)}."
            f" Name the columns {', '.join(FIELDS)}."
        )
    used = ", ".join(f"{name} from {header[index]!r}" for name, index in columns.items())
    records = _read_csv(rows, delimiter, len(header), columns)
    return Catalogue(header, records, f"{described}; {used}", text)


def _described(catalogue: Catalogue) -> Catalogue:
    """Add to the description in which forms the first dates are."""
    first = list(islice(catalogue.records, LOOKED_AT))
    if not first:
        raise UnreadableCatalogue("The file has a header and no records.")
    forms = {date_form(record.values.get("published_date", "")) for record in first} - {None}
    if forms:
        catalogue.description += f"; dates as {' or '.join(sorted(map(str, forms)))}"
    catalogue.records = chain(first, catalogue.records)
    return catalogue


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
) -> Iterator[Record]:
    for line, row, reason in rows:
        repairs: tuple[str, ...] = ()
        if reason is not None and len(cells := row[0].split(delimiter)) == width:
            row, reason, repairs = cells, None, (QUOTES,)
        if reason is None and len(row) == width:
            values = {name: row[index] for name, index in columns.items()}
            yield Record(line, row, values, repairs=repairs)
        elif row:
            yield Record(line, row, reason=reason or f"Has {len(row)} columns in place of {width}.")


def _read_jsonl(lines: Iterator[tuple[int, str]], mapping: Mapping[str, str]) -> Iterator[Record]:
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
            yield Record(number, [line], reason=f"Is not JSON: {error}.")
        except UnknownColumn as error:
            keys = []
            yield Record(number, [line], reason=str(error))
        else:
            values = {name: found[keys[index]] for name, index in columns.items()}
            yield Record(number, [line], values, typed=True)
