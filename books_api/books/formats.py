"""Catalogues as people have them: recognise encoding, format, delimiter and columns; read records.

What is recognised is said, never guessed silently. Lines are bounded, so that a file of one endless
line costs no memory.
"""

import codecs
import csv
import gzip
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import chain, islice
from typing import IO, Any, Literal, cast

import orjson

from books_api.books.records import date_form

LINE_MAX = 1024 * 1024  # characters
LOOKED_AT = 100  # records whose dates are looked at to name their form
SAMPLE = 1024 * 1024  # bytes looked at to tell what a file is
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
FIELDS = ("title", "author", "publisher", "published_date", "page_count", "language", "isbn")
GZIP_MAGIC = b"\x1f\x8b"

# Column names without case, spaces and punctuation, best first: our own, "Goodreads-books",
# exports of Goodreads, StoryGraph and LibraryThing, goodbooks-10k.
KNOWN_COLUMNS: dict[str, tuple[str, ...]] = {
    "title": ("title",),
    "author": ("author", "authors", "primaryauthor"),
    "additional_authors": ("additionalauthors", "secondaryauthor"),
    "publisher": ("publisher",),
    "published_date": (
        "publisheddate",
        "publicationdate",
        "yearpublished",
        "originalpublicationyear",
        "date",
    ),
    "page_count": ("pagecount", "numpages", "numberofpages", "pages"),
    "language": ("language", "languagecode", "languages"),
    "isbn13": ("isbn13",),
    "isbn": ("isbn", "isbnuid"),
}


class UnreadableCatalogue(Exception):
    """The file as a whole cannot be read; the text says why in one line."""


class UnknownColumn(Exception):
    """A mapping names a field or a column that there is not, or one twice."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was: where it began, its cells, and why it cannot be read, if so."""

    line: int
    cells: list[str]
    values: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None


@dataclass(slots=True)
class Catalogue:
    """A catalogue that is recognised and not yet read. `description` says what was recognised."""

    format: Literal["csv", "jsonl"]
    header: list[str]
    records: Iterator[Record]
    description: str


def open_catalogue(
    raw: IO[bytes],
    *,
    format: Literal["csv", "jsonl"] | None = None,
    mapping: Mapping[str, str] | None = None,
) -> Catalogue:
    """Recognise a seekable binary file.

    `mapping` leads from fields of a book to columns of the file, besides those known by name.
    Raises UnreadableCatalogue and UnknownColumn.
    """
    if raw.read(2) == GZIP_MAGIC:
        raw.seek(0)
        raw = cast(IO[bytes], gzip.open(raw))  # noqa: SIM115  # lives as long as its file
    raw.seek(0)
    encoding = _encoding(raw)
    text = TextIOWrapper(raw, encoding=encoding, newline="")
    lines = _lines(text)
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise UnreadableCatalogue("The file is empty.")
    text.seek(0)
    if format is None:
        format = "jsonl" if first.lstrip("\ufeff \t").startswith("{") else "csv"
    if format == "jsonl":
        described = f"JSON Lines, {encoding}"
        return _described(
            Catalogue("jsonl", ["record"], _read_jsonl(text, mapping or {}), described)
        )
    return _open_csv(text, first, encoding, mapping or {})


def _encoding(raw: IO[bytes]) -> str:
    try:
        start = raw.read(SAMPLE)
        for bom, encoding in (
            (codecs.BOM_UTF8, "utf-8-sig"),
            (codecs.BOM_UTF16_LE, "utf-16"),
            (codecs.BOM_UTF16_BE, "utf-16"),
        ):
            if start.startswith(bom):
                return encoding
        if b"\0" in start:
            raise UnreadableCatalogue("The file is binary, neither CSV nor JSON Lines.")
        for encoding in ("utf-8", "cp1252"):
            if _decodes(raw, encoding):
                return encoding
    except (OSError, EOFError) as error:  # gzip's errors are of these
        raise UnreadableCatalogue(f"The file cannot be read: {error}.") from None
    finally:
        raw.seek(0)
    raise UnreadableCatalogue("The file is neither UTF-8, UTF-16 nor Windows-1252.")


