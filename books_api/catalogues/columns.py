"""Which column of a catalogue is which field of a book."""

import re
from collections.abc import Mapping, Sequence

from books_api.books.models import FIELDS
from books_api.catalogues.exceptions import UnknownColumn

SHOWN = 300  # characters of a header in a message

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
    "isbn": ("isbn",),
    "isbn_uid": ("isbnuid",),  # StoryGraph: an ISBN, or an identifier of its own
}
ISBNS = ("isbn13", "isbn", "isbn_uid")


def check_fields(mapping: Mapping[str, str]) -> None:
    """Raise UnknownColumn for a name that is no field of a book."""
    for name in mapping:
        if name not in FIELDS:
            raise UnknownColumn(f"A book has no field {name!r}; it has {', '.join(FIELDS)}.")


def find_columns(header: Sequence[str], mapping: Mapping[str, str]) -> dict[str, int]:
    """Return which column of the header each field is in.

    `mapping` goes before what is known by name. Raises UnknownColumn.
    """
    names = [_plain(name) for name in header]
    columns: dict[str, int] = {}
    for name, known in KNOWN_COLUMNS.items():
        alias = next((alias for alias in known if alias in names), None)
        if alias is None or name in mapping:
            continue
        if names.count(alias) > 1:
            raise UnknownColumn(f"Several columns are known as {name} among: {shown(header)}.")
        columns[name] = names.index(alias)
    for name, column in mapping.items():
        if header.count(column) != 1:
            found = "several columns" if column in header else "no column"
            raise UnknownColumn(f"There is {found} {column!r} among: {shown(header)}.")
        index = header.index(column)
        replaced = ISBNS if name == "isbn" else ()
        columns = {
            other: place
            for other, place in columns.items()
            if place != index and other not in replaced
        }
        columns[name] = index
    return columns


def shown(header: Sequence[str]) -> str:
    """Return the names in one line of a bounded length."""
    line = ", ".join(ascii(name)[1:-1] if not name.isprintable() else name for name in header)
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
