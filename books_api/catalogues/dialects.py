"""The dialect of a CSV file, by all of its lines, and its rows."""

import csv
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from books_api.catalogues.encodings import LINE_MAX
from books_api.catalogues.exceptions import UnreadableCatalogue
from books_api.catalogues.import_columns import known_in
from books_api.catalogues.import_dates import DateOrder
from books_api.catalogues.records import ID, check_number

HOPELESS = 10_000  # rows, none of which fits: the file is given up
REREAD_MAX = 4 * LINE_MAX  # characters read again behind quotes that do not match
LINE_COST = 64  # characters that take as long as a line by itself
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_ESCAPED = re.compile(r"""\\(["'\\])""")
_QUOTE = "\ufdd0"  # an escaped quote while its line is read: no character, so in no text
_UNDOUBLED = re.compile(r'"="([0-9Xx-]*)""')  # Excel's ="..." in quotes, its own not doubled

_SPACED = re.compile(r'\s+".*"\s*$', re.DOTALL)
Lines = Callable[[], Iterator[str]]
Columns = Callable[[Sequence[str]], Mapping[str, int]]  # of a header


@dataclass(frozen=True, slots=True)
class Dialect:
    """RFC 4180 with a delimiter, and where a file departs from it."""

    delimiter: str
    has_escapes: bool = False  # a backslash stands before a quote in a cell
    has_spaces: bool = False  # between a quote and a delimiter
    has_literal_quotes: bool = False  # quotes are text, also where a cell begins with one

    def __str__(self) -> str:
        parts = (
            DELIMITERS[self.delimiter],
            "quotes behind backslashes" * self.has_escapes,
            "spaces beside quotes" * self.has_spaces,
            "quotes as text" * self.has_literal_quotes,
        )
        return ", ".join(filter(None, parts))


@dataclass(slots=True)
class Survey:
    """What all rows of a file show in a dialect."""

    dialect: Dialect
    header: list[str] = field(default_factory=list)
    dates: DateOrder = field(default_factory=DateOrder)
    rows: int = 0  # behind the header
    has_ids: bool = False  # of our books
    misfits: int = 0  # cannot be read, or have more or fewer cells than the header
    marks: Counter[str] = field(default_factory=Counter)


def find_delimiter(header: str, mapping: Mapping[str, str]) -> str:
    """Return the delimiter by which the most columns are known, or else there are the most."""

    def known(delimiter: str) -> tuple[int, int]:
        names = next(csv.reader([header], delimiter=delimiter))
        return known_in(names, mapping), len(names)

    return max(DELIMITERS, key=known)


def survey_file(lines: Lines, delimiter: str, columns: Columns, most: int) -> Survey:
    """Return the survey of the dialect that the most rows fit. Raises UnreadableCatalogue."""
    plain = _survey(lines, Dialect(delimiter), columns, most)
    surveys = [plain]
    if plain.marks["spaces"]:  # plainly read they fit as well, with the quotes as text
        surveys.insert(
            0 if plain.marks["spaced"] else 1,
            _survey(lines, Dialect(delimiter, has_spaces=True), columns, most),
        )
    if plain.marks["escapes"] and plain.misfits:
        surveys += [
            _survey(lines, replace(survey.dialect, has_escapes=True), columns, most)
            for survey in tuple(surveys)
        ]
    best = min(surveys, key=lambda survey: survey.misfits)
    if best.rows == best.misfits == HOPELESS:
        width = len(best.header)
        raise UnreadableCatalogue(f"None of the first {HOPELESS:,} rows has {width} columns.")
    if best.marks["literal"] + best.marks["broken"] > best.marks["quoted"]:
        best.dialect = replace(best.dialect, has_literal_quotes=True)
    return best


