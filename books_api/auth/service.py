"""Accounts: sign-up, profile, password, and what admins and operators do to them."""

import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

from flask import current_app
from itsdangerous import BadData, URLSafeTimedSerializer
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from books_api.auth import passwords, sessions
from books_api.auth.exceptions import (
    EmailTaken,
    LastAdmin,
    PasswordRequired,
    ResetTokenRefused,
    TokenRevoked,
    UsernameTaken,
    UserNotFound,
    WrongPassword,
)
from books_api.auth.models import Role, Session, User
from books_api.auth.revocation import revoking
from books_api.auth.sessions import NO_KEY_UPDATE, TokenPair, live_user
from books_api.auth.tokens import Identity
from books_api.database import autocommit
from books_api.extensions import db
from books_api.keys import get_keys
from books_api.observability.logs import security_event

RESET_SECONDS = 24 * 3600


def create_user(
    *,
    username: str,
    email: str,
    password: str,
    first_name: str = "",
    last_name: str = "",
    role: Role = Role.USER,
) -> User:
    """Add an account. Raises WeakPassword, EmailTaken, UsernameTaken and TooBusy."""
    _check_strength(password, username=username, email=email)
    user = User(
        username=username,
        email=email,
        password_hash=passwords.hash_password(password),
        first_name=first_name,
        last_name=last_name,
        role=role,
    )
    db.session.add(user)
    _commit_unique()
    security_event("user_created", user_id=user.id, role=user.role)
    return user


def get_user(user_id: UUID) -> User:
    """Return a user. Raises UserNotFound."""
    user = db.session.get(User, user_id)
    if user is None:
        raise UserNotFound
    return user


def find_user(email: str) -> User:
    """Return the user with this email, in any case. Raises UserNotFound."""
    user = db.session.scalar(select(User).where(func.lower(User.email) == func.lower(email)))
    if user is None:
        raise UserNotFound
    return user


def update_profile(identity: Identity, changes: Mapping[str, Any]) -> User:
    """Change one's own names, or the email with the current password.

    Raises PasswordRequired, WrongPassword, EmailTaken, UsernameTaken and TokenRefused.
    """
    changes = dict(changes)
    password = changes.pop("current_password", None)
    if "email" in changes and password is None:
        raise PasswordRequired
    if password is None:
        user = live_user(identity, for_update=True)  # or it may be deleted before it is changed
    else:
        user = _confirm(identity, password)
    if changes.get("email", user.email) != user.email:
        user.is_verified = False
        user.reset_epoch += 1  # a reset token that went to the old address
    for name, value in changes.items():
        setattr(user, name, value)
    _commit_unique()
    if "email" in changes:
        security_event("email_changed", user_id=user.id, session_id=identity.session_id)
    return user


def change_password(identity: Identity, current_password: str, new_password: str) -> TokenPair:
    """Set a new password, end every other session, and return new tokens for this one.

    Raises WrongPassword, WeakPassword, TokenRefused and TooBusy.
    """
    new_hash = _new_hash(live_user(identity), new_password, field="new_password")
    user = _confirm(identity, current_password)
    session = db.session.get(Session, UUID(identity.session_id), with_for_update=True)
    if session is None:
        raise TokenRevoked("The session has ended.")
    user.password_hash = new_hash
    entry = sessions.raise_epoch(user, keep=session)
    pair = sessions.restart(user, session)
    with revoking([entry], "password_changed"):
        db.session.commit()
    security_event("password_changed", user_id=user.id, session_id=session.id)
    return pair


def logout_everywhere(identity: Identity) -> None:
    """End every session of the user. Raises TokenRefused."""
    user = live_user(identity, for_update=True)
    with revoking([sessions.raise_epoch(user)], "logout_everywhere"):
        db.session.commit()
    security_event("logout_everywhere", user_id=user.id, session_id=identity.session_id)


def delete_account(identity: Identity, current_password: str) -> None:
    """Delete one's own account with its books. Raises WrongPassword and LastAdmin."""
    _check_password(identity, current_password)
    user_id = UUID(identity.user_id)
    if identity.is_admin:
        _keep_an_admin_without(user_id)  # locks in its order, so before our own row
    live_user(identity, for_update=True)  # refuses whose role is another by now
    _delete(user_id, editor=identity)


def set_password(user_id: UUID, new_password: str, field: str = "new_password") -> None:
    """Set a password and end every session. Raises UserNotFound and WeakPassword."""
    user = get_user(user_id)
    new_hash = _new_hash(user, new_password, field=field)
    _set_password_hash(_lock(user_id), new_hash)


def make_reset_token(user: User) -> str:
    """Return a token that sets one new password within RESET_SECONDS; older ones are dead.

    So is this one when the email changes. Raises UserNotFound.
    """
    user = _lock(user.id)
    user.reset_epoch += 1
    db.session.commit()
    security_event("password_reset_issued", user_id=user.id)
    return str(_reset_serializer().dumps([str(user.id), *_epochs(user)]))


