"""Idempotency-Key: a request that may be sent again has its effect once.

The key and the first answer are stored in the transaction of the effect: no crash can part them.
https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from books_api.books.exceptions import KeyInUse, KeyReused
from books_api.books.models import IdempotencyKey
from books_api.books.service import owner_must_exist
from books_api.database import transaction

KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered with; `replayed` when it is the answer to an earlier one."""

    status: int
    headers: dict[str, str]
    body: str
    replayed: bool = False


# It does not wait: who does not get the lock learns that the first request is still running.
_LOCK = select(func.pg_try_advisory_xact_lock(bindparam("lock")))
_FIRST = select(
    IdempotencyKey.fingerprint,
    IdempotencyKey.status,
    IdempotencyKey.headers,
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
    | {
        name: getattr(_INSERT.excluded, name)
        for name in ("fingerprint", "status", "headers", "body")
    },
)


def once(
    user_id: UUID, key: str, fingerprint: bytes, work: Callable[[Connection], Answer]
) -> Answer:
    """Do the work in a transaction and store its answer, or return the stored one.

    `fingerprint` identifies the request's content. Raises KeyReused when the key came with
    another content before, KeyInUse while the first request is running, and TokenRefused when the
    user's account is gone.
    """
    with owner_must_exist(), transaction() as connection:
        if not connection.scalar(_LOCK, {"lock": _lock_number(user_id, key)}):
            raise KeyInUse
        # A statement of its own: its snapshot is taken when the lock is held.
        first = connection.execute(_FIRST, {"user_id": user_id, "key": key}).one_or_none()
        if first is not None and first.is_kept:
            if first.fingerprint != fingerprint:
                raise KeyReused
            return Answer(first.status, first.headers, first.body, replayed=True)
        answer = work(connection)
        connection.execute(
            _STORE,
            {
                "user_id": user_id,
                "key": key,
                "fingerprint": fingerprint,
                "status": answer.status,
                "headers": answer.headers,
                "body": answer.body,
            },
        )
    return answer


def prune() -> int:
    """Delete the keys that are kept no longer; return the number of rows."""
    statement = delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - KEPT)
    with transaction(long=True) as connection:
        return connection.execute(statement).rowcount


def _lock_number(user_id: UUID, key: str) -> int:
    digest = hashlib.blake2b(user_id.bytes + key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
