"""Who may use a route: the decorators, and the identity that they establish."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from flask import request

from books_api.auth import tokens
from books_api.auth.exceptions import (
    LoginRequired,
    RoleRequired,
    TokenExpired,
    TokenMissing,
    TokenReadOnly,
    TokenRefused,
    TokenRevoked,
)
from books_api.auth.models import Role
from books_api.auth.revocation import is_revoked, mark
from books_api.auth.tokens import Identity, TokenType
from books_api.database import STANDBY
from books_api.extensions import extension, jwt
from books_api.observability.requests import current_request
from books_api.web.openapi import View, documented
from books_api.web.problems import problem_response

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))


def identity() -> Identity:
    """Return who sends the current request; only where token_required() decorates the view."""
    return cast(Identity, current_request().identity)


def token_required(
    *types: TokenType,
    login: bool = False,
    role: Role | None = None,
    late: bool = False,
    writes: bool = False,
) -> Callable[[View], View]:
    """Let in who bears a token of one of the types (access if none is named), not revoked.

    A read-only token is refused on unsafe methods; with `login`, every script's token is. With
    `late` a standby may answer, but no further page, which must not be older than the one before;
    with `writes` its user's next reads are not late. Raises TokenRefused, TokenReadOnly,
    LoginRequired, RoleRequired; RedisError when Redis is silent.
    """
    accepted = types or ("access",)

    def decorator(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            uses_standby = (late or writes) and extension(STANDBY) is not None
            is_late = uses_standby and late and "cursor" not in request.args
            who = authenticate(accepted, login=login, late=is_late)
            if role not in (None, who.role):
                raise RoleRequired(f"Only for users with the role {role}.")
            answer = view(*args, **kwargs)
            if uses_standby and writes:
                mark(who.user_id)
            return answer

        return documented(security=[{"bearer": []}])(cast(View, wrapper))

    return decorator


def sent_by_admin() -> bool:
    """Tell whether an admin sends a request that needs no token; raises for a bad token."""
    if "Authorization" not in request.headers:
        return False
    return authenticate(("access",), login=True).is_admin


def authenticate(accepted: tuple[str, ...], *, login: bool = False, late: bool = False) -> Identity:
    """Return whose bearer token the request carries (RFC 6750, 2.1), as token_required() says."""
    request = current_request()
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise TokenMissing(f"Send the {accepted[0]} token: Authorization: Bearer <token>.")
    token = token.strip()
    if not token or " " in token:
        raise TokenRefused("The Authorization header must be: Bearer <token>.")
    request.bearer = who = tokens.verify(token)
    if who.type not in accepted:
        raise TokenRefused(f"This is a {who.type} token; send the {accepted[0]} token.")
    if is_revoked(who, late=late):
        raise TokenRevoked
    request.identity = who
    if who.scope == "read" and request.method not in SAFE_METHODS:
        raise TokenReadOnly
    if who.scope is not None and login:
        raise LoginRequired
    return who


# A route that somebody guards with the library's jwt_required() is as safe as ours: what it lets in
# passes all of our checks, what it refuses is answered as we answer it.


@jwt.token_in_blocklist_loader
def _check_token(header: dict[str, Any], claims: dict[str, Any]) -> bool:
    authenticate(("access", "refresh"))  # of this type, says the library
    return False


for _loader, _problem in (
    (jwt.unauthorized_loader, TokenMissing),
    (jwt.invalid_token_loader, TokenRefused),
    (jwt.expired_token_loader, TokenExpired),
    (jwt.needs_fresh_token_loader, LoginRequired),
):
    _loader(lambda *_, kind=_problem: problem_response(kind()))
