"""Sessions: how they are opened and ended, and their tokens; refresh.py renews these.

A session that ends is deleted: what it needs further is its row in `revocations`. How many a user
may have is decided where they begin, in logins.py.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BindParameter, ColumnElement, and_, delete

from books_api.auth import tokens
from books_api.auth.exceptions import SessionNotFound, TokenRevoked
from books_api.auth.models import USER_AGENT_MAX, Session, User
from books_api.auth.revocation import Entry, commit_revoking
from books_api.auth.tokens import Identity
from books_api.config import current_settings
from books_api.extensions import db
from books_api.observability.logs import security_event

# FOR NO KEY UPDATE locks out the others that lock a user, or share it, and lets foreign keys refer
# to it: FOR UPDATE would wait for the user's import to end.
NO_KEY_UPDATE: dict[str, Any] = {"key_share": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair(tokens.AccessToken):
    refresh_token: str
    session_id: UUID


def open_session(user: User, *, user_agent: str) -> TokenPair:
    """Add a session to the transaction and return its first tokens."""
    now = datetime.now(UTC)
    expires_at = _idle_end(now, created_at=now)
    return token_pair(user, add_session(user, now, user_agent, expires_at, refresh_jti=uuid4()))


def add_session(
    user: User, now: datetime, user_agent: str, expires_at: datetime, **values: Any
) -> Session:
    """Add a session to the transaction, and send it: tokens carry its id."""
    shown = "".join(filter(str.isprintable, user_agent))[:USER_AGENT_MAX]
    session = Session(user_id=user.id, user_agent=shown, expires_at=expires_at, **values)
    session.created_at = session.last_used_at = now
    db.session.add(session)
    db.session.flush()
    return session


def restart(user: User, session: Session) -> TokenPair:
    """Give the session, in the transaction, new tokens of the user's new epoch."""
    now = datetime.now(UTC)
    session.refresh_jti, session.previous_jti = uuid4(), None
    session.last_used_at = now
    session.expires_at = _idle_end(now, created_at=session.created_at)
    return token_pair(user, session)


def live(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Return the condition for sessions that have not ended; `ended_at` is of an older version."""
    return and_(Session.ended_at.is_(None), Session.expires_at > now)


def live_user(identity: Identity, *, for_update: bool = False) -> User:
    """Return the user of a verified token. Raises TokenRevoked when the account is gone."""
    user = db.session.get(
        User,
        UUID(identity.user_id),
        with_for_update=NO_KEY_UPDATE if for_update else None,
        populate_existing=for_update,
    )
    if user is None or not user.is_active or user.token_epoch != identity.epoch:
        raise TokenRevoked
    return user


def logout(identity: Identity) -> None:
    """End the token's session: its access tokens and its refresh token are dead."""
    token = Entry(f"jti:{identity.jti}", 1, datetime.fromtimestamp(identity.expires_at, UTC))
    try:
        end(identity.session_id, identity.user_id, "logout", token)
    except SessionNotFound:
        raise TokenRevoked("The session has ended.") from None
    security_event("logout", user_id=identity.user_id, session_id=identity.session_id)


def end_session(identity: Identity, session_id: UUID) -> None:
    """End one of the user's own sessions. Raises SessionNotFound."""
    end(str(session_id), identity.user_id, "session_ended")
    security_event("session_ended", user_id=identity.user_id, session_id=session_id)


def raise_epoch(user: User, *, keep: Session | None = None) -> Entry:
    """End, in the transaction, every session of the user but `keep`.

    The user's row must be locked. Returns what commit_revoking() has to publish: tokens of an older
    epoch are dead, those issued from now on are good.
    """
    now = datetime.now(UTC)
    ending = delete(Session).where(Session.user_id == user.id, Session.ended_at.is_(None))
    if keep is not None:
        ending = ending.where(Session.id != keep.id)
    ended = db.session.scalars(ending.returning(Session.expires_at)).all()
    last = max([*ended, keep.expires_at if keep else now])
    user.token_epoch += 1
    return Entry(f"epoch:{user.id}", user.token_epoch, _last_token(last, now), len(ended))


def ended(session_id: UUID | str, expires_at: datetime) -> Entry:
    """Return what commit_revoking() has to publish of a session that is deleted."""
    return Entry(f"sid:{session_id}", 1, _last_token(expires_at, datetime.now(UTC)), ends=1)


def end(session_id: str, user_id: str, reason: str, *also: Entry) -> None:
    """End a session of the user, and commit. Raises SessionNotFound."""
    expires_at = db.session.scalar(
        delete(Session)
        .where(
            Session.id == UUID(session_id),
            Session.user_id == UUID(user_id),
            live(datetime.now(UTC)),
        )
        .returning(Session.expires_at)
    )
    if expires_at is None:
        raise SessionNotFound
    commit_revoking([ended(session_id, expires_at), *also], reason)


def token_pair(user: User, session: Session) -> TokenPair:
    """Return the session's tokens; who presents the same refresh token again gets the same pair."""
    if session.refresh_jti is None:
        raise ValueError("A script's session has no token pair.")
    at = session.last_used_at
    jti = tokens.derive_jti(session.refresh_jti, "access")
    return TokenPair(
        **asdict(tokens.issue_access_token(user, session, at=at, jti=jti)),
        refresh_token=tokens.issue_refresh_token(user, session, at=at, jti=session.refresh_jti),
        session_id=session.id,
    )


def _idle_end(now: datetime, *, created_at: datetime) -> datetime:
    settings = current_settings()
    return min(now + settings.refresh_token_expires, created_at + settings.session_expires)


def _last_token(expires_at: datetime, now: datetime) -> datetime:
    return max(expires_at, now + current_settings().access_token_expires)
