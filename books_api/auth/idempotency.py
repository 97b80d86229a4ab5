"""Idempotency-Key: a request that may be sent again has its effect once.

The key and the first result are stored in the transaction of the effect: no crash can part them.
The form of a key is a pattern in web/docs/base.json: 1 to 255 printable ASCII characters, perhaps
in quotes.
https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from psycopg2.errorcodes import FOREIGN_KEY_VIOLATION
from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert

from books_api.auth.exceptions import InvalidKey, KeyInUse, KeyReused, TokenRevoked
from books_api.auth.models import IDEMPOTENCY_KEY_MAX, IdempotencyKey
from books_api.database import transaction, translate
from books_api.observability.requests import current_request
from books_api.web.openapi import IDEMPOTENCY_KEY

KEPT = timedelta(hours=24)

# It does not wait: who does not get the lock learns that the first request is still running.
_LOCK = select(func.pg_try_advisory_xact_lock(bindparam("lock")))
_FIRST = select(
    IdempotencyKey.fingerprint,
    IdempotencyKey.body,
    # No condition: Postgres might look all recent keys up for it.
    (IdempotencyKey.created_at > func.now() - KEPT).label("is_kept"),
).where(IdempotencyKey.user_id == bindparam("user_id"), IdempotencyKey.key == bindparam("key"))
_INSERT = insert(IdempotencyKey)
_STORE = _INSERT.on_conflict_do_update(  # an expired one that is not pruned yet
    index_elements=[IdempotencyKey.user_id, IdempotencyKey.key],
    set_={"created_at": func.now()}
    | {name: getattr(_INSERT.excluded, name) for name in ("fingerprint", "body")},
)
owner_must_exist = partial(
    translate, FOREIGN_KEY_VIOLATION, partial(TokenRevoked, "The account of this token is gone.")
)


def idempotency_key() -> str | None:
    """Return the key, without the quotes that it may have; None when there is none."""
    value = current_request().headers.get("Idempotency-Key")
    if value is None:
        return None
    if not re.fullmatch(IDEMPOTENCY_KEY, value):
        raise InvalidKey(
            f"Must have 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters, or these in quotes."
        )
    return value[1:-1] if value[0] == '"' else value


def run_idempotent(
    user_id: str,
    key: str | None,
    fingerprint: Callable[[], bytes],
    work: Callable[[Connection | None], dict[str, Any]],
    begin: Callable[[], AbstractContextManager[Connection]] = transaction,
) -> tuple[dict[str, Any], bool]:
    """Do the work in a transaction that stores its result, or return the stored one and True.

    Without a key the work is only done, in a transaction of its own; `begin` opens the one with a
    key. `fingerprint` identifies the request's content. Raises KeyReused when the key came with
    another content before, KeyInUse while the first request is running, and TokenRevoked when the
    user's account is gone.
    """
    if key is None:
        return work(None), False
    content, owner = fingerprint(), UUID(user_id)
    lock = hashlib.blake2b(owner.bytes + key.encode(), digest_size=8).digest()
    with owner_must_exist(), begin() as connection:
        if not connection.scalar(_LOCK, {"lock": int.from_bytes(lock, signed=True)}):
            raise KeyInUse
        # A statement of its own: its snapshot is taken when the lock is held.
        first = connection.execute(_FIRST, {"user_id": owner, "key": key}).one_or_none()
        if first is not None and first.is_kept:
            if first.fingerprint != content:
                raise KeyReused
            return orjson.loads(first.body), True
        result = work(connection)
        stored = {"fingerprint": content, "body": orjson.dumps(result).decode()}
        connection.execute(_STORE, {"user_id": owner, "key": key, **stored})
    return result, False


def fingerprint_of(operation: bytes, values: Mapping[str, Any]) -> bytes:
    """Return what identifies the content of a request."""
    return operation + hashlib.sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).digest()


def replay_headers(is_replay: bool) -> dict[str, str]:
    """Return the headers that mark the answer to a request that was sent again."""
    return {"Idempotent-Replayed": "true"} if is_replay else {}
