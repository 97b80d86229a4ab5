"""Logins and tokens for scripts: how a session is opened, and how many a user may have."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError
from sqlalchemy import Connection, Row, delete, func, literal, select

from books_api.auth import passwords
from books_api.auth.exceptions import TooManyScriptTokens, WrongCredentials
from books_api.auth.idempotency import fingerprint_of, run_idempotent
from books_api.auth.lockout import attempt
from books_api.auth.models import Session, SessionRow, User
from books_api.auth.revocation import Entry, commit_revoking, known_epoch
from books_api.auth.sessions import (
    NO_KEY_UPDATE,
    TokenPair,
    add_session,
    ended,
    live,
    live_user,
    open_session,
)
from books_api.auth.tokens import Identity, derive_jti, issue_access_token
from books_api.config import current_settings
from books_api.database import autocommit, orm_transaction
from books_api.extensions import db
from books_api.observability.logs import security_event
from books_api.observability.metrics import LOGINS_FAILED
from books_api.web.problems import RateLimited
from books_api.web.rate_limits import limits

OPENINGS = "session_limit"  # sessions that a user opens and ends: each leaves a row for days
ENDED_AT_ONCE = 1_000  # where a lower cap, or an older version, has left more than the cap


def login(email: str, password: str, *, user_agent: str, network: str) -> tuple[User, TokenPair]:
    """Open a session; over the cap, the user's oldest login ends.

    Raises WrongCredentials, alike for every reason, TooBusy and RateLimited.
    """
    # One row, found or not; and what is not found has the name that Postgres compares.
    given = select(func.lower(literal(email)).label("email")).subquery()
    credentials = select(given.c.email, User.id, User.password_hash, User.token_epoch).select_from(
        given.outerjoin(User, func.lower(User.email) == given.c.email)
    )
    with autocommit() as connection:  # hashing takes long; no transaction waits for it
        found = connection.execute(credentials).one()
    try:
        with attempt(str(found.id) if found.id else f"email {found.email}", network):
            return _log_in(found, password, user_agent)
    except RateLimited as error:
        if found.id:
            error.event_fields = {**error.event_fields, "user_id": found.id}
        raise


def _log_in(found: Row[Any], password: str, user_agent: str) -> tuple[User, TokenPair]:
    matches = passwords.verify_password(found.password_hash, password)
    renewed = None
    if found.id and matches and passwords.is_outdated(found.password_hash):
        renewed = passwords.hash_password(password)
    known = 0
    if found.id and matches:
        with suppress(RedisError):  # without it nobody is let in anyway
            known = known_epoch(found.id)
    # The lock keeps the cap: of two logins at once, the second counts the session of the first.
    user = db.session.get(User, found.id, with_for_update=NO_KEY_UPDATE) if found.id else None
    if (
        user is None
        or not matches
        or not user.is_active
        # A new password, which raises the epoch, and not another login that renewed the hash.
        or (user.password_hash != found.password_hash and user.token_epoch != found.token_epoch)
    ):
        security_event("login_failed", logging.WARNING, user_id=found.id)
        LOGINS_FAILED.inc()
        raise WrongCredentials
    limits().count(OPENINGS, str(user.id), "logins")  # which no stolen token uses up
    if renewed:
        user.password_hash = renewed
    # An asynchronous failover of Postgres may lose an epoch; below it no token would be let in.
    user.token_epoch = max(user.token_epoch, known)
    entries = _make_room(user)
    pair = open_session(user, user_agent=user_agent)
    commit_revoking(entries, "login_cap")
    security_event("login", user_id=user.id, session_id=pair.session_id)
    return user, pair


def _make_room(user: User) -> list[Entry]:
    """End, in the transaction, the oldest logins but for one less than the cap."""
    oldest = (
        select(Session.id)
        .where(Session.user_id == user.id, Session.name.is_(None), live(datetime.now(UTC)))
        .order_by(Session.created_at.desc(), Session.id.desc())
        .offset(current_settings().logins_per_user - 1)
        .limit(ENDED_AT_ONCE)
    )
    rows = db.session.execute(
        delete(Session).where(Session.id.in_(oldest)).returning(Session.id, Session.expires_at),
        execution_options={"synchronize_session": False},
    )
    return [ended(row.id, row.expires_at) for row in rows]


def create_script_token(
    identity: Identity, values: Mapping[str, Any], *, user_agent: str, key: str | None
) -> tuple[dict[str, Any], bool]:
    """Make a named token for a script, or return the one that this request made before and True.

    It is not stored: the same token is issued again from its session, its epoch and its role; what
    has revoked it meanwhile has revoked it for good. Raises TooManyScriptTokens and what
    run_idempotent() raises.
    """
    stored, is_replay = run_idempotent(
        identity.user_id,
        key,
        partial(fingerprint_of, b"POST /auth/sessions", values),
        partial(_open_script_session, identity, values, user_agent),
        begin=orm_transaction,
    )
    answer = stored["session"]
    if is_replay:  # out of JSON
        for name in ("created_at", "last_used_at", "expires_at"):
            answer[name] = datetime.fromisoformat(answer[name])
        answer["id"] = UUID(answer["id"])
    user = User(id=identity.user_id, role=stored["role"], token_epoch=stored["epoch"])
    jti = derive_jti(answer["id"], "access")
    token = issue_access_token(user, Session(**answer), at=answer["created_at"], jti=jti)
    return {**answer, "current": False, **asdict(token)}, is_replay


def _open_script_session(
    identity: Identity, values: Mapping[str, Any], user_agent: str, connection: Connection | None
) -> dict[str, Any]:
    """Add the session, and commit it unless a connection is given; return what makes its token."""
    user = live_user(identity, for_update=True)  # and of two at once the second counts the first
    most = current_settings().script_tokens_per_user
    mine = (Session.user_id == user.id, Session.name.is_not(None), live(datetime.now(UTC)))
    if db.session.scalars(select(func.count()).where(*mine)).one() >= most:
        raise TooManyScriptTokens(
            f"You have {most} tokens for scripts, the most allowed; end one first."
        )
    now = datetime.now(UTC)
    expires_at = now + timedelta(days=values["expires_in_days"])
    permitted = {name: values[name] for name in ("name", "read_only")}
    session = add_session(user, now, user_agent, expires_at, **permitted)
    answer = {name: getattr(session, name) for name in SessionRow._fields[:-1]}
    if connection is None:
        db.session.commit()
    security_event("script_token_created", user_id=user.id, session_id=session.id)
    return {"session": answer, "role": user.role, "epoch": user.token_epoch}
