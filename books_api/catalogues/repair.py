"""From a record as people have it to a book, by the API's own rule and in its words."""

import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from marshmallow import ValidationError, missing

from books_api.books.schemas import PARTIAL_DATE, BookInputSchema
from books_api.catalogues.columns import ISBNS
from books_api.web.fields import SPACES

SCIENTIFIC = re.compile(r"[0-9.,]+[eE]\+?[0-9]+")
WRAPPED = re.compile(r'="?([^"]*)"?')  # a spreadsheet's way to say that a number is text
SHORT = re.compile("[0-9]{6,8}[0-9Xx]")  # an ISBN that a spreadsheet took for a number
LIKE_ISBN = re.compile(r"[0-9Xx\s\u2010-\u2015\u2212-]{7,}")


class Note(NamedTuple):
    """What was left out of a record or repaired in it: `kind` is counted."""

    kind: str
    text: str = ""  # what is said of this record; the kind says all when it is empty


# The repairs, in the words of the summary and of --help.
TRIMMED = Note("text trimmed")
NO_PAGES = Note("page count 0 taken as unknown")
OTHER_ISBN = Note("bad isbn13 or isbn left out beside a good one")
ZEROS = Note("leading zeros of an isbn restored")
NO_ISBN = Note("identifier that is no isbn left out of ISBN/UID")
QUOTES = Note("line taken as it is, for its quotes are not those of CSV")
LEFT_OUT = {
    name: f"{name} that cannot be read left out"
    for name, field in BookInputSchema().fields.items()
    if not field.required
}
REPAIRS = [
    *(note.kind for note in (TRIMMED, NO_PAGES, OTHER_ISBN, ZEROS, NO_ISBN, QUOTES)),
    *LEFT_OUT.values(),
]
AMERICAN = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")
YEAR = re.compile(r"(-?)([0-9]{1,4})(\.0)?")
COUNT = re.compile(r"([0-9]{1,9})(\.0)?")

_fields = BookInputSchema().fields
_required = [name for name, field in _fields.items() if field.required]
_repeated = {"publisher", "published_date", "page_count", "language"}


def read_book(
    values: Mapping[str, Any], *, strict: bool = False, typed: bool = False
) -> tuple[dict[str, Any], list[Note]]:
    """Return the validated book of a record, and what was left out or repaired.

    A cell that cannot be read is left out, but for title and author, and unless `strict`: then
    ValidationError is raised.
    """
    book: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    notes: list[Note] = []
    given = {name: _trimmed(value, notes) for name, value in values.items()}
    if not typed:
        given = {
            name: value or (value if name in _required else None) for name, value in given.items()
        }
    additional = given.get("additional_authors")
    if isinstance(additional, str) and isinstance(given.get("author"), str):
        given["author"] = ", ".join([given["author"], *filter(None, additional.split("|"))])
    for name, field in _fields.items():
        try:
            if name == "isbn":
                value = _isbn(given, notes)
            else:
                value = given.get(name, missing)
                if name == "published_date":
                    value = _date(value)
                elif name == "page_count":
                    value = _page_count(value, notes, typed)
                if name in _repeated and isinstance(value, str | int):
                    value = _loaded(name, value)
                else:
                    value = field.deserialize(value)
            if value is not missing:
                book[name] = value
        except ValidationError as error:
            errors[name] = list(error.messages)
    if errors and (strict or not errors.keys().isdisjoint(_required)):
        raise ValidationError(errors)
    notes += (Note(LEFT_OUT[name], f"{name}: {' '.join(texts)}") for name, texts in errors.items())
    return book, notes


@lru_cache(maxsize=10_000, typed=True)
def _loaded(name: str, value: str | int) -> Any:
    return _fields[name].deserialize(value)


def _trimmed(value: Any, notes: list[Note]) -> Any:
    if not isinstance(value, str):
        return value
    trimmed = value.strip(SPACES)
    if trimmed != value:
        notes.append(TRIMMED)
    return trimmed


def date_form(value: Any) -> str | None:
    """Name the form of a date; None for one that is empty or of no known form."""
    text = str(value).strip(SPACES)
    if YEAR.fullmatch(text):
        return "a bare year"
    if AMERICAN.fullmatch(text):
        return "M/D/YYYY"
    return "ISO 8601" if re.fullmatch(PARTIAL_DATE, text) else None


def _date(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if year := YEAR.fullmatch(value):
        if year[1]:
            raise ValidationError(f"The year {value} is BC; years are 1 to 9999.")
        return year[2].zfill(4)
    if american := AMERICAN.fullmatch(value):
        month, day, whole_year = (int(part) for part in american.groups())
        try:
            return date(whole_year, month, day).isoformat()
        except ValueError:
            raise ValidationError(f"{value} (month/day/year) is not a date that exists.") from None
    return value


def _page_count(value: Any, notes: list[Note], typed: bool) -> Any:
    if not typed and isinstance(value, str) and (digits := COUNT.fullmatch(value)):
        value = int(digits[1])
    if value == 0 and value is not False:
        notes.append(NO_PAGES)
        return None
    return value


def _isbn(given: Mapping[str, Any], notes: list[Note]) -> Any:
    """Return the first that is good; when none is, raise what the first of them lacks."""
    good, failure = missing, None
    for name in ISBNS:
        value = _unwrapped(given.get(name, missing))
        if value is missing:
            continue
        if name == "isbn_uid" and isinstance(value, str) and not LIKE_ISBN.fullmatch(value):
            notes.append(NO_ISBN)
            continue
        try:
            if good in (missing, None):
                good = _parsed(value, notes)
            else:
                _parsed(value, [])
        except ValidationError as error:
            failure = failure or error
    if failure is not None:
        if good in (missing, None):
            raise failure
        notes.append(OTHER_ISBN)
    return good


def _parsed(value: Any, notes: list[Note]) -> Any:
    if isinstance(value, str):
        if SCIENTIFIC.fullmatch(value):
            raise ValidationError(f"{value} has lost digits; it is not an ISBN any more.")
        if SHORT.fullmatch(value):
            isbn = _fields["isbn"].deserialize(value.zfill(10))
            notes.append(ZEROS)
            return isbn
    return _fields["isbn"].deserialize(value)


def _unwrapped(value: Any) -> Any:
    """Return the value without `="..."`, and without LibraryThing's brackets."""
    if not isinstance(value, str) or value[:1] not in ("=", "["):
        return value
    if wrapped := WRAPPED.fullmatch(value):
        value = wrapped[1]
    return value.strip("[]") or missing
