"""Password resets: an operator issues a token, its bearer sets one new password."""

import logging
from hashlib import sha256
from uuid import UUID

from itsdangerous import BadData, URLSafeTimedSerializer

from books_api.auth import users
from books_api.auth.exceptions import ResetTokenRefused, UserNotFound
from books_api.auth.models import User
from books_api.derived_keys import get_keys
from books_api.extensions import db
from books_api.observability.logs import security_event
from books_api.web.problems import Problem

RESET_SECONDS = 24 * 3600


def make_reset_token(user: User) -> str:
    """Return a token for one new password; older ones are dead. Raises UserNotFound."""
    user = users.lock_user(user.id)
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
        user = users.get_user(UUID(user_id))
    except (BadData, UserNotFound):
        raise _refused_reset() from None
    if _epochs(user) != epochs or not user.is_active:
        raise _refused_reset()
    new_hash = users.new_password_hash(user, new_password)
    user = users.lock_user(user.id)
    if _epochs(user) != epochs:
        raise _refused_reset()
    users.store_password_hash(user, new_hash)
    return user.id


def _refused_reset() -> Problem:
    security_event("password_reset_failed", logging.WARNING)
    return ResetTokenRefused()


def _reset_serializer() -> URLSafeTimedSerializer:
    keys = get_keys("password reset")[::-1]  # the last one signs
    signer = {"key_derivation": "none", "digest_method": sha256}
    return URLSafeTimedSerializer(keys, signer_kwargs=signer)


def _epochs(user: User) -> list[int]:
    return [user.token_epoch, user.reset_epoch]
