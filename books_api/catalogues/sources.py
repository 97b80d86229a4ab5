"""The rows of a file in each format, behind a look at the whole of it."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from io import TextIOWrapper
from itertools import islice
from typing import Any, NamedTuple

import orjson

from books_api.books.models import MEMBERS
from books_api.catalogues.dialects import (
    Survey,
    find_delimiter,
    read_literally,
    read_rows,
    survey_file,
)
from books_api.catalogues.documents import KEYS_MAX, read_document, survey_document
from books_api.catalogues.encodings import LINE_MAX, read_lines
from books_api.catalogues.exceptions import UnknownColumn, UnreadableCatalogue
from books_api.catalogues.import_columns import check_columns, find_columns
from books_api.catalogues.import_dates import DateOrder
from books_api.catalogues.records import ID, QUOTES, Note, Row, check_number
from books_api.catalogues.spreadsheets import MARK, unescape

# Rejected records: line, reason and the record as it was; of JSON, that is one cell.
REJECTED_COLUMNS = ["line", "reason"]
JSON_COLUMNS = ["record"]
BLANK = "\ufeff \t\r\n"
DUMPED = "/type/"  # a line of Open Library's dumps begins with it, and ends with JSON
_SEPARATOR = re.compile(r"sep=([,;\t|])")  # Excel's first line
_OURS = {*MEMBERS, MARK}
_Places = Callable[[tuple[str, ...]], dict[str, str]]  # from the keys of an object to its columns


@dataclass(slots=True)
class Source:
    """Rows, and what the whole file showed before they are read."""

    header: list[str]
    form: str  # as a person calls it
    rows: Iterator[Row]
    columns: Mapping[str, str]  # from a field to the column that it is read from
    unused: Sequence[str]
    dates: DateOrder


class _Object(NamedTuple):
    """A record of JSON: its text, and what that says or why it says nothing."""

    line: int
    text: str
    found: Any
    error: str = ""


def open_csv(text: TextIOWrapper, first: str, mapping: Mapping[str, str], most: int) -> Source:
    """Survey a CSV file with a header. Raises UnreadableCatalogue and UnknownColumn."""
    csv.field_size_limit(LINE_MAX)
    separator = _SEPARATOR.fullmatch(first)

    def lines() -> Iterator[str]:
        text.seek(0)
        for number, line in enumerate(read_lines(text)):
            is_separator = separator and number == 0
            yield "\n" if is_separator else line

    def columns_of(header: Sequence[str]) -> dict[str, int]:
        columns = find_columns(header, mapping)
        if header != REJECTED_COLUMNS + JSON_COLUMNS:
            check_columns(columns, header)  # before all of it is read
        return columns

    delimiter = separator[1] if separator else find_delimiter(first, mapping)
    survey = survey_file(lines, delimiter, columns_of, most)
    header, form = survey.header, f"CSV, {survey.dialect}"
    if header == REJECTED_COLUMNS + JSON_COLUMNS:
        return _open_objects(
            lambda: _parsed((line, row[-1]) for line, row, _ in _body(lines(), survey)),
            f"{form}, of rejected JSON",
            mapping,
            most,
        )
    columns = columns_of(header)
    if not survey.has_ids:
        columns.pop("id", None)
    used = {name: header[index] for name, index in columns.items()}
    if not survey.rows:
        raise UnreadableCatalogue("The file has a header and no records.")
    return Source(
        header,
        form,
        _csv_rows(_body(lines(), survey), survey, columns),
        used,
        [name for name in header if name not in (*used.values(), MARK)],
        survey.dates,
    )


def _body(lines: Iterator[str], survey: Survey) -> Iterator[tuple[int, list[str], str | None]]:
    """Yield the rows behind the header that are not blank."""
    rows = (row for row in read_rows(lines, survey.dialect) if row[1])
    yield from islice(rows, 1, None)


def _csv_rows(
    rows: Iterator[tuple[int, list[str], str | None]], survey: Survey, columns: Mapping[str, int]
) -> Iterator[Row]:
    width = len(survey.header)
    places = {name: index for name, index in columns.items() if name != "id"}
    may_be_ours = _OURS.issuperset(survey.header)
    restored = unescape if MARK in survey.header else str
    for line, row, error in rows:
        notes: tuple[Note, ...] = ()
        if error:
            literal = read_literally(row[0], survey.dialect)
            if literal is not None and len(literal) == width:
                row, error, notes = literal, None, (QUOTES,)
        elif len(row) != width:
            error = f"Has {len(row)} columns; expected {width}."
        if error:
            yield Row(line, row, reason=error)
        else:
            values = {name: restored(row[index]) for name, index in places.items()}
            own_id = _own_id(row[columns["id"]]) if "id" in columns else None
            is_ours = may_be_ours and own_id is not None
            yield Row(line, row, values, is_ours=is_ours, id=own_id, notes=notes)


def _own_id(value: Any) -> str | None:
    found = ID.fullmatch(value) if isinstance(value, str) else None
    return found[1].lower() if found else None


def open_json_lines(text: TextIOWrapper, mapping: Mapping[str, str], most: int) -> Source:
    """Survey JSON Lines. Raises UnreadableCatalogue and UnknownColumn."""

    def numbered() -> Iterator[tuple[int, str]]:
        text.seek(0)
        for number, line in enumerate(read_lines(text), 1):
            if stripped := line.strip(BLANK):
                if stripped.startswith(DUMPED):
                    stripped = stripped.split("\t", 4)[-1]
                yield number, stripped

    return _open_objects(lambda: _parsed(numbered()), "JSON Lines", mapping, most)


def open_document(text: TextIOWrapper, mapping: Mapping[str, str], most: int) -> Source:
    """Survey a JSON document. Raises UnreadableCatalogue and UnknownColumn."""
    document = survey_document(text, mapping, most)
    places = _places(mapping)
    columns = _columns(places, document.keys, document.has_ids)
    dates = document.dates.get(columns.get("published_date", ""), DateOrder())
    objects = (
        _Object(number, orjson.dumps(found).decode(), found)
        for number, found in read_document(text, document)
    )
    return _source("JSON", objects, document.keys, columns, dates, places)


def _parsed(lines: Iterator[tuple[int, str]]) -> Iterator[_Object]:
    for number, line in lines:
        try:
            yield _Object(number, line, orjson.loads(line))
        except orjson.JSONDecodeError as error:
            yield _Object(number, line, None, f"Is not JSON: {error}.")


def _open_objects(
    objects: Callable[[], Iterator[_Object]], form: str, mapping: Mapping[str, str], most: int
) -> Source:
    keys: dict[str, None] = {}
    dates = DateOrder()
    places = _places(mapping)
    number, has_ids = 0, False
    for number, (_, _, found, _) in enumerate(objects(), 1):
        check_number(number, most)
        if isinstance(found, dict):
            keys.update(dict.fromkeys(found) if len(keys) < KEYS_MAX else {})
            with suppress(UnknownColumn):
                columns = places(tuple(found))
                written = found.get(columns.get("published_date", ""))
                if isinstance(written, str):
                    dates.look_at(written)
                has_ids = has_ids or _own_id(found.get(columns.get("id", ""))) is not None
    if not number:
        raise UnreadableCatalogue("The file has no records.")
    return _source(form, objects(), keys, _columns(places, keys, has_ids), dates, places)


def _places(mapping: Mapping[str, str]) -> _Places:
    """Return what leads from the keys of an object to the key of each field."""

    @lru_cache(maxsize=16)  # a line may have as many keys as it has room for
    def places(keys: tuple[str, ...]) -> dict[str, str]:
        used = {name: key for name, key in mapping.items() if key in keys}
        return {name: keys[index] for name, index in find_columns(keys, used).items()}

    return places


def _columns(places: _Places, keys: Iterable[str], has_ids: bool) -> dict[str, str]:
    with suppress(UnknownColumn):  # which its records say
        columns = places(tuple(keys))
        return {name: key for name, key in columns.items() if has_ids or name != "id"}
    return {}


def _source(
    form: str,
    objects: Iterator[_Object],
    keys: Iterable[str],
    columns: Mapping[str, str],
    dates: DateOrder,
    places: _Places,
) -> Source:
    unused = [key for key in keys if key not in columns.values()]
    return Source(JSON_COLUMNS, form, _object_rows(objects, places), columns, unused, dates)


def _object_rows(objects: Iterator[_Object], places: _Places) -> Iterator[Row]:
    for line, text, found, error in objects:
        if not error and not isinstance(found, dict):
            error = "Must be a JSON object."
        try:
            columns = {} if error else places(tuple(found))
        except UnknownColumn as unknown:
            error = str(unknown)
        if error:
            yield Row(line, [text], reason=error)
            continue
        values = {name: found[key] for name, key in columns.items() if name != "id"}
        own_id = _own_id(found[columns["id"]]) if "id" in columns else None
        is_ours = own_id is not None and _OURS.issuperset(found)
        yield Row(line, [text], values, is_ours=is_ours, id=own_id)
