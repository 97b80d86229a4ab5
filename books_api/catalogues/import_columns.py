"""Which column of a catalogue is which field of a book."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from marshmallow import ValidationError

from books_api.books.models import FIELDS
from books_api.catalogues.exceptions import UnknownColumn
from books_api.catalogues.tables import load_table, without_accents

SHOWN = 300  # characters of a header in a message
NAME_MAX = 200  # characters: what is longer names no column
# Of these the first that has a good one counts.
ISBNS = ("isbn13", "isbn", "isbn10", "isbn_uid", "identifiers", "other_isbns")


def plain(name: str) -> str:
    """Return a name without case, accents, spaces and punctuation."""
    if len(name) > NAME_MAX:
        return name
    return re.sub(r"[\W_]+", "", without_accents(name.casefold()))


def _load() -> tuple[dict[str, list[str]], set[str], set[str]]:
    groups = load_table("import_columns.toml")
    reading = groups.pop("reading")
    known: dict[str, list[str]] = {}
    for group in groups.values():
        for field, names in group.items():
            known.setdefault(field, []).extend(map(plain, names))
    return known, set(map(plain, reading["names"])), set(map(plain, reading["bibliographic"]))


KNOWN_COLUMNS, _READING, _BIBLIOGRAPHIC = _load()


def parse_mapping(pairs: Iterable[str]) -> dict[str, str]:
    """Return field -> column, of FIELD=COLUMN. Raises ValidationError."""
    mapping: dict[str, str] = {}
    for pair in pairs:
        name, _, column = pair.partition("=")
        if not name or not column:
            raise ValidationError(f"{pair}: must be FIELD=COLUMN.")
        if name in mapping:
            raise ValidationError(f"{pair}: the field {name} is mapped twice.")
        if column in mapping.values():
            raise ValidationError(f"{pair}: the column {column} is mapped twice.")
        mapping[name] = column
    return mapping


def check_fields(mapping: Mapping[str, str]) -> None:
    """Raise UnknownColumn for a name that is no field of a book."""
    for name in mapping:
        if name not in FIELDS:
            raise UnknownColumn(f"A book has no field {name!r}; it has {', '.join(FIELDS)}.")


def find_columns(header: Sequence[str], mapping: Mapping[str, str]) -> dict[str, int]:
    """Return which column each field is in; `mapping` goes first. Raises UnknownColumn."""
    plain_header = [plain(name) for name in header]
    names = Counter(plain_header)
    places = {name: index for index, name in enumerate(plain_header)}
    columns: dict[str, int] = {}
    for name, known in KNOWN_COLUMNS.items():
        alias = next((alias for alias in known if alias in names), None)
        if alias is None or name in mapping or places[alias] in columns.values():
            continue
        if names[alias] > 1:
            raise UnknownColumn(
                f"Several columns are known as {name} among: {shown(header)}."
                " Say with map (--map) which one it is."
            )
        columns[name] = places[alias]
    _choose_date(columns, set(names), is_mapped="published_date" in mapping)
    primary = columns.pop("primary_author", None)
    if primary is not None:
        columns["primary_author" if "author" in columns else "author"] = primary
    if "publisher" in columns or "primaryauthor" not in names:
        columns.pop("publication", None)  # of LibraryThing a publisher; of others anything
    for name, column in mapping.items():
        if header.count(column) != 1:
            found = "are several columns" if column in header else "is no column"
            raise UnknownColumn(f"There {found} {column!r} among: {shown(header)}.")
        index = header.index(column)
        replaced = ISBNS if name == "isbn" else ()
        columns = {
            other: place
            for other, place in columns.items()
            if place != index and other not in replaced
        }
        columns[name] = index
    return columns


def _choose_date(columns: dict[str, int], names: set[str], *, is_mapped: bool) -> None:
    """Leave one column of dates: the most precise one that is about publication."""
    year, day = columns.pop("published_year", None), columns.pop("date", None)
    if day is not None and names & _READING and not names & _BIBLIOGRAPHIC:
        day = None
    if not is_mapped and "published_date" not in columns:
        best = (day, year) if names & _BIBLIOGRAPHIC else (year, day)
        chosen = next((column for column in best if column is not None), None)
        if chosen is not None:
            columns["published_date"] = chosen


def known_in(header: Sequence[str], mapping: Mapping[str, str]) -> int:
    """Return how many columns are known, of whatever field."""
    known = {alias for aliases in KNOWN_COLUMNS.values() for alias in aliases}
    return sum(name in mapping.values() or plain(name) in known for name in header)


def check_columns(columns: Mapping[str, int], header: Sequence[str]) -> None:
    """Raise UnknownColumn when the header has no title or no author."""
    missing = [name for name in ("title", "author") if name not in columns]
    names = ", ".join(FIELDS)
    if missing and any(re.fullmatch(r"[\W_]*[0-9][0-9Xx\W_]*", name) for name in header):
        raise UnknownColumn(
            f"The first line is a record and names no columns: {shown(header)}."
            f" Put a line with the names of the columns before it: {names}."
        )
    if missing:
        raise UnknownColumn(
            f"No column is known as the {' or the '.join(missing)} among: {shown(header)}."
            f" Name the columns {names}, or say with map (--map) which they are."
        )


def shown(header: Sequence[str], most: int = SHOWN) -> str:
    """Return the names in one line of a bounded length."""
    line = ", ".join(ascii(name)[1:-1] if not name.isprintable() else name for name in header)
    return line if len(line) <= most else f"{line[:most]}..."
