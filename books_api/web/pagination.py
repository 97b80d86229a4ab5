"""Keyset pages: a page costs the same at any depth, and skips or repeats nothing."""

import base64
import binascii
import hmac
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlencode

import orjson
from sqlalchemy import ColumnElement, Select, Uuid, bindparam, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from books_api.derived_keys import get_keys
from books_api.observability.requests import current_request
from books_api.web.problems import InvalidInput, Message

LIMIT_MAX = 100
LIMIT_DEFAULT = 20
MAC_BYTES = 16
LONG = 600  # bytes from which on a cursor is packed: it must fit in the URL of a link


R = TypeVar("R")


class Rows(Protocol):
    """A statement, or what is run like one."""

    def rows(self, **parameters: Any) -> list[tuple[Any, ...]]: ...


class InvalidCursor(InvalidInput):
    def __init__(self) -> None:
        text = "Is not a cursor of this list with this sort and these filters."
        super().__init__({"cursor": [Message("not-a-cursor", text)]}, "query")


@dataclass(frozen=True, slots=True)
class Sort:
    """What a list is sorted by: an expression that is never NULL, ties broken by the id."""

    key: ColumnElement[Any] | InstrumentedAttribute[Any]
    identifier: ColumnElement[Any] | InstrumentedAttribute[Any]
    descending: bool = False


def sorts(keys: Mapping[str, Any], identifier: Any) -> dict[str, Sort]:
    """Return the sorts that `sort` may name: each key, and with a minus in descending order."""
    return {
        sign + name: Sort(key, identifier, descending=bool(sign))
        for name, key in keys.items()
        for sign in ("", "-")
    }


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Rows of a list, and the cursor of the page after it (None on the last)."""

    rows: list[R]
    cursor: str | None


def keyset(statement: Select[Any], sort: Sort, *, after: bool) -> Select[Any]:
    """Sort and limit the statement and, with `after`, begin behind :after_key and :after_id."""
    key, identifier = sort.key, sort.identifier
    if after:
        here = tuple_(key, identifier)
        there = tuple_(
            bindparam("after_key", type_=key.type), bindparam("after_id", type_=Uuid(as_uuid=False))
        )
        statement = statement.where(here < there if sort.descending else here > there)
    order = (key.desc(), identifier.desc()) if sort.descending else (key, identifier)
    return statement.add_columns(key.label("sort_key")).order_by(*order).limit(bindparam("rows"))


def fetch_page(
    statement: Callable[[bool], Rows],
    parameters: Mapping[str, Any],
    *,
    make: Callable[[Sequence[Any]], R],
    width: int,
    scope: str,
    limit: int,
    cursor: str | None,
) -> Page[R]:
    """Run a keyset() statement in one round trip and return up to `limit` rows.

    `statement` is asked for the form without or with `after`. It selects `width` columns, the id
    first, then the sort key, and perhaps a place, which is kept in the cursor and is :place of the
    next page; `make` makes a row of all of these. `scope` names the list, its sort and its
    filters: a cursor is good for one scope only. Raises InvalidCursor.
    """
    parameters = {**parameters, "rows": limit + 1}
    if cursor is not None:
        names = ("after_key", "after_id", "place")
        parameters.update(zip(names, decode_cursor(cursor, scope), strict=False))
    found = statement(cursor is not None).rows(**parameters)
    rows = [make(values) for values in found[:limit]]
    if len(found) <= limit:
        return Page(rows, None)
    identifier, *_ = last = found[limit - 1]
    key, *place = last[width:]
    return Page(rows, encode_cursor((key, identifier, *place), scope))


def encode_cursor(values: Sequence[Any], scope: str) -> str:
    """Return an opaque, tamper-proof text of the values."""
    payload = orjson.dumps(values)
    if len(payload) > LONG:
        payload = zlib.compress(payload)
    return _text(_mac(payload, scope, get_keys("cursor")[0]) + payload)


def decode_cursor(cursor: str, scope: str) -> list[Any]:
    """Return the values. Raises InvalidCursor when they were made for another scope."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCursor from None
    mac, payload = raw[:MAC_BYTES], raw[MAC_BYTES:]
    signed = any(hmac.compare_digest(mac, _mac(payload, scope, key)) for key in get_keys("cursor"))
    # Base64 has several texts for some bytes: only the one that was given out is the cursor.
    if not signed or _text(raw) != cursor:
        raise InvalidCursor
    # JSON begins otherwise. What is unpacked was packed here: it is no bomb.
    values: list[Any] = orjson.loads(payload if payload[:1] == b"[" else zlib.decompress(payload))
    return values


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _mac(payload: bytes, scope: str, key: bytes) -> bytes:
    message = scope.encode() + b"\0" + payload
    # Keyed BLAKE2 (RFC 7693): an HMAC by OpenSSL takes a twentieth of the time of a page.
    return blake2b(message, key=key, digest_size=MAC_BYTES).digest()


def link_next(cursor: str | None) -> dict[str, str]:
    """Return the headers that lead to the next page (RFC 8288): none on the last."""
    if cursor is None:
        return {}
    request, query = current_request(), f"cursor={cursor}"
    if request.query_string:
        query = urlencode({**request.args, "cursor": cursor})
    return {"Link": f'<{absolute_url(request.path)}?{query}>; rel="next"'}


def absolute_url(path: str) -> str:
    """Return the URL of a path here, by the scheme and the host that the client has named."""
    request = current_request()
    return f"{request.scheme}://{request.host}{path}"
