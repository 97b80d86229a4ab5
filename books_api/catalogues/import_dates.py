"""Dates as people write them in files, to the forms of the API (books/schemas.py), without a guess.

No library does this: dateutil and dateparser fill in what is missing and choose an order.
"""

import re
from collections import Counter
from datetime import date
from functools import lru_cache
from typing import Literal, NamedTuple
from unicodedata import normalize

from books_api.catalogues.records import REDUCED, SEASON, Note
from books_api.catalogues.tables import WORDS, without_accents

LONGEST = 80  # characters of a cell
Order = Literal["D/M/YYYY", "M/D/YYYY"]

_ISO = re.compile("[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?")
_NUMERIC = re.compile(r"([0-9]{1,2})[/. -]+([0-9]{1,2})[/. -]+([0-9]{4})(?![0-9])")
_TIME = re.compile(r"(?<=[0-9])(?:T|\s+)[0-9]{1,2}:[0-9]{2}.*")
_YEAR_FIRST = re.compile(
    r"([0-9]{4})\s?[-/.年년]\s?([0-9]{1,2})(?:\s?[-/.月월]\s?([0-9]{1,2}))?[월月日일]?"
)
_YEAR_LAST = re.compile("([0-9]{1,2})[-/.]([0-9]{4})")
_COMPACT = re.compile("((?:1[5-9]|20)[0-9]{2})([0-9]{2})([0-9]{2})")
_YEAR = re.compile("([0-9]{3,4})(?:[.,]0)?|([0-9]{1,2})[.,]0|([0-9]{4})[年년]")
_ABOUT = re.compile(
    r"[(\[<]*(?:c|©|p|℗|copyright|cop|ca|circa|um|vers|hacia|около)?\.?\s*([0-9]{4})\??[)\]>]*\.?"
)
_WORDS = re.compile(r"[^\W\d_]+|[0-9]+|\S")
_MONTH_OF = {
    name: month for month, names in enumerate(WORDS["months"], 1) for name in names.split()
}
_SEASONS = set(WORDS["seasons"].split())
_FILLERS = set(WORDS["date_fillers"].split())


class Partial(NamedTuple):
    """A date as precise as it is known, and a note when less of it was taken than is written."""

    text: str
    note: Note | None = None


class DateOrder:
    """The order of day and month in a column, by the cells that tell it."""

    def __init__(self) -> None:
        self._votes: Counter[Order] = Counter()
        self.is_asked = False  # any cell has numbers of which one is a day

    def look_at(self, cell: str) -> None:
        if numeric := _NUMERIC.match(_prepared(cell[:LONGEST])):
            self.is_asked = True
            first, second = int(numeric[1]), int(numeric[2])
            if first <= 12 < second <= 31:
                self._votes["M/D/YYYY"] += 1
            elif second <= 12 < first <= 31:
                self._votes["D/M/YYYY"] += 1

    def __str__(self) -> str:
        if order := self.decided:
            return f"dates as {order}"
        unknown = "only the years of dates, since the order of day and month is unknown"
        return unknown if self.is_asked else ""

    @property
    def decided(self) -> Order | None:
        """The order that most of them show; None when none does, or as many show the other."""
        votes = self._votes.most_common()
        return votes[0][0] if votes and (len(votes) == 1 or votes[0][1] > votes[1][1]) else None


@lru_cache(maxsize=10_000)
def parse_date(cell: str, order: Order | None) -> Partial:
    """Return a cell's date, or its year where the order is not known. Raises ValueError."""
    if len(cell) > LONGEST:
        raise _unreadable(cell)
    if _ISO.fullmatch(cell) and (found := _existing(cell, *map(int, cell.split("-")))).text == cell:
        return found
    text = _prepared(cell)
    if numeric := _NUMERIC.fullmatch(text):
        return _parse_numeric(cell, numeric, order)
    if parts := _YEAR_FIRST.fullmatch(text) or _COMPACT.fullmatch(text):
        return _existing(cell, *(int(part or 0) for part in parts.groups()))
    if parts := _YEAR_LAST.fullmatch(text):
        return _existing(cell, int(parts[2]), int(parts[1]))
    if parts := _YEAR.fullmatch(text):
        return _existing(cell, int(parts[parts.lastindex or 0]))
    folded = without_accents(text.casefold())
    if parts := _ABOUT.fullmatch(folded):
        return _existing(cell, int(parts[1]))
    return _parse_words(cell, _WORDS.findall(folded))


def _prepared(cell: str) -> str:
    return _TIME.sub("", normalize("NFKC", cell).strip(" .,;"))


def _parse_numeric(cell: str, numeric: re.Match[str], order: Order | None) -> Partial:
    first, second, year = map(int, numeric.groups())
    if order is None and first <= 12 and second <= 12 and first != second:
        return _existing(cell, year)._replace(note=REDUCED)
    month_first = second > 12 if order is None else order == "M/D/YYYY"
    month, day = (first, second) if month_first else (second, first)
    if month > 12 >= day:
        raise ValueError(f"{cell!r} is not in the order of the column, {order}.")
    return _existing(cell, year, month, day)


def _parse_words(cell: str, words: list[str]) -> Partial:
    years = [int(word) for word in words if word.isdecimal() and len(word) == 4]
    days = [int(word) for word in words if word.isdecimal() and len(word) <= 2]
    months = [_MONTH_OF[word] for word in words if word in _MONTH_OF]
    seasons = [word for word in words if word in _SEASONS]
    known = len(years) + len(days) + len(months) + len(seasons)
    if known + sum(word in _FILLERS or bool(months and word in "-/") for word in words) < len(
        words
    ):
        raise _unreadable(cell)
    match len(years), len(months), len(days), len(seasons):
        case (1, 1, 0 | 1, 0):
            return _existing(cell, years[0], months[0], *days)
        case (1, 0, 0, count):
            return _existing(cell, years[0])._replace(note=SEASON if count else None)
    raise _unreadable(cell)


def _existing(cell: str, year: int, month: int = 0, day: int = 0) -> Partial:
    """Return the date; a month or day 0 means that it is unknown."""
    try:
        text = date(year, month or 1, day or 1).isoformat()
    except ValueError:
        raise ValueError(f"{cell[:40]!r} is not a date that exists.") from None
    if day and not month:
        raise _unreadable(cell)
    return Partial(text if day else text[:7] if month else text[:4])


def _unreadable(cell: str) -> ValueError:
    return ValueError(f"{cell[:40]!r} is not a date; write YYYY, YYYY-MM or YYYY-MM-DD.")
