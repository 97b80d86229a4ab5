"""Files that are no table: what each is, and how a table comes out of it."""

import re

from books_api.catalogues.exceptions import UnreadableCatalogue
from books_api.catalogues.tables import load_table

START = 64 * 1024  # bytes looked at
_FORMATS = [
    (re.compile(pattern.encode("latin-1"), re.IGNORECASE | re.DOTALL), name, remedy)
    for pattern, name, remedy in load_table("foreign.toml")["formats"]
]


def refuse_foreign(start: bytes) -> None:
    """Raise UnreadableCatalogue for the beginning of a file of a format that is not read."""
    start = start.removeprefix(b"\xef\xbb\xbf")[:START]
    for pattern, name, remedy in _FORMATS:
        if pattern.match(start):
            raise UnreadableCatalogue(f"The file is {name}, not a table or JSON. {remedy}.")
