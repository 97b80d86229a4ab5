"""The copy in Redis of what has ended: one round trip a request, and never less than the truth.

The truth is the table `revocations`. A key of the copy is text: its value, the pendings of revoking
transactions, or both (`5`, `?p?q=5`, `?p`). A pending is a transaction's id and a random text. Any
message may arrive at any time, twice, or never, and any process may stop between any two steps:

- What writes keys is MERGE alone. A value only rises, a life only grows, a pending goes only by its
  name, so order and repetition do not matter: what is late is less than what is there. A value
  comes from a committed row, and whoever removes a pending brings the value that its transaction
  has committed, if it has.
- A revoking transaction locks (shared, until it ends), writes its rows, has its pending
  acknowledged, commits, merges its values. Who meets a pending asks Postgres: from the commit to
  the end of the entry's life nobody believes less than the truth, wherever the process dies.
- A pending ends when a reader finds its transaction over, in the snapshot that the values are read
  in. The number alone says so. After a crash or a failover that lost transactions Postgres may give
  it again: what had it first is lost and can commit no more, so that the pending is at worst
  asked about for longer, until the second is over.
- A merge that comes after the key is gone makes it again, as true as before, unless its life is
  over; a pending that comes late is found to be over by the next reader.

Only the marker makes the copy believed. Its value is a name with the server's identity in it:
run_id, which a restart changes, and replication id, which a promotion changes; none returns. A
reader believes it when Postgres names no other (blocklist_lease.py) and when the identity is that
of the server that the very connection leads to, learnt on connecting and, as a primary may become a
replica and a primary again meanwhile, each second. So what came by replication, out of a file, or
back after failing over is not believed, nor a primary that another has replaced, and a loss of
memory takes the marker along (noeviction is required). Otherwise Postgres answers, or what the copy
has if that is more, and blocklist_refill.py makes the copy whole.
"""

import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy import BigInteger, cast, extract, func, text

from books_api.auth.blocklist_lease import DRIFT_SECONDS, trust
from books_api.auth.models import Revocation
from books_api.database import Statement
from books_api.extensions import extension, redis
from books_api.observability.metrics import REDIS_ASKED, REDIS_FALLBACKS
from books_api.redis_client import identify
from books_api.standby import LATE_MAX

# The braces keep all keys in one slot of a Redis Cluster, as MGET and the scripts need.
ASKED, FALLBACKS = REDIS_ASKED.labels("revocation"), REDIS_FALLBACKS.labels("revocation")
PREFIX = "{books}:"
MARKER, FRESH, FILLING = PREFIX + "named", PREFIX + "fresh", PREFIX + "filling"
PENDING = "?"
MARKS = "wrote:"  # of everybody; with an id behind it, of a user: see revocation.py
MARKED_MS = round((LATE_MAX + DRIFT_SECONDS) * 1000)
TRUST_SECONDS = 1  # how long a connection is taken to lead to the same primary
ADVISORY_LOCK = 0x626F6F6B  # any number, as long as nothing else locks it

LUA = Path(__file__).with_name("lua")
COMMON, MERGE = ((LUA / f"{name}.lua").read_text("utf-8") for name in ("common", "merge"))
# A row as MERGE wants it.
COLUMNS = (
    Revocation.key,
    cast(func.ceil(extract("epoch", Revocation.expires_at)), BigInteger),
    Revocation.value,
)
TRUTH = Statement(text(Path(__file__).with_name("revoked.sql").read_text("utf-8")))
PENDINGS = re.compile(r"\?(\d+)-\w+")


class OtherRedis(RedisError):
    """Nothing was changed, for this is not the Redis that was meant."""


class Change(NamedTuple):
    """What MERGE does to a key; the life ends at a whole second of Unix time, and 0 is no value."""

    key: str
    expires: int = 0
    value: int = 0
    add: str = ""
    drop: str = ""


def pending_of(transaction_id: str) -> str:
    """Return a new pending of the transaction."""
    return f"{PENDING}{transaction_id}-{secrets.token_hex(8)}"


