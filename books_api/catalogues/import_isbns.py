"""ISBNs in the cells of a catalogue: the one that is certain, or the reason why none is."""

import re
from collections.abc import Mapping
from unicodedata import normalize

from marshmallow import ValidationError

from books_api.books.schemas import parse_isbn
from books_api.catalogues.import_columns import ISBNS
from books_api.catalogues.records import NO_ISBN, OTHER_ISBN, ZEROS, Note

LONGEST = 1_000  # characters of a cell
_PLAIN = re.compile("[0-9]{9}(?:[0-9]{4}|[0-9Xx])")
_WRITTEN = re.compile(r"(?<![0-9A-Za-z])(?:97[89][ -]?)?(?:[0-9][ -]?){9}[0-9Xx](?![0-9A-Za-z])")
_DASH = re.compile("[\u2010-\u2015\u2212]")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_SCIENTIFIC = re.compile(r"[0-9.,]+[eE]\+?[0-9]+")
_SHORT = re.compile("[1-9][0-9]{5,7}[0-9Xx]")  # what a spreadsheet that took it for a number left
_LIKE_ISBN = re.compile(r"[0-9Xx\s\u2010-\u2015\u2212-]{7,}")
_IDENTIFIER = re.compile(r"isbn(?:_?1[03])?\s*[:=]\s*([0-9Xx -]+)", re.IGNORECASE)
_EMPTY = re.compile(r"[\s\[\]\"'=,;|]*")  # LibraryThing's [], a spreadsheet's =""


def read_isbn(given: Mapping[str, str | None], notes: list[Note]) -> str | None:
    """Return the first certain ISBN of the columns. Raises ValidationError if none is."""
    found, failure = None, None
    for name in ISBNS:
        cell = given.get(name)
        if cell is None or _EMPTY.fullmatch(cell):
            continue
        if name == "identifiers":
            cell = ", ".join(_IDENTIFIER.findall(cell))
            if not cell:
                continue
        elif name == "isbn_uid" and not _LIKE_ISBN.fullmatch(cell):
            notes.append(NO_ISBN)
            continue
        try:
            isbn = _parse(cell, notes if found is None else [])
        except ValidationError as error:
            failure = failure or error
        else:
            found = found or isbn
    if failure is not None:
        if found is None:
            raise failure
        notes.append(OTHER_ISBN)
    return found


def _parse(cell: str, notes: list[Note]) -> str:
    """Return the one ISBN in a cell. Raises ValidationError when none or several are valid."""
    if _PLAIN.fullmatch(cell):
        return parse_isbn(cell)
    text = _UNSEEN.sub("", _DASH.sub("-", normalize("NFKC", cell[:LONGEST])))
    if _SCIENTIFIC.fullmatch(text):
        raise ValidationError(f"{cell[:40]} has lost digits and is no longer an ISBN.")
    if _SHORT.fullmatch(text):
        isbn = parse_isbn(text.zfill(10))
        notes.append(ZEROS)
        return isbn
    valid, failure = set(), ValidationError("Must be an ISBN of 10 or 13 digits.")
    for written in _WRITTEN.findall(text):
        try:
            valid.add(parse_isbn(written))
        except ValidationError as error:
            failure = error
    if len(valid) > 1:
        raise ValidationError(f"Has several ISBNs: {', '.join(sorted(valid)[:5])}.")
    if not valid:
        raise failure
    return valid.pop()
