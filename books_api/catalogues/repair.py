"""From a record as people have it to a book, by the API's own rule and in its words."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any

from marshmallow import ValidationError, missing

from books_api.books.schemas import PARTIAL_DATE, BookInputSchema
from books_api.catalogues.columns import ISBNS
from books_api.web.fields import SPACES

SCIENTIFIC = re.compile(r"[0-9.,]+[eE]\+?[0-9]+")
WRAPPED = re.compile(r'="?([^"]*)"?')  # a spreadsheet's way to say that a number is text
SHORT = re.compile("[0-9]{6,8}[0-9Xx]")  # an ISBN that a spreadsheet took for a number
LIKE_ISBN = re.compile(r"[0-9Xx\s\u2010-\u2015\u2212-]{7,}")
# The repairs, in the words of the summary and of --help.
TRIMMED = "text trimmed"
NO_PAGES = "page count 0 taken as unknown"
OTHER_ISBN = "bad isbn13 or isbn left out beside a good one"
ZEROS = "leading zeros of an isbn restored"
NO_ISBN = "identifier that is no isbn left out of ISBN/UID"
QUOTES = "line taken as it is, for its quotes are not those of CSV"
REPAIRS = (TRIMMED, NO_PAGES, OTHER_ISBN, ZEROS, NO_ISBN, QUOTES)
AMERICAN = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")
YEAR = re.compile(r"(-?)([0-9]{1,4})(\.0)?")
COUNT = re.compile(r"([0-9]{1,9})(\.0)?")

_fields = BookInputSchema().fields
_required = [name for name, field in _fields.items() if field.required]
_repeated = {"publisher", "published_date", "page_count", "language"}


def to_book(
    values: Mapping[str, Any], repairs: Counter[str], *, typed: bool = False
) -> dict[str, Any]:
    """Return the validated book of a record. Counts repairs; raises ValidationError."""
    book: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    made: list[str] = []
    given = {name: _trimmed(value, made) for name, value in values.items()}
    if not typed:
        given = {name: value for name, value in given.items() if value or name in _required}
    additional = given.get("additional_authors")
    if isinstance(additional, str) and isinstance(given.get("author"), str):
        given["author"] = ", ".join([given["author"], *filter(None, additional.split("|"))])
    for name, field in _fields.items():
        try:
            if name == "isbn":
                value = _isbn(given, made)
            else:
                value = given.get(name, missing)
                if name == "published_date":
                    value = _date(value)
                elif name == "page_count":
                    value = _page_count(value, made, typed)
                if name in _repeated and isinstance(value, str | int):
                    value = _loaded(name, value)
                else:
                    value = field.deserialize(value)
            if value is not missing:
                book[name] = value
        except ValidationError as error:
            errors[name] = list(error.messages)
    if errors:
        raise ValidationError(errors)
    repairs.update(made)
    return book


@lru_cache(maxsize=10_000, typed=True)
def _loaded(name: str, value: str | int) -> Any:
    return _fields[name].deserialize(value)


def _trimmed(value: Any, made: list[str]) -> Any:
    if not isinstance(value, str):
        return value
    trimmed = value.strip(SPACES)
    if trimmed != value:
        made.append(TRIMMED)
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


def _page_count(value: Any, made: list[str], typed: bool) -> Any:
    if not typed and value is not missing and (digits := COUNT.fullmatch(value)):
        value = int(digits[1])
    if value == 0 and value is not False:
        made.append(NO_PAGES)
        return None
    return value


def _isbn(given: Mapping[str, Any], made: list[str]) -> Any:
    """Return the first that is good; when none is, raise what the first of them lacks."""
    good, failure = missing, None
    for name in ISBNS:
        value = _unwrapped(given.get(name, missing))
        if value is missing:
            continue
        if name == "isbn_uid" and isinstance(value, str) and not LIKE_ISBN.fullmatch(value):
            made.append(NO_ISBN)
            continue
        try:
            if good in (missing, None):
                good = _parsed(value, made)
            else:
                _parsed(value, [])
        except ValidationError as error:
            failure = failure or error
    if failure is not None:
        if good in (missing, None):
            raise failure
        made.append(OTHER_ISBN)
    return good


def _parsed(value: Any, made: list[str]) -> Any:
    if isinstance(value, str):
        if SCIENTIFIC.fullmatch(value):
            raise ValidationError(f"{value} has lost digits; it is not an ISBN any more.")
        if SHORT.fullmatch(value):
            isbn = _fields["isbn"].deserialize(value.zfill(10))
            made.append(ZEROS)
            return isbn
    return _fields["isbn"].deserialize(value)


def _unwrapped(value: Any) -> Any:
    """Return the value without `="..."`, and without LibraryThing's brackets."""
    if not isinstance(value, str) or value[:1] not in ("=", "["):
        return value
    if wrapped := WRAPPED.fullmatch(value):
        value = wrapped[1]
    return value.strip("[]") or missing
