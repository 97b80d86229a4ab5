"""What has ended: the truth in Postgres, its fast copy in Redis.

A revocation is a row of `revocations`, written in the transaction that revokes. Its copy is a key
of Redis with the same life. Three rules keep the copy from ever saying less than the truth:

- Before the commit the key is set to PENDING, after it to its value. Who meets PENDING asks
  Postgres, so a crash between the two, or a rollback, does no harm. A value replaces only its own
  transaction's PENDING, so one that is written late does not undo what was revoked since.
- LOADED says that the copy is whole. Without it (restart, failover, eviction, FLUSHALL) the copy
  is filled again before anything is let in. It holds the server's run_id, checked on every new
  connection: a Redis that came back has to be filled even if it remembers LOADED.
- Filling excludes revoking transactions by an advisory lock, so none is missed.
"""

import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from books_api.auth.models import Revocation
from books_api.auth.tokens import Identity, identity_from
from books_api.config import CLOCK_LEEWAY
from books_api.database import autocommit, transaction
from books_api.extensions import db, jwt, redis
from books_api.observability.metrics import SESSIONS_ENDED

# The braces keep all keys in one slot of a Redis Cluster, as MGET needs.
PREFIX = "{books}:"
LOADED = PREFIX + "loaded"
LOADING = PREFIX + "loading"
PENDING = "?"  # and a text of its transaction
CONFIRM = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
end
"""
REFRESH_SECONDS = 300  # the copy is made anew this often, whatever happened to it
ADVISORY_LOCK = 0x626F6F6B  # any number, as long as nothing else locks it
BATCH = 1_000  # keys sent to Redis at once, within its time-out


class CopyLost(RedisError):
    """Redis forgets faster than it is filled, so nobody can be let in."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of the blocklist, its value, and when the last token that it blocks expires.

    `ends` counts the sessions that end with it.
    """

    key: str
    value: int
    expires_at: datetime
    ends: int = 0

    @property
    def forget_at(self) -> datetime:
        return self.expires_at + timedelta(seconds=CLOCK_LEEWAY)


def is_revoked(identity: Identity) -> bool:
    """Ask Redis, in one round trip, whether the token, its session or its epoch has ended.

    Raises RedisError when Redis is away.
    """
    keys = (f"jti:{identity.jti}", f"sid:{identity.session_id}", f"epoch:{identity.user_id}")
    names = [LOADED, *(PREFIX + key for key in keys)]
    values = _read(names)
    if values[0] is None:
        load()
        values = _read(names)
        if values[0] is None:
            raise CopyLost("The copy of the revocations is lost again.")
    _, token, session, epoch = values
    if any(value is not None and value.startswith(PENDING) for value in values):
        token, session, epoch = _ask_postgres(keys)
    return token is not None or session is not None or int(epoch or 0) > identity.epoch


@jwt.token_in_blocklist_loader
def _is_revoked(header: dict[str, Any], claims: dict[str, Any]) -> bool:
    # For jwt_required(), so that a route with the library's own decorator is as safe as ours.
    return is_revoked(identity_from(claims))


@contextmanager
def revoking(entries: Sequence[Entry], reason: str) -> Iterator[None]:
    """Revoke in the session's transaction, which the body of the `with` commits.

    The reason is for the metrics. Raises RedisError, with nothing changed, when Redis is away.
    """
    db.session.execute(select(func.pg_advisory_xact_lock_shared(ADVISORY_LOCK)))
    statement = insert(Revocation).values(
        [{"key": e.key, "value": e.value, "expires_at": e.forget_at} for e in entries]
    )
    rows = db.session.execute(
        statement.on_conflict_do_update(
            index_elements=[Revocation.key],
            set_={
                "value": statement.excluded.value,
                "expires_at": func.greatest(Revocation.expires_at, statement.excluded.expires_at),
            },
        ).returning(Revocation.key, Revocation.value, Revocation.expires_at)
    ).all()
    pending = PENDING + secrets.token_hex(8)
    _write(redis.client, {key: (pending, expires_at) for key, _, expires_at in rows})
    yield
    SESSIONS_ENDED.labels(reason).inc(sum(entry.ends for entry in entries))
    with suppress(RedisError):  # it is committed: PENDING sends who asks to Postgres
        _confirm(redis.client, pending, {key: str(value) for key, value, _ in rows})


def check_server(connection: Any) -> None:
    """Drop LOADED when this new connection leads to another server than the one that was filled."""
    connection.on_connect()
    connection.send_command("GET", LOADED)
    filled = connection.read_response()
    connection.send_command("INFO", "server")
    info = connection.read_response()
    if filled is not None and f"run_id:{filled}\r" not in info:
        connection.send_command("DEL", LOADED)
        connection.read_response()


def load() -> None:
    """Fill Redis from Postgres, once, however many processes ask at the same time."""
    with transaction() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        client = redis.client
        if client.exists(LOADED):
            return
        client.set(LOADING, _run_id(client), ex=REFRESH_SECONDS)
        rows = connection.execution_options(stream_results=True, max_row_buffer=BATCH).execute(
            select(Revocation.key, Revocation.value, Revocation.expires_at).where(
                Revocation.expires_at > datetime.now(UTC)
            )
        )
        for batch in rows.partitions(BATCH):
            _write(client, {key: (str(value), expires) for key, value, expires in batch})
        # Fails when Redis has lost LOADING, and with it what was just written.
        client.rename(LOADING, LOADED)


def prune() -> int:
    """Delete what has expired; return the number of rows."""
    with transaction(long=True) as connection:
        statement = delete(Revocation).where(Revocation.expires_at < datetime.now(UTC))
        return connection.execute(statement).rowcount


def _ask_postgres(keys: Sequence[str]) -> list[str | None]:
    with autocommit() as connection:
        rows = connection.execute(
            select(Revocation.key, Revocation.value).where(Revocation.key.in_(keys))
        )
        found = {row.key: row.value for row in rows}
    return [str(found[key]) if key in found else None for key in keys]


def _read(names: Sequence[str]) -> list[str | None]:
    # What mget() does, without its detours; it has no types.
    values: Any = redis.client.execute_command("MGET", *names)  # type: ignore[no-untyped-call]
    return list(values)


def _write(client: Redis, values: Mapping[str, tuple[str, datetime]]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for key, (value, expires_at) in values.items():
            pipe.set(PREFIX + key, value, exat=math.ceil(expires_at.timestamp()))
        pipe.execute()


def _confirm(client: Redis, pending: str, values: Mapping[str, str]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for key, value in values.items():
            pipe.eval(CONFIRM, 1, PREFIX + key, pending, value)
        pipe.execute()


def _run_id(client: Redis) -> str:
    return str(client.info("server")["run_id"])
