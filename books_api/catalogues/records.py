"""A record of a file on its way to a book, and what is said that was repaired in it or left out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from books_api.catalogues.exceptions import UnreadableCatalogue

# Other programs have a column `id`, too: what is of another form is no id of ours.
ID = re.compile(r"\s*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s*", re.IGNORECASE)


def check_number(records: int, most: int) -> None:
    """Raise UnreadableCatalogue for a file of more records than are read at once."""
    if records > most:
        raise UnreadableCatalogue(f"More than {most:,} records; send them in several requests.")


class Note(NamedTuple):
    """A repair of a record: the kind is counted, the text is said when there is more to say."""

    kind: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What stands in a record, by the names of import_columns.toml; as we wrote it if `is_ours`."""

    line: int
    cells: list[str]
    values: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    is_ours: bool = False
    id: str | None = None
    notes: Sequence[Note] = ()


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
    notes: list[Note] = field(default_factory=list)


# In the words of the summary and of --help.
TRIMMED = Note("text trimmed")
NO_PAGES = Note("page count 0 taken as unknown")
OTHER_ISBN = Note("bad isbn13 or isbn left out beside a good one")
ZEROS = Note("leading zeros of an isbn restored")
NO_ISBN = Note("identifier in ISBN/UID left out, not an ISBN")
QUOTES = Note("line with unbalanced quotes read literally")
NOTHING = Note("N/A, nan or similar taken as unknown")
MARKUP = Note("HTML entities or tags read as text")
REDUCED = Note("only the year of a date kept")
SEASON = Note(REDUCED.kind, "published_date: only the year of a season kept")
LEFT_OUT = "{} that cannot be read left out"
REPAIRS = [
    *(note.kind for note in (TRIMMED, NO_PAGES, OTHER_ISBN, ZEROS, NO_ISBN, QUOTES, NOTHING)),
    *(note.kind for note in (MARKUP, REDUCED)),
    LEFT_OUT.format("field"),
]


DATE_KEPT = Note(
    LEFT_OUT.format("published_date"),
    "published_date left out: day and month cannot be told apart; the book keeps its date",
)


def left_out(name: str, reason: str) -> Note:
    """Return the note on a cell that is not in the book."""
    return Note(LEFT_OUT.format(name), f"{name}: {reason}")
