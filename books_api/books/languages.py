"""Languages as people write them: a code of ISO 639-1, -2 or -3, maybe with a region, or a name.

What is stored stays as it came; a filter by a language finds all that is written for it.
"""

import re
from functools import cache
from typing import Any

from pycountry import languages
from sqlalchemy import ColumnElement, any_, bindparam, func, literal_column
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from books_api.books.models import Book

_REGIONAL = re.compile("[a-z]{2,3}[-_]")
# Of ISO 639-3's names of living languages: Modern Greek (1453-), Swahili (macrolanguage).
_QUALIFIER = re.compile(r"^modern | \(.*\)$")
# The expression of the index ix_books_language_code: a code without its region, or the name.
_code = func.regexp_replace(
    func.lower(Book.language), literal_column(r"'^([a-z]{2,3})[-_].*$'"), literal_column(r"'\1'")
)
FILTERS: dict[str, ColumnElement[bool]] = {
    "language": func.lower(Book.language) == func.lower(bindparam("language")),
    "languages": _code == any_(bindparam("languages", type_=ARRAY(TEXT))),
}


def take_language(parameters: dict[str, Any]) -> None:
    """Replace a language by all that it is called, but for one with a region."""
    text = str(parameters.get("language", "")).lower()
    if text and not _REGIONAL.match(text):
        del parameters["language"]
        parameters["languages"] = spellings(text)


def spellings(text: str) -> list[str]:
    """Return the codes and names, in lower case, of the language that is called so."""
    found = (
        languages.get(alpha_2=text)
        or languages.get(alpha_3=text)
        or languages.get(bibliographic=text)
        or languages.get(name=text)
        or _by_plain_name().get(text)
    )
    if found is None:
        return [text]
    names = ("alpha_2", "alpha_3", "bibliographic", "name")
    plain = {_plain(found)} if hasattr(found, "alpha_2") else set()
    return sorted(plain.union(getattr(found, name, text).lower() for name in names))


@cache
def _by_plain_name() -> dict[str, Any]:
    return {_plain(language): language for language in languages if hasattr(language, "alpha_2")}


def _plain(language: Any) -> str:
    return _QUALIFIER.sub("", language.name.lower())
