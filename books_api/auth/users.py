"""Users: how they are created, their profile, their password, and what admins do to them."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from books_api.auth import passwords, sessions
from books_api.auth.exceptions import (
    EmailTaken,
    LastAdmin,
    TokenRevoked,
    UsernameTaken,
    UserNotFound,
    WrongPassword,
)
from books_api.auth.models import Role, Session, User
from books_api.auth.revocation import commit_revoking
from books_api.auth.sessions import NO_KEY_UPDATE, TokenPair, live_user
from books_api.auth.tokens import Identity
from books_api.config import current_settings
from books_api.database import autocommit
from books_api.extensions import db
from books_api.observability.logs import security_event
from books_api.web.problems import InvalidInput, Message

UNIQUE = {"uq_users_email": EmailTaken, "uq_users_username": UsernameTaken}


def get_user(user_id: UUID) -> User:
    """Return a user. Raises UserNotFound."""
    return _found(db.session.get(User, user_id))


def find_user(email: str) -> User:
    """Return the user with this email, in any case. Raises UserNotFound."""
    of_email = func.lower(User.email) == func.lower(email)
    return _found(db.session.scalar(select(User).where(of_email)))


def _found(user: User | None) -> User:
    if user is None:
        raise UserNotFound
    return user


def create_user(
    password: str, *, then: Callable[[User], None] | None = None, **values: str
) -> User:
    """Add an account with these values, and do `then` in its transaction."""
    password_hash = _hash_strong(password, username=values["username"], email=values["email"])
    user = User(**values, password_hash=password_hash)
    with unique_names():
        db.session.add(user)
        db.session.flush()
        if then is not None:
            then(user)
        db.session.commit()
    security_event("user_created", user_id=user.id, role=user.role)
    return user


def update_profile(identity: Identity, changes: Mapping[str, Any]) -> User:
    """Change one's own names, or the email with the current password."""
    changes = dict(changes)
    password = changes.pop("current_password", None)
    if "email" in changes and password is None:
        message = Message("required", "Is required to change the email.")
        raise InvalidInput({"current_password": [message]})
    if password is not None:
        _check_password(identity, password)
    user = live_user(identity, for_update=True)  # or it may be deleted before it is changed
    if changes.get("email", user.email) != user.email:
        user.is_verified = False
        user.reset_epoch += 1  # a reset token that went to the old address
    for name, value in changes.items():
        setattr(user, name, value)
    with unique_names():
        db.session.commit()
    if "email" in changes:
        security_event("email_changed", user_id=user.id, session_id=identity.session_id)
    return user


def change_password(identity: Identity, current_password: str, new_password: str) -> TokenPair:
    """Set a new password, end every other session, and return new tokens for this one."""
    new_hash = new_password_hash(live_user(identity), new_password)
    _check_password(identity, current_password)
    # Refuses when there is a new password by now: that has raised the epoch.
    user = live_user(identity, for_update=True)
    session = db.session.get(Session, UUID(identity.session_id), with_for_update=True)
    if session is None:
        raise TokenRevoked("The session has ended.")
    user.password_hash = new_hash
    entry = sessions.raise_epoch(user, keep=session)
    pair = sessions.restart(user, session)
    commit_revoking([entry], "password_changed")
    security_event("password_changed", user_id=user.id, session_id=session.id)
    return pair


def logout_everywhere(identity: Identity) -> None:
    """End every session of the user. Raises TokenRefused."""
    user = live_user(identity, for_update=True)
    commit_revoking([sessions.raise_epoch(user)], "logout_everywhere")
    security_event("logout_everywhere", user_id=user.id, session_id=identity.session_id)


def delete_account(identity: Identity, current_password: str) -> None:
    """Delete one's own account with its books. Raises WrongPassword and LastAdmin."""
    _check_password(identity, current_password)
    user_id = UUID(identity.user_id)
    if identity.is_admin:
        _keep_an_admin_without(user_id)  # locks in its order, so before our own row
    live_user(identity, for_update=True)  # refuses whose role is another by now
    _delete(user_id, editor=identity)


def set_password(user_id: UUID, new_password: str) -> None:
    """Set a password and end every session. Raises UserNotFound and WeakPassword."""
    user = get_user(user_id)
    new_hash = new_password_hash(user, new_password)
    store_password_hash(lock_user(user_id), new_hash)


def update_user(
    user_id: UUID, changes: Mapping[str, Any], *, editor: Identity | None = None
) -> User:
    """Change role, is_active or is_verified; the first two end the user's sessions.

    No editor means an operator. Raises UserNotFound, and LastAdmin when no admin would be left.
    """
    if changes.get("role", Role.ADMIN) != Role.ADMIN or changes.get("is_active") is False:
        _keep_an_admin_without(user_id)
    user = lock_user(user_id)
    revoked = any(
        name in changes and getattr(user, name) != changes[name] for name in ("role", "is_active")
    )
    for name, value in changes.items():
        setattr(user, name, value)
    commit_revoking([sessions.raise_epoch(user)] if revoked else [], "user_changed")
    security_event("user_changed", user_id=user_id, **_by(editor), **changes)
    return user


def delete_user(user_id: UUID) -> None:
    """Delete an account with its books; its tokens are dead. Raises UserNotFound, LastAdmin."""
    _keep_an_admin_without(user_id)
    _delete(user_id, editor=None)


def _delete(user_id: UUID, *, editor: Identity | None) -> None:
    user = lock_user(user_id, delete=True)
    entry = sessions.raise_epoch(user)
    db.session.delete(user)
    commit_revoking([entry], "user_deleted")
    security_event("user_deleted", user_id=user_id, **_by(editor))


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
    return {"editor_id": editor and editor.user_id, "session_id": editor and editor.session_id}


def new_password_hash(user: User, password: str) -> str:
    """Return the hash of a new password. Ends the transaction. Raises WeakPassword and TooBusy."""
    username, email = user.username, user.email
    db.session.rollback()  # hashing takes long; no transaction waits for it
    return _hash_strong(password, username=username, email=email, field="new_password")


def _hash_strong(password: str, **of_user: str) -> str:
    """Return the hash. Raises WeakPassword and TooBusy."""
    words = current_settings().password_words
    passwords.check_password_strength(password, words=words, **of_user)
    return passwords.hash_password(password)


def store_password_hash(user: User, password_hash: str) -> None:
    """Give the locked user a password, end every session, and commit."""
    user.password_hash = password_hash
    commit_revoking([sessions.raise_epoch(user)], "password_set")
    security_event("password_set", user_id=user.id)


def lock_user(user_id: UUID, *, delete: bool = False) -> User:
    """Return the user, locked and read anew. Raises UserNotFound."""
    # What this session has read before, it has read without the lock. To delete takes all of FOR
    # UPDATE, and waits here for the user's import: before anything is said to be revoked.
    lock = True if delete else NO_KEY_UPDATE
    return _found(db.session.get(User, user_id, with_for_update=lock, populate_existing=True))


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


@contextmanager
def unique_names() -> Iterator[None]:
    """Turn a refusal of UNIQUE, in the body of the `with`, into EmailTaken or UsernameTaken."""
    try:
        yield
    except IntegrityError as error:
        db.session.rollback()
        taken = UNIQUE.get(getattr(getattr(error.orig, "diag", None), "constraint_name", ""))
        if taken is None:
            raise
        raise taken from None
