"""Idempotency-Key: a request that may be sent again has its effect once.

The key and the first result are stored in the transaction of the effect: no crash can part them.
https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from flask import request
from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from books_api.books.exceptions import KeyInUse, KeyReused
from books_api.books.models import IDEMPOTENCY_KEY_MAX, IdempotencyKey
from books_api.books.service import owner_must_exist
from books_api.database import transaction
from books_api.web.components import IDEMPOTENCY_KEY
from books_api.web.problems import InvalidInput, Message

KEPT = timedelta(hours=24)

# It does not wait: who does not get the lock learns that the first request is still running.
_LOCK = select(func.pg_try_advisory_xact_lock(bindparam("lock")))
_FIRST = select(
    IdempotencyKey.fingerprint,
    IdempotencyKey.body,
    # No condition: Postgres might look all recent keys up for it.
    (IdempotencyKey.created_at > func.now() - KEPT).label("is_kept"),
).where(
    IdempotencyKey.user_id == bindparam("user_id"),
    IdempotencyKey.key == bindparam("key"),
)
_INSERT = insert(IdempotencyKey)
_STORE = _INSERT.on_conflict_do_update(  # an expired one that is not pruned yet
    index_elements=[IdempotencyKey.user_id, IdempotencyKey.key],
    set_={"created_at": func.now()}
    | {name: getattr(_INSERT.excluded, name) for name in ("fingerprint", "body")},
)


def idempotency_key() -> str | None:
    """Return the key, without the quotes that it may have; None when there is none."""
    name = "Idempotency-Key"
    value = request.headers.get(name)
    if value is None:
        return None
    if not re.fullmatch(IDEMPOTENCY_KEY, value):
        detail = f"Must have 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters."
        raise InvalidInput({name: [Message("not-a-key", detail)]}, "header")
    return value[1:-1] if value[0] == '"' else value


def run_idempotent(
    user_id: UUID,
    key: str | None,
    fingerprint: Callable[[], bytes],
    work: Callable[[Connection | None], dict[str, Any]],
) -> tuple[dict[str, Any], bool]:
    """Do the work in a transaction that stores its result, or return the stored one and True.

    Without a key the work is only done, in a transaction of its own. `fingerprint` identifies the
    request's content. Raises KeyReused when the key came with another content before, KeyInUse
    while the first request is running, and TokenRefused when the user's account is gone.
    """
    if key is None:
        return work(None), False
    content = fingerprint()
    with owner_must_exist(), transaction() as connection:
        if not connection.scalar(_LOCK, {"lock": _lock_number(user_id, key)}):
            raise KeyInUse
        # A statement of its own: its snapshot is taken when the lock is held.
        first = connection.execute(_FIRST, {"user_id": user_id, "key": key}).one_or_none()
        if first is not None and first.is_kept:
            if first.fingerprint != content:
                raise KeyReused
            return orjson.loads(first.body), True
        result = work(connection)
        stored = {"fingerprint": content, "body": orjson.dumps(result).decode()}
        connection.execute(_STORE, {"user_id": user_id, "key": key, **stored})
    return result, False


def prune() -> int:
    """Delete the keys that are kept no longer; return the number of rows."""
    statement = delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - KEPT)
    with transaction(long=True) as connection:
        return connection.execute(statement).rowcount


def _lock_number(user_id: UUID, key: str) -> int:
    digest = hashlib.blake2b(user_id.bytes + key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
