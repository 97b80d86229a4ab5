"""From a record as people have it to a book, by the API's own rule and in its words."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

from marshmallow import ValidationError

from books_api.books.schemas import PARTIAL_DATE, BookInputSchema, parse_isbn
from books_api.fields import SPACES

SCIENTIFIC = re.compile(r"[0-9.,]+[eE]\+?[0-9]+")
WRAPPED = re.compile(r'="?([^"]*)"?')  # a spreadsheet's way to say that a number is text
# The repairs, in the words of the summary and of --help.
TRIMMED = "text trimmed"
NO_PAGES = "page count 0 taken as unknown"
OTHER_ISBN = "bad isbn13 or isbn left out beside a good one"
ZEROS = "leading zeros of an isbn restored"
REPAIRS = (TRIMMED, NO_PAGES, OTHER_ISBN, ZEROS)
AMERICAN = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")
YEAR = re.compile(r"(-?)([0-9]{1,4})(\.0)?")

_schema = BookInputSchema()


def to_book(values: Mapping[str, Any], repairs: Counter[str]) -> dict[str, Any]:
    """Return the validated book of a record. Counts repairs; raises ValidationError."""
    book: dict[str, Any] = {}
    made: Counter[str] = Counter()
    for name in ("title", "author", "publisher", "language"):
        if name in values:
            book[name] = _text(values[name], made)
    additional = _text(values.get("additional_authors"), made)
    if additional and isinstance(book.get("author"), str):
        book["author"] = f"{book['author']}, {additional}"
    if "published_date" in values:
        book["published_date"] = _date(_text(values["published_date"], made))
    if "page_count" in values:
        book["page_count"] = _page_count(values["page_count"], made)
    book["isbn"] = _isbn(values, made)
    loaded: dict[str, Any] = _schema.load(
        {name: value for name, value in book.items() if value is not None}
    )
    repairs.update(made)
    return loaded


def _text(value: Any, made: Counter[str]) -> Any:
    if not isinstance(value, str):
        return value
    trimmed = value.strip(SPACES)
    if trimmed != value:
        made[TRIMMED] += 1
    return trimmed or None


def date_form(value: Any) -> str | None:
    """Name the form of a date; None for one that is empty or of no known form."""
    text = str(value).strip(SPACES)
    if YEAR.fullmatch(text):
        return "a bare year"
    if AMERICAN.fullmatch(text):
        return "M/D/YYYY"
    return "ISO 8601" if re.fullmatch(PARTIAL_DATE, text) else None


def _date(value: Any) -> Any:
    if type(value) is int or isinstance(value, float):
        value = str(value)
    if not isinstance(value, str):
        return value
    if year := YEAR.fullmatch(value):
        if year[1]:
            raise ValidationError(f"The year {value} is BC; years are 1 to 9999.", "published_date")
        return year[2].zfill(4)
    if american := AMERICAN.fullmatch(value):
        month, day, whole_year = (int(part) for part in american.groups())
        try:
            value = date(whole_year, month, day).isoformat()
        except ValueError:
            raise ValidationError(
                f"{value} (month/day/year) is not a date that exists.", "published_date"
            ) from None
    return value


def _page_count(value: Any, made: Counter[str]) -> Any:
    if isinstance(value, str):
        value = _text(value, made)
        if value is not None and re.fullmatch("[0-9]{1,9}", value):
            value = int(value)
    if value == 0 and value is not False:
        made[NO_PAGES] += 1
        return None
    return value


def _isbn(values: Mapping[str, Any], made: Counter[str]) -> str | None:
    """Return the isbn13 if it is good, else the isbn; raise what the first of them lacks."""
    failure: ValidationError | None = None
    for name in ("isbn13", "isbn"):
        value = _unwrap(values.get(name), made)
        if value is None:
            continue
        try:
            isbn = _parse(value, made)
        except ValidationError as error:
            failure = failure or ValidationError(error.messages, "isbn")
            continue
        if failure is not None or (name == "isbn13" and _is_bad(values.get("isbn"))):
            made[OTHER_ISBN] += 1
        return isbn
    if failure is not None:
        raise failure
    return None


def _parse(value: str, made: Counter[str]) -> str:
    if SCIENTIFIC.fullmatch(value):
        raise ValidationError(f"{value} has lost digits; it is not an ISBN any more.")
    if re.fullmatch("[0-9]{7,8}[0-9Xx]", value):  # a spreadsheet took it for a number
        isbn = parse_isbn(value.zfill(10))
        made[ZEROS] += 1
        return isbn
    return parse_isbn(value)


def _is_bad(value: Any) -> bool:
    unwrapped = _unwrap(value, Counter())
    if unwrapped is None:
        return False
    try:
        _parse(unwrapped, Counter())
    except ValidationError:
        return True
    return False


def _unwrap(value: Any, made: Counter[str]) -> str | None:
    if value is None:
        return None
    text = _text(str(value), made)
    if text is None:
        return None
    if wrapped := WRAPPED.fullmatch(text):
        text = wrapped[1]
    return text.strip("[]") or None  # LibraryThing's brackets
