"""What has ended: rows of `revocations`, written in the transaction that revokes.

auth/blocklist.py is their copy in Redis, and argues that a token that is revoked stays so.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from redis.exceptions import RedisError
from sqlalchemy import Text, cast, func, select
from sqlalchemy.dialects.postgresql import insert

from books_api.auth import blocklist
from books_api.auth.blocklist import Change, OtherRedis
from books_api.auth.blocklist_lease import claim
from books_api.auth.models import BlocklistCopy, Revocation
from books_api.auth.tokens import Identity
from books_api.config import CLOCK_LEEWAY
from books_api.extensions import db
from books_api.observability.metrics import SESSIONS_ENDED


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


def is_revoked(identity: Identity) -> bool:
    """Ask, in one round trip, whether the token has been revoked. Raises RedisError."""
    token, session, epoch = blocklist.read(
        (f"jti:{identity.jti}", f"sid:{identity.session_id}", f"epoch:{identity.user_id}")
    )
    return token > 0 or session > 0 or epoch > identity.epoch


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
        blocklist.merge(adding, name=claim(blocklist.identity()))
    yield
    SESSIONS_ENDED.labels(reason).inc(sum(entry.ends for entry in entries))
    with suppress(RedisError):  # it is committed: the pending sends who asks to Postgres
        blocklist.merge([change._replace(drop=pending) for change in changes])