def read(keys: Sequence[str], marks: Sequence[str] = ()) -> list[int]:
    """Return the values of the keys, and of the marks, 0 where there is none. Raises RedisError.

    Where the copy is not believed, or a revocation is under way, Postgres answers, and 1 for marks.
    """
    marker, fresh, *found = _read_copy([MARKER, FRESH, *(PREFIX + key for key in (*keys, *marks))])
    texts = [text or "" for text in found]
    told = trust()
    if told.believes(marker) and PENDING not in "".join(texts):
        values = [int(text or 0) for text in texts]
    else:
        values = _ask_postgres(keys, texts[: len(keys)]) + [1] * len(marks)
        if marker != told.name:  # otherwise only the name had to be asked for again
            FALLBACKS.inc()
    if fresh is None or marker != told.name:
        extension("blocklist_filler").start()
    return values


def merge(changes: Sequence[Change], fill: str = "", name: str = "") -> None:
    """Apply the changes: those of a fill while it is under way, with a name in that Redis only.

    Raises OtherRedis, RedisError.
    """
    keys = [FILLING, *(PREFIX + change.key for change in changes)]
    arguments = [
        word
        for change in changes
        for word in (change.value, change.add, change.drop, change.expires)
    ]
    if not run(MERGE, keys, fill, name, *arguments):
        raise OtherRedis("Redis is not the one that is named, or no longer filled by this process.")


def identity() -> str:
    """Return which server Redis is, in which of its lives as a primary. Raises RedisError."""
    found: str = run("return identity()", [])
    return found


def run(script: str, keys: Sequence[str], *arguments: Any) -> Any:
    """Run a script in Redis, behind common.lua; all of it or nothing. Raises RedisError."""
    return redis.client.eval(COMMON + script, len(keys), *keys, *arguments)


def _read_copy(names: Sequence[str]) -> list[str | None]:
    """Return what MGET does, without the marker unless it is the identity of who answers."""
    # Redis.execute_command() does not tell which connection it took, and costs more.
    pool = redis.client.connection_pool
    connection: Any = pool.get_connection()
    try:
        try:
            values = _mget(connection, names)
        except (RedisConnectionError, RedisTimeoutError):
            connection.disconnect()
            values = _mget(connection, names)  # connects
        if not _is_of(connection, values[0]):
            # Without a promotion it changes when the first replica comes or the last has gone.
            connection.identified_at = 0
            values = _mget(connection, names)
            if not _is_of(connection, values[0]):
                values[0] = None
        return values
    except BaseException:
        connection.disconnect()  # or the next to use it would read this one's answer
        raise
    finally:
        pool.release(connection)


def _is_of(connection: Any, marker: str | None) -> bool:
    return marker is None or marker.partition(":")[2] == connection.identity


def _mget(connection: Any, names: Sequence[str]) -> list[str | None]:
    connection.send_command("MGET", *names)
    ASKED.inc()
    # The server may have been another's replica since; asked in the same round trip.
    ask = time.monotonic() - connection.identified_at > TRUST_SECONDS
    if ask:
        connection.send_command("INFO")
    values: list[str | None] = connection.read_response()
    if ask:
        identify(connection, connection.read_response())
    return values


def _ask_postgres(keys: Sequence[str], texts: Sequence[str]) -> list[int]:
    """Return the values that Postgres has, and end the pendings whose transactions are over."""
    pendings = [
        (key, pending[0], pending[1])
        for key, text in zip(keys, texts, strict=True)
        for pending in PENDINGS.finditer(text)
    ]
    asked = time.monotonic()
    rows = TRUTH.rows(keys=list(keys), xids=[xid for _, _, xid in pendings])
    trust().learn([name for name, expires, _ in rows if expires == -1], asked)
    known = {name: Change(name, expires, value) for name, expires, value in rows}
    over = [
        known.get(key, Change(key))._replace(drop=pending)
        for key, pending, xid in pendings
        if xid in known
    ]
    if over:
        with suppress(RedisError):  # the next reader does it
            merge(over)
    # An asynchronous failover may have lost the row of a value: once committed, it stays true.
    in_copy = [text.rpartition("=")[2] for text in texts]
    return [
        max(known.get(key, Change(key)).value, int(value) if value.isdigit() else 0)
        for key, value in zip(keys, in_copy, strict=True)
    ]
