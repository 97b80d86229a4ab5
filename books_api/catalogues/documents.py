"""Records of a JSON document, wherever in it they are: read as a stream, with bounds."""

import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from io import TextIOWrapper
from typing import Any

import ijson

from books_api.catalogues.exceptions import UnreadableCatalogue
from books_api.catalogues.import_columns import KNOWN_COLUMNS, plain
from books_api.catalogues.import_dates import DateOrder
from books_api.catalogues.records import ID, check_number

DEPTH_MAX = 50  # ijson takes quadratic time for the path of what lies deep
RECORD_MAX = 8 * 1024 * 1024  # characters
NAME_MAX = 50  # characters of the key of a date
KEYS_MAX = 1_000  # that are remembered of an object
_IDS = set(KNOWN_COLUMNS["id"])
_DATES = {
    name for field in ("published_date", "published_year", "date") for name in KNOWN_COLUMNS[field]
}
# Half of a surrogate pair. yajl makes it a question mark.
_HALF = re.compile(
    r"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]", re.DOTALL
)
# Of a number with more digits than int() reads its C code makes a crash, but not of a float.
_OPTIONS = {"use_float": True, "multiple_values": True}


@lru_cache(maxsize=1_000)
def _is_date(key: str) -> bool:
    return plain(key) in _DATES


@dataclass(slots=True)
class Document:
    """Where in a document its records are, what they have, and how they write dates."""

    path: list[str] = field(default_factory=list)
    keys: dict[str, None] = field(default_factory=dict)  # in the order of the file
    dates: dict[str, DateOrder] = field(default_factory=dict)  # by the key of the date
    has_ids: bool = False  # of our books

    def look_at(self, key: str, value: str, date_key: str | None) -> None:
        if key in self.keys and (key == date_key or (len(key) <= NAME_MAX and _is_date(key))):
            self.dates.setdefault(key, DateOrder()).look_at(value)
        elif not self.has_ids and ID.fullmatch(value):
            self.has_ids = plain(key) in _IDS


@dataclass(slots=True)
class _Container:
    name: str  # the key that leads to it, or "item" in an array
    is_object: bool
    found: Document | None  # of an object that is a record, or may be the first one


class _Stream:
    """The text of a document as ijson asks for it, with a bound on what is not a record yet."""

    def __init__(self, text: TextIOWrapper) -> None:
        text.seek(0)
        self._text, self._tail, self.unanswered = text, "", 0

    def read(self, size: int) -> bytes:
        chunk = self._text.read(size).lstrip("\ufeff") if size else ""
        self.unanswered += len(chunk)
        if self.unanswered > RECORD_MAX:
            raise UnreadableCatalogue(f"A record is longer than {RECORD_MAX:,} characters.")
        window = self._tail + chunk
        for half in _HALF.finditer(window, 6 if self._tail else 0):
            if half.end() + 6 <= len(window) or (size and not chunk):
                raise UnreadableCatalogue("The JSON has a lone surrogate.")
        self._tail = window[-24:]
        return chunk.encode("utf-8", "surrogatepass")


def survey_document(text: TextIOWrapper, mapping: Mapping[str, str], most: int) -> Document:
    """Look at all of a document. Raises UnreadableCatalogue."""
    document, stream = Document(), _Stream(text)
    date_key = mapping.get("published_date")
    needed = [(mapping.get(name), set(KNOWN_COLUMNS[name])) for name in ("title", "author")]
    stack: list[_Container] = []
    depth = records = 0
    key = "item"
    with _refusing():
        for event, value in ijson.basic_parse(stream, **_OPTIONS):
            stream.unanswered = 0
            if event == "map_key":
                key, found = value, stack[-1].found
                if found is not None and len(found.keys) < KEYS_MAX:
                    found.keys[key] = None
            elif event == "string":
                if stack and (found := stack[-1].found) is not None:
                    found.look_at(key, value, date_key)
            elif event in ("start_map", "start_array"):
                name = key if stack and stack[-1].is_object else "item"
                container = _Container(name, event == "start_map", None)
                stack.append(container)
                if container.is_object and not depth:
                    container.found = Document()
                elif container.is_object and len(stack) == depth:
                    parents = [parent.name for parent in stack[1:-1]]
                    container.found = document if parents == document.path[:-1] else None
                if len(stack) > DEPTH_MAX:
                    raise UnreadableCatalogue(f"The JSON is deeper than {DEPTH_MAX} levels.")
            elif event in ("end_map", "end_array"):
                closed = stack.pop()
                records += len(stack) == depth - 1
                check_number(records, most)
                if not depth and closed.found and _has(closed.found.keys, needed):
                    depth, document = len(stack) + 1, closed.found
                    document.path = [container.name for container in [*stack[1:], closed]][
                        not stack :
                    ]
    if not depth:
        raise UnreadableCatalogue("No object in the JSON has a title and an author.")
    return document


def _has(keys: Mapping[str, None], needed: list[tuple[str | None, set[str]]]) -> bool:
    names = {plain(key) for key in keys}
    return all(mapped in keys or not names.isdisjoint(known) for mapped, known in needed)


def read_document(text: TextIOWrapper, document: Document) -> Iterator[tuple[int, Any]]:
    """Yield the records with their numbers. Raises UnreadableCatalogue."""
    stream = _Stream(text)
    *parents, last = document.path or ["item"]
    if last == "item":
        values = ijson.items(stream, ".".join(document.path), **_OPTIONS)
    else:  # an object of objects
        values = (pair[1] for pair in ijson.kvitems(stream, ".".join(parents), **_OPTIONS))
    with _refusing():
        for number, value in enumerate(values, 1):
            stream.unanswered = 0
            yield number, value


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except ijson.JSONError as error:
        reason = str(error).removeprefix("b'").partition("\n")[0]
        raise UnreadableCatalogue(f"The file is not JSON: {reason}.") from None
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise UnreadableCatalogue(f"The file cannot be read: {error}.") from None