def _survey(lines: Lines, dialect: Dialect, columns: Columns, most: int) -> Survey:
    survey = Survey(dialect)
    date = book_id = None
    for _, row, error in read_rows(_marked(lines(), survey), dialect):
        if not survey.header and row:
            if error:
                raise UnreadableCatalogue(f"The header {error[0].lower()}{error[1:]}")
            survey.header = row
            places = columns(row)
            date, book_id = places.get("published_date"), places.get("id")
        elif row:
            survey.rows += 1
            check_number(survey.rows, most)
            survey.marks["broken"] += error is not None
            if error or len(row) != len(survey.header):
                survey.misfits += 1
                if survey.rows == survey.misfits == HOPELESS:
                    return survey
                continue
            if date is not None:
                survey.dates.look_at(row[date])
            if book_id is not None and ID.fullmatch(row[book_id]):
                survey.has_ids = True
            if survey.marks["spaces"] and any(map(_SPACED.match, row)):
                survey.marks["spaced"] += 1
    return survey


def _marked(lines: Iterator[str], survey: Survey) -> Iterator[str]:
    """Yield the lines and count those whose quotes tell something about the dialect."""
    delimiter = re.escape(survey.dialect.delimiter)
    marks = {
        "escapes": re.compile(r'\\"'),
        "spaces": re.compile(rf'(?:^|{delimiter})[ ]+"|"[ ]+(?:{delimiter}|\r?\n?$)'),
        "quoted": re.compile(rf'(?:^|{delimiter})\s*"[^"]*"\s*(?:{delimiter}|$)'),
        "literal": re.compile(rf'[^{delimiter}"\s]"[^{delimiter}"\s]|\w "\w|\w" \w'),
    }
    for line in lines:
        if '"' in line:
            for name, mark in marks.items():
                if mark.search(line):
                    survey.marks[name] += 1
        yield line


def read_rows(
    lines: Iterator[str], dialect: Dialect
) -> Iterator[tuple[int, list[str], str | None]]:
    """Yield where a row begins, its cells, and why they cannot be read, if so.

    Quotes that do not match cost the line where they begin, and not those behind it.
    """
    number, reread = 1, 0
    again: deque[str] = deque()
    taken: list[str] = []
    unspaced = _unspaced(dialect)

    def take() -> Iterator[str]:
        size = 0
        while line := again.popleft() if again else next(lines, ""):
            size = size + len(line) if taken else len(line)
            taken.append(line)
            if size > LINE_MAX:
                raise csv.Error(f"longer than {LINE_MAX:,} characters")
            if dialect.has_escapes:
                line = _ESCAPED.sub(lambda found: _QUOTE if found[1] == '"' else found[1], line)
            yield unspaced(line) if dialect.has_spaces else line

    while True:
        try:
            for row in csv.reader(
                take(),
                delimiter=dialect.delimiter,
                strict=True,
                skipinitialspace=dialect.has_spaces,
            ):
                if dialect.has_escapes:
                    row = [cell.replace(_QUOTE, '"') for cell in row]
                yield number, row, None
                number += len(taken)
                taken.clear()
            return
        except csv.Error as error:
            first, *rest = taken
            taken.clear()
            reread += sum(map(len, rest)) + LINE_COST * len(rest)
            if reread > REREAD_MAX:
                raise UnreadableCatalogue(
                    f"The quotes before line {number + 1} do not match."
                ) from None
            again.extendleft(reversed(rest))
            doubled = _UNDOUBLED.sub(r'"\1"', first)
            if doubled != first:
                again.appendleft(doubled)
                continue
            yield number, [first.rstrip("\r\n")], f"Is not CSV: {error}."
            number += 1


def read_literally(line: str, dialect: Dialect) -> list[str] | None:
    """Return the cells of a line whose quotes are text; None when some of them are unmatched."""
    cells = line.split(dialect.delimiter)
    unmatched = any(cell.startswith('"') and cell.count('"') % 2 for cell in cells)
    return None if unmatched or not dialect.has_literal_quotes else cells


def _unspaced(dialect: Dialect) -> Callable[[str], str]:
    """Return what removes the spaces behind quoted cells."""
    delimiter = re.escape(dialect.delimiter)
    quoted = re.compile(rf'((?:^|{delimiter})[ ]*"(?:[^"]|"")*")[ ]*(?={delimiter}|\r?\n?$)')
    return lambda line: quoted.sub(r"\1", line)
