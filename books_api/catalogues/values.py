"""From a cell of a file, or a value of JSON, to the text that a person reads in it."""

import html
import re
from typing import Any

from books_api.catalogues.records import MARKUP, NOTHING, TRIMMED, Note
from books_api.catalogues.tables import WORDS
from books_api.web.fields import SPACES

LONGEST_NOTHING = 12
DEPTH_MAX = 4  # of lists and objects in a value
_NOTHING = set(WORDS["nothing"].split())
_UNKNOWN = _NOTHING.union(WORDS["unknown"].split())
_ENTITY = re.compile("&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BREAK = re.compile(r"<(?:br|/?p|/?div|/li)(?:\s[^<>]{0,300})?/?>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:a|b|i|u|s|em|strong|small|big|sub|sup|span|font|cite|tt|h[1-6]|ul|ol|li|blockquote)"
    r"(?:\s[^<>]{0,300})?/?>",
    re.IGNORECASE,
)
_ITEM = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_LIST = re.compile(rf"\[\s*(?:{_ITEM}\s*,\s*)*{_ITEM}\s*\]", re.DOTALL)
_ITEMS = re.compile(_ITEM, re.DOTALL)
_NAMES = ("name", "literal", "fl", "value", "raw")  # of what an object of JSON is called


def flatten(value: Any, depth: int = 0) -> str | None:
    """Return a JSON value as text: lists joined, an object's name. Raises ValueError."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or depth > DEPTH_MAX:
        raise ValueError("Must be text.")
    if isinstance(value, list):
        texts = [flatten(item, depth + 1) for item in value]
        return ", ".join(filter(None, texts)) or None
    return _flatten_object(value, depth) if isinstance(value, dict) else str(value)


def _flatten_object(value: dict[str, Any], depth: int) -> str | None:
    if name := next((value[name] for name in _NAMES if value.get(name)), None):
        return flatten(name, depth + 1)
    if "family" in value or "given" in value:  # CSL-JSON, as the next
        names = [flatten(value.get(name), depth + 1) for name in ("given", "family")]
        return " ".join(filter(None, names)) or None
    if "date-parts" in value:
        match value["date-parts"]:
            case [[*parts]]:
                return "-".join(str(part).zfill(2) for part in parts[:3]) or None
        raise ValueError("Must be one date.")
    if "isbn" in value:  # among Calibre's identifiers
        return f"isbn:{value['isbn']}"
    if isinstance(key := value.get("key"), str):  # Open Library's; an author's is no name
        return key.removeprefix("/languages/") if key.startswith("/languages/") else None
    if all(map(str.isdecimal, value)):  # a list of LibraryThing's
        return flatten(list(value.values()), depth + 1)
    raise ValueError("Must be text.")


def clean(text: str, notes: list[Note], *, is_name: bool) -> str | None:
    """Return what a person reads in a cell, or None; `is_name` for title and author."""
    trimmed = text.strip(SPACES)
    if trimmed != text:
        notes.append(TRIMMED)
    if len(trimmed) <= LONGEST_NOTHING and trimmed.casefold() in (
        _NOTHING if is_name else _UNKNOWN
    ):
        notes.append(NOTHING)
        return None
    if trimmed.startswith("[") and _LIST.fullmatch(trimmed):
        items = (item[1:-1] for item in _ITEMS.findall(trimmed))
        trimmed = ", ".join(re.sub(r"\\(.)", r"\1", item) for item in items)
    if "<" in trimmed or "&" in trimmed:
        read = _ENTITY.sub(_unescape, _TAG.sub("", _BREAK.sub(" ", trimmed))).strip(SPACES)
        if read != trimmed:
            notes.append(MARKUP)
            trimmed = read
    return trimmed or None


def _unescape(entity: re.Match[str]) -> str:
    read = html.unescape(entity[0])
    return read if read.isprintable() and read != "\ufffd" else entity[0]
