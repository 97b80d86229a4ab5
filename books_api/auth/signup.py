"""Sign-up, which may be sent again.

The same email and password find the account that the first request has made. The fingerprint of
the request leaves the password out: only its slow hash is stored.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import func, select

from books_api.auth import passwords
from books_api.auth.exceptions import EmailTaken, KeyReused, UsernameTaken, WrongPassword
from books_api.auth.idempotency import KEPT, fingerprint_of
from books_api.auth.lockout import attempt
from books_api.auth.models import IdempotencyKey, User, UserRow
from books_api.auth.users import create_user
from books_api.database import autocommit
from books_api.extensions import db


def sign_up(values: Mapping[str, Any], *, key: str | None, network: str) -> tuple[Any, bool]:
    """Add an account, or return the one that this request added before and True."""
    if key is None:
        return create_user(**values), False
    stated = {name: value for name, value in values.items() if name != "password"}
    fingerprint = fingerprint_of(b"POST /auth/signup", stated)

    def store(user: User) -> None:
        answer = {name: getattr(user, name) for name in UserRow._fields}
        body = orjson.dumps(answer).decode()
        db.session.add(IdempotencyKey(user_id=user.id, key=key, fingerprint=fingerprint, body=body))

    first = _find(values["email"], key)
    if first is None:
        try:
            return create_user(**values, then=store), False
        except (EmailTaken, UsernameTaken):  # of two at once the second waits for the first
            first = _find(values["email"], key)
            if first is None:
                raise
    try:
        with attempt(str(first.user_id), network):  # or a key that is easily guessed would help
            if not passwords.verify_password(first.password_hash, values["password"]):
                raise WrongPassword
    except WrongPassword:
        raise KeyReused from None
    if first.fingerprint != fingerprint:
        raise KeyReused
    answer = orjson.loads(first.body)
    moments = {name: datetime.fromisoformat(answer[name]) for name in ("created_at", "updated_at")}
    return answer | moments, True


def _find(email: str, key: str) -> Any:
    statement = (
        select(IdempotencyKey, User.password_hash)
        .join(User, User.id == IdempotencyKey.user_id)
        .where(
            func.lower(User.email) == func.lower(email),
            IdempotencyKey.key == key,
            IdempotencyKey.created_at > func.now() - KEPT,
        )
    )
    with autocommit() as connection:
        return connection.execute(statement).one_or_none()
