"""What has ended: rows of `revocations`, written in the transaction that revokes.

auth/blocklist.py is their copy in Redis, and argues that a token that is revoked stays so.

Redis has marks, too, so that nobody misses what he has just written because a standby does not have
it yet: before a write is answered, its user is marked for as long as a standby may be late. Who is
marked reads from the primary, and so does who cannot believe the copy. A mark is set in the Redis
that is named; a fill, which follows when another is named or this one has lost its memory, marks
everybody. A write that cannot be marked is answered so much later.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import g
from redis.exceptions import RedisError
from sqlalchemy import Text, cast, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from books_api.auth import blocklist
from books_api.auth.blocklist import Change, OtherRedis
from books_api.auth.blocklist_lease import ask, claim, trust
from books_api.auth.models import BlocklistCopy, Revocation
from books_api.auth.tokens import Identity
from books_api.config import CLOCK_LEEWAY
from books_api.extensions import db
from books_api.observability.metrics import SESSIONS_ENDED
from books_api.standby import LATE_MAX

MARK = (blocklist.LUA / "mark.lua").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of the blocklist, until when it blocks, and how many sessions end with it."""

    key: str
    value: int
    expires_at: datetime
    ends: int = 0

    @property
    def forget_at(self) -> datetime:
        return self.expires_at + timedelta(seconds=CLOCK_LEEWAY)


def is_revoked(identity: Identity, *, late: bool = False) -> bool:
    """Ask, in one round trip, whether the token has been revoked. Raises RedisError.

    With `late`, what is read afterwards may be late, unless the user has just written.
    """
    keys = (f"jti:{identity.jti}", f"sid:{identity.session_id}", f"epoch:{identity.user_id}")
    marks = (blocklist.MARKS, blocklist.MARKS + identity.user_id) if late else ()
    token, session, epoch, *marked = blocklist.read(keys, marks)
    if late:
        g.late = not any(marked)
    return token > 0 or session > 0 or epoch > identity.epoch


def mark(user_id: str) -> None:
    """Send what the user reads from now on to the primary, for a while."""
    with suppress(RedisError, SQLAlchemyError):
        told = trust()
        name = told.name if told.believes(told.name) else ask()
        key = blocklist.PREFIX + blocklist.MARKS + user_id
        if blocklist.run(MARK, [key], name, blocklist.MARKED_MS):
            return
    time.sleep(LATE_MAX)


def known_epoch(user_id: object) -> int:
    """Return the user's epoch that Redis knows, 0 if none. Raises RedisError."""
    return blocklist.read((f"epoch:{user_id}",))[0]


def commit_revoking(entries: Sequence[Entry], reason: str) -> None:
    """Commit the session's transaction, and revoke with it what the entries name, if anything."""
    with revoking(entries, reason) if entries else nullcontext():
        db.session.commit()


@contextmanager
def revoking(entries: Sequence[Entry], reason: str) -> Iterator[None]:
    """Revoke in the session's transaction, which the body of the `with` commits.

    The reason is for the metrics. Raises RedisError, with nothing changed, when Redis is away.
    """
    db.session.execute(select(func.pg_advisory_xact_lock_shared(blocklist.ADVISORY_LOCK)))
    statement = insert(Revocation).values(
        [{"key": e.key, "value": e.value, "expires_at": e.forget_at} for e in entries]
    )
    rows = db.session.execute(
        statement.on_conflict_do_update(
            index_elements=[Revocation.key],
            set_={
                name: func.greatest(getattr(Revocation, name), statement.excluded[name])
                for name in ("value", "expires_at")
            },
        ).returning(
            *blocklist.COLUMNS,
            cast(func.pg_current_xact_id(), Text),
            select(BlocklistCopy.name).scalar_subquery(),
        )
    ).all()
    *_, transaction_id, name = rows[0]
    pending = blocklist.pending_of(transaction_id)
    changes = [Change(*row[:-2]) for row in rows]
    adding = [change._replace(value=0, add=pending) for change in changes]
    try:
        blocklist.merge(adding, name=name or "none")
    except OtherRedis:  # this one is not named yet
        blocklist.merge(adding, name=claim(blocklist.identity))
    yield
    SESSIONS_ENDED.labels(reason).inc(sum(entry.ends for entry in entries))
    with suppress(RedisError):  # it is committed: the pending sends who asks to Postgres
        blocklist.merge([change._replace(drop=pending) for change in changes])
