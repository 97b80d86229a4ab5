"""From a record as people have it to a book, by the API's own rule and in its words."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from marshmallow import ValidationError

from books_api.books.models import TITLE_MAX
from books_api.books.schemas import BookInputSchema
from books_api.catalogues.import_columns import ISBNS
from books_api.catalogues.import_dates import Order, parse_date
from books_api.catalogues.import_isbns import read_isbn
from books_api.catalogues.records import NO_PAGES, Note, left_out
from books_api.catalogues.tables import BROKEN
from books_api.catalogues.values import clean, flatten

UNDEFINED = re.compile("0101-01-01T00:00:00.*")  # Calibre's
_COUNT = re.compile(
    r"(?:pp?\.?\s*)?(-?[0-9]{1,9}|[0-9]{1,3}[.,][0-9]{3})(?:[.,]0)?"
    r"\s*(?:(?:pp?|pgs?|pages?|p[aá]gin\w*|s|seiten?|str\w*|blz|bladzijden|стр\w*)\.?)?",
    re.IGNORECASE,
)
_PUBLICATION = re.compile(r"(.*?)\s*\((?:c|©)?[0-9]{4}\??\).*", re.DOTALL)
_SEVERAL = re.compile(r"\s*[;|]\s*")

_fields = BookInputSchema().fields
_required = {name for name, field in _fields.items() if field.required}


def read_book(
    values: Mapping[str, Any],
    *,
    order: Order | None = None,
    strict: bool = False,
    literal: bool = False,
) -> tuple[dict[str, Any], list[Note]]:
    """Return the validated book of a record, and what was left out or repaired.

    `values` are by the names of import_columns.toml, `order` is that of dates in their column;
    `literal` values are our own. A cell that cannot be read is left out, but for title and author,
    and unless `strict`: then ValidationError is raised.
    """
    errors: dict[str, list[str]] = {}
    notes: list[Note] = []
    given: dict[str, str | None] = {}
    for name, value in values.items():
        try:
            text = value if isinstance(value, str) else flatten(value)
        except ValueError as error:
            errors[name] = [str(error)]
        else:
            given[name] = (
                clean(text, notes, is_name=name in _required) if text and not literal else text
            )
    _join(given, notes)
    book: dict[str, Any] = {}
    for name in _fields:
        try:
            if name == "isbn":
                if not given.keys().isdisjoint(ISBNS):
                    book[name] = read_isbn(given, notes)
            elif name in given:
                book[name] = _read(name, given[name], order, notes)
            elif name in _required and name not in errors:
                errors[name] = ["Is required."]
        except ValidationError as error:
            errors[name] = list(error.messages)
    if errors and (strict or not errors.keys().isdisjoint(_required)):
        raise ValidationError(errors)
    notes += (left_out(name, " ".join(texts)) for name, texts in errors.items())
    return book, notes


def _join(given: dict[str, str | None], notes: list[Note]) -> None:
    """Bring together what a file has in several columns and a book in one."""
    title, subtitle = given.get("title"), given.get("subtitle")
    if title and subtitle and subtitle.casefold() not in title.casefold():
        whole = f"{title.rstrip(': ')}: {subtitle}"
        if len(whole) <= TITLE_MAX:
            given["title"] = whole
        else:
            notes.append(left_out("subtitle", "is too long for a title"))
    if not given.get("author") and given.get("primary_author"):
        given["author"] = given["primary_author"]
    author, additional = given.get("author"), given.get("additional_authors")
    if additional:
        names = _SEVERAL.split(additional)
        more = ", ".join(filter(None, names))
        others = {name.casefold() for name in (*names, *re.split(r"\s*,\s*", additional))}
        is_among = author is None or author.casefold() in {*others, more.casefold()}
        given["author"] = more if is_among else f"{author}, {more}"
    publication = given.get("publication")
    if publication:
        parts = _PUBLICATION.fullmatch(publication)
        given["publisher"] = (parts[1] if parts else publication) or None


def _read(name: str, text: str | None, order: Order | None, notes: list[Note]) -> Any:
    """Return the value of a field. Raises ValidationError."""
    if not text:
        if name in _required:
            raise ValidationError("Must not be empty.")
        return None
    value: Any = text
    if name == "published_date":
        if UNDEFINED.fullmatch(text):
            return None
        try:
            value, note = parse_date(text, order)
        except ValueError as error:
            raise ValidationError(str(error)) from None
        if note:
            notes.append(note)
        return value
    if name == "page_count" and (count := _COUNT.fullmatch(text)):
        value = int(re.sub("[.,]", "", count[1]))
        if value == 0:
            notes.append(NO_PAGES)
            return None
    try:
        return _fields[name].deserialize(value) if name in _required else _repeated(name, value)
    except ValidationError:
        if BROKEN.search(text):
            raise ValidationError("Has bytes that are broken, or not of this encoding.") from None
        raise


@lru_cache(maxsize=10_000, typed=True)
def _repeated(name: str, value: str | int) -> Any:
    return _fields[name].deserialize(value)