def _decodes(raw: IO[bytes], encoding: str) -> bool:
    # All of it: a letter that tells the two apart may stand on the last line.
    decoder = codecs.getincrementaldecoder(encoding)()
    raw.seek(0)
    try:
        while chunk := raw.read(SAMPLE):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _lines(text: TextIOWrapper) -> Iterator[str]:
    number = 0
    try:
        while line := text.readline(LINE_MAX + 1):
            number += 1
            if len(line) > LINE_MAX:
                raise UnreadableCatalogue(f"Line {number} is longer than {LINE_MAX:,} characters.")
            yield line
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UnreadableCatalogue(
            f"The file cannot be read behind line {number}: {error}."
        ) from None


def _open_csv(
    text: TextIOWrapper, first: str, encoding: str, mapping: Mapping[str, str]
) -> Catalogue:
    def known(delimiter: str) -> int:
        header = next(csv.reader([first], delimiter=delimiter))
        return len(_columns(header, {})) * 100 + len(header)

    delimiter = max(DELIMITERS, key=known)
    lines = _lines(text)
    reader = csv.reader(lines, delimiter=delimiter)
    header = next(row for row in reader if row)
    columns = _columns(header, mapping)
    missing = [name for name in ("title", "author") if name not in columns]
    if missing:
        raise UnknownColumn(
            f"No column is known as the {' or the '.join(missing)} among: {', '.join(header)}."
            " Name it with a mapping such as title=Titel."
        )
    used = ", ".join(f"{name} from {header[index]!r}" for name, index in columns.items())
    description = f"CSV, {DELIMITERS[delimiter]}, {encoding}; {used}"
    return _described(Catalogue("csv", header, _read_csv(reader, header, columns), description))


def _described(catalogue: Catalogue) -> Catalogue:
    """Add to the description in which forms the first dates are."""
    first = list(islice(catalogue.records, LOOKED_AT))
    forms = {date_form(record.values.get("published_date", "")) for record in first} - {None}
    if forms:
        catalogue.description += f"; dates as {' or '.join(sorted(map(str, forms)))}"
    catalogue.records = chain(first, catalogue.records)
    return catalogue


def _columns(header: list[str], mapping: Mapping[str, str]) -> dict[str, int]:
    """Return which column of the header each field is in."""
    names = [_plain(name) for name in header]
    columns: dict[str, int] = {}
    for name, known in KNOWN_COLUMNS.items():
        index = next((names.index(alias) for alias in known if alias in names), None)
        if index is not None:
            columns[name] = index
    for name, column in mapping.items():
        if name not in FIELDS:
            raise UnknownColumn(f"A book has no field {name!r}; it has {', '.join(FIELDS)}.")
        if header.count(column) != 1:
            found = "several columns" if column in header else "no column"
            raise UnknownColumn(f"There is {found} {column!r} among: {', '.join(header)}.")
        if name == "isbn":
            columns.pop("isbn13", None)
        columns[name] = header.index(column)
    return columns


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _read_csv(reader: Any, header: list[str], columns: Mapping[str, int]) -> Iterator[Record]:
    width = len(header)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(line, [], reason=f"Is not CSV: {error}.")
            continue
        if not row:
            continue
        if len(row) != width:
            yield Record(line, row, reason=f"Has {len(row)} columns in place of {width}.")
            continue
        yield Record(line, row, {name: row[index] for name, index in columns.items()})


def _read_jsonl(text: TextIOWrapper, mapping: Mapping[str, str]) -> Iterator[Record]:
    for name in mapping:
        if name not in FIELDS:
            raise UnknownColumn(f"A book has no field {name!r}; it has {', '.join(FIELDS)}.")
    for number, line in enumerate(_lines(text), 1):
        stripped = line.strip("\ufeff \t\r\n")
        if not stripped:
            continue
        try:
            found = orjson.loads(stripped)
        except orjson.JSONDecodeError as error:
            yield Record(number, [stripped], reason=f"Is not JSON: {error}.")
            continue
        if not isinstance(found, dict):
            yield Record(number, [stripped], reason="Is not a JSON object.")
            continue
        keys = list(found)
        used = {name: column for name, column in mapping.items() if column in found}
        columns = _columns(keys, used)
        yield Record(number, [stripped], {name: found[keys[i]] for name, i in columns.items()})
