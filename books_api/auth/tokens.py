"""JSON Web Tokens: what they carry, how they are issued, how they are verified (RFC 8725)."""

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID

import jwt as pyjwt
from flask import Flask
from flask_jwt_extended import create_access_token, create_refresh_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException

from books_api.auth.exceptions import TokenExpired, TokenRefused
from books_api.auth.models import Role, Session, User
from books_api.config import current_settings
from books_api.derived_keys import get_keys
from books_api.extensions import extension, jwt

TokenType = Literal["access", "refresh"]
REQUIRED_CLAIMS = frozenset(
    ("sub", "jti", "sid", "epoch", "role", "type", "iss", "aud", "iat", "exp")
)
SCOPES = (None, "read", "full")
TOKEN_LENGTH_MAX = 2_000  # ours have about 500 characters
REMEMBERED_TOKENS = 4_096


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends the request, as the verified token says it. Ids are UUIDs as text."""

    user_id: str
    session_id: str
    jti: str
    epoch: int
    role: str
    type: str
    scope: str | None
    expires_at: float

    @property
    def is_admin(self) -> bool:
        return self.role == Role.ADMIN


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """An access token as it is answered (RFC 6749, 5.1); `expires_in` is in seconds."""

    access_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105  # the name of a scheme


def init_app(app: Flask) -> None:
    """Give the application its own memory of verified tokens."""
    # Only the signature's verification is remembered, by the token itself; expiry and
    # revocation are asked on every request.
    app.extensions["verify_token"] = lru_cache(REMEMBERED_TOKENS)(_decode)


def verify(token: str) -> Identity:
    """Return whose token this is. Raises TokenRefused; does not ask whether it is revoked."""
    decode: Callable[[str], Identity] = extension("verify_token")
    if len(token) > TOKEN_LENGTH_MAX:
        raise TokenRefused
    identity = decode(token)
    if identity.expires_at <= time.time():
        raise TokenExpired
    return identity


def _decode(token: str) -> Identity:
    try:
        claims = decode_token(token)
    except pyjwt.ExpiredSignatureError:
        raise TokenExpired from None
    except (pyjwt.PyJWTError, JWTExtendedException, ValueError, TypeError, RecursionError):
        # The last three: claims that nobody has signed yet are parsed to find the key.
        raise TokenRefused from None
    return identity_from(claims)


def identity_from(claims: dict[str, Any]) -> Identity:
    """Return whom verified claims speak of. Raises TokenRefused when one is not ours."""
    epoch, scope = claims["epoch"], claims.get("scope")
    if type(epoch) is not int or claims["role"] not in tuple(Role) or scope not in SCOPES:
        raise TokenRefused
    try:
        user_id, session_id, jti = (str(UUID(claims[name])) for name in ("sub", "sid", "jti"))
    except (ValueError, TypeError, AttributeError):
        raise TokenRefused from None
    return Identity(
        user_id=user_id,
        session_id=session_id,
        jti=jti,
        epoch=epoch,
        role=claims["role"],
        type=claims["type"],
        scope=scope,
        expires_at=float(claims["exp"]),
    )


def key_ids() -> list[str]:
    """Return the `kid` of each signing key: tells keys apart, and nothing about them."""
    return [key.hex()[:8] for key in get_keys("key id")]


@jwt.additional_headers_loader
def _headers(identity: str) -> dict[str, str]:
    return {"kid": key_ids()[0]}


@jwt.decode_key_loader
def _decode_key(headers: dict[str, Any], claims: dict[str, Any]) -> str:
    # Here and not after decoding: the library fills in a missing type and jti.
    for missing in REQUIRED_CLAIMS - claims.keys():
        raise pyjwt.MissingRequiredClaimError(missing)
    settings = current_settings()
    previous = settings.jwt_secret_key_previous
    if previous:
        # And the id that version 1.0.0 gave it, of whose tokens some are good for months.
        old_id = hmac.digest(previous.encode(), b"kid", "sha256").hex()[:8]
        if headers.get("kid") in (key_ids()[1], old_id):
            return previous
    return settings.jwt_secret_key


def derive_jti(jti: UUID, use: TokenType) -> UUID:
    """Return the id that follows the refresh token `jti`: the same each time it is sent."""
    key, *_ = get_keys("token id")
    return UUID(bytes=hmac.digest(key, use.encode() + jti.bytes, "sha256")[:16], version=4)


def issue_access_token(user: User, session: Session, *, at: datetime, jti: UUID) -> AccessToken:
    """Return a token for the API, good for minutes; a script's lives as long as its session."""
    claims = _claims(user, session, at, jti)
    expires_at = session.expires_at
    if session.refresh_jti is None:
        claims["scope"] = "read" if session.read_only else "full"
    else:
        expires_at = min(expires_at, at + current_settings().access_token_expires)
    claims["exp"] = int(expires_at.timestamp())
    token = create_access_token(str(user.id), additional_claims=claims, expires_delta=False)
    # From when it was issued: who presents the same token again gets the same answer.
    return AccessToken(access_token=str(token), expires_in=claims["exp"] - claims["iat"])


def issue_refresh_token(user: User, session: Session, *, at: datetime, jti: UUID) -> str:
    """Return a refresh token, good as long as its session."""
    claims = _claims(user, session, at, jti)
    claims["exp"] = int(session.expires_at.timestamp())
    return str(create_refresh_token(str(user.id), additional_claims=claims, expires_delta=False))


def _claims(user: User, session: Session, at: datetime, jti: UUID) -> dict[str, Any]:
    return {
        "jti": str(jti),
        "sid": str(session.id),
        "epoch": user.token_epoch,
        "role": user.role,
        "iat": int(at.timestamp()),
    }