def reset_password(token: str, new_password: str) -> UUID:
    """Set a new password with a reset token, end every session, and return whose it is.

    The token is bound to the token epoch, which this raises: it works once. Raises
    ResetTokenRefused, WeakPassword and TooBusy.
    """
    try:
        user_id, *epochs = _reset_serializer().loads(token, max_age=RESET_SECONDS)
        user = get_user(UUID(user_id))
    except (BadData, UserNotFound):
        raise _refused_reset() from None
    if _epochs(user) != epochs or not user.is_active:
        raise _refused_reset()
    new_hash = _new_hash(user, new_password, field="new_password")
    user = _lock(user.id)
    if _epochs(user) != epochs:
        raise _refused_reset()
    _set_password_hash(user, new_hash)
    return user.id


def update_user(
    user_id: UUID, changes: Mapping[str, Any], *, editor: Identity | None = None
) -> User:
    """Change role, is_active or is_verified; the first two end the user's sessions.

    Without an editor it is the operator who does it. Raises UserNotFound, and
    LastAdmin when no active admin would be left.
    """
    if changes.get("role", Role.ADMIN) != Role.ADMIN or changes.get("is_active") is False:
        _keep_an_admin_without(user_id)
    user = _lock(user_id)
    revoked = any(
        name in changes and getattr(user, name) != changes[name] for name in ("role", "is_active")
    )
    for name, value in changes.items():
        setattr(user, name, value)
    if revoked:
        with revoking([sessions.raise_epoch(user)], "user_changed"):
            db.session.commit()
    else:
        db.session.commit()
    security_event("user_changed", user_id=user_id, **_by(editor), **changes)
    return user


def delete_user(user_id: UUID) -> None:
    """Delete an account with its books; its tokens are dead. Raises UserNotFound, LastAdmin."""
    _keep_an_admin_without(user_id)
    _delete(user_id, editor=None)


def _delete(user_id: UUID, *, editor: Identity | None) -> None:
    user = _lock(user_id, delete=True)
    entry = sessions.raise_epoch(user)
    db.session.delete(user)
    with revoking([entry], "user_deleted"):
        db.session.commit()
    security_event("user_deleted", user_id=user_id, **_by(editor))


def _confirm(identity: Identity, password: str) -> User:
    _check_password(identity, password)
    # Refuses when there is a new password by now: that has raised the epoch.
    return live_user(identity, for_update=True)


def _check_password(identity: Identity, password: str) -> None:
    with autocommit() as connection:  # hashing takes long; no transaction waits for it
        password_hash = connection.scalar(
            select(User.password_hash).where(User.id == UUID(identity.user_id))
        )
    if not passwords.verify_password(password_hash, password):
        security_event(
            "password_confirmation_failed",
            logging.WARNING,
            user_id=identity.user_id,
            session_id=identity.session_id,
        )
        raise WrongPassword


def _by(editor: Identity | None) -> dict[str, Any]:
    if editor is None:
        return {"editor_id": None, "session_id": None}
    return {"editor_id": editor.user_id, "session_id": editor.session_id}


def _check_strength(password: str, **of_user: str) -> None:
    words = current_app.config["SETTINGS"].password_words
    passwords.check_password_strength(password, words=words, **of_user)


def _new_hash(user: User, password: str, *, field: str) -> str:
    username, email = user.username, user.email
    db.session.rollback()  # hashing takes long; no transaction waits for it
    _check_strength(password, username=username, email=email, field=field)
    return passwords.hash_password(password)


def _set_password_hash(user: User, password_hash: str) -> None:
    user.password_hash = password_hash
    with revoking([sessions.raise_epoch(user)], "password_set"):
        db.session.commit()
    security_event("password_set", user_id=user.id)


def _refused_reset() -> ResetTokenRefused:
    security_event("password_reset_failed", logging.WARNING)
    return ResetTokenRefused()


def _lock(user_id: UUID, *, delete: bool = False) -> User:
    # What this session has read before, it has read without the lock. To delete takes all of FOR
    # UPDATE, and waits here for the user's import: before anything is said to be revoked.
    lock = True if delete else NO_KEY_UPDATE
    user = db.session.get(User, user_id, with_for_update=lock, populate_existing=True)
    if user is None:
        raise UserNotFound
    return user


def _keep_an_admin_without(user_id: UUID) -> None:
    # Locks every active admin, always in the same order: of two who demote each other at once
    # the second waits here, and then finds itself the last.
    admins: Sequence[UUID] = db.session.scalars(
        select(User.id)
        .where(User.role == Role.ADMIN, User.is_active)
        .order_by(User.id)
        .with_for_update(**NO_KEY_UPDATE)
    ).all()
    if list(admins) == [user_id]:
        raise LastAdmin


def _commit_unique() -> None:
    try:
        db.session.commit()
    except IntegrityError as error:
        db.session.rollback()
        violated = getattr(error.orig, "diag", None)
        match violated.constraint_name if violated else None:
            case "uq_users_email":
                raise EmailTaken from None
            case "uq_users_username":
                raise UsernameTaken from None
        raise


def _reset_serializer() -> URLSafeTimedSerializer:
    keys = get_keys("password reset")[::-1]  # the last one signs
    signer = {"key_derivation": "none", "digest_method": sha256}
    return URLSafeTimedSerializer(keys, signer_kwargs=signer)


def _epochs(user: User) -> list[int]:
    return [user.token_epoch, user.reset_epoch]
