"""Refresh tokens: rotation, and re-use detection (RFC 9700, 4.14.2)."""

import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import func, update

from books_api.auth import tokens
from books_api.auth.exceptions import SessionNotFound, TokenRevoked
from books_api.auth.models import Session
from books_api.auth.sessions import TokenPair, end, live, live_user, token_pair
from books_api.auth.tokens import Identity
from books_api.config import current_settings
from books_api.extensions import db
from books_api.observability.logs import security_event
from books_api.web.problems import Problem

LOST_ANSWER = timedelta(seconds=30)


def new_access_token(identity: Identity) -> tokens.AccessToken:
    """Return another access token, and change nothing. Raises TokenRevoked."""
    now = datetime.now(UTC)
    session = _read_session(identity, now)
    user = live_user(identity)  # read last, as in rotate()
    presented = UUID(identity.jti)
    if presented != session.refresh_jti and not _just_spent(session, presented, now):
        raise _reused(session)
    security_event("token_refreshed", user_id=user.id, session_id=session.id)
    return tokens.issue_access_token(user, session, at=now, jti=uuid4())


def rotate(identity: Identity) -> TokenPair:
    """Spend the refresh token and return its successor and an access token.

    Spent again within LOST_ANSWER, and before its successor is, it returns the same pair.
    Later, or after that, somebody holds a copy: the session ends. Raises TokenRevoked.
    """
    now = datetime.now(UTC)
    presented = UUID(identity.jti)
    session_id = UUID(identity.session_id)
    rotated = db.session.scalar(
        update(Session)
        .where(Session.id == session_id, Session.refresh_jti == presented, live(now))
        .values(
            previous_jti=presented,
            refresh_jti=tokens.derive_jti(presented, "refresh"),
            last_used_at=now,
            expires_at=func.least(
                now + current_settings().refresh_token_expires,
                Session.created_at + current_settings().session_expires,
            ),
        )
        .returning(Session)
    )
    session = rotated or _read_session(identity, now)
    # Read last: a new password, which changes the session too, is not taken for re-use.
    user = live_user(identity)
    if not rotated and not _just_spent(session, presented, now):
        raise _reused(session)
    pair = token_pair(user, session)
    if rotated:
        db.session.commit()
        security_event("token_refreshed", user_id=user.id, session_id=session_id)
    return pair


def _read_session(identity: Identity, now: datetime) -> Session:
    session = db.session.get(Session, UUID(identity.session_id), populate_existing=True)
    if session is None or session.ended_at is not None or session.expires_at <= now:
        raise TokenRevoked("The session has ended.")
    return session


def _reused(session: Session) -> Problem:
    """End the session of a refresh token that was spent before, and return the refusal."""
    security_event(
        "refresh_token_reused", logging.WARNING, user_id=session.user_id, session_id=session.id
    )
    with suppress(SessionNotFound):  # sent twice at once: the other one has ended it
        end(str(session.id), str(session.user_id), "refresh_token_reused")
    return TokenRevoked("The refresh token was used before; the session has ended. Log in again.")


def _just_spent(session: Session, presented: UUID, now: datetime) -> bool:
    return presented == session.previous_jti and now - session.last_used_at <= LOST_ANSWER
