"""One key for each use but JWTs, derived from the secret: none tells about another."""

import hmac
from functools import lru_cache
from typing import Literal

from books_api.config import current_settings

Use = Literal["attempt", "cursor", "key id", "password reset", "token id"]


def get_keys(use: Use) -> tuple[bytes, ...]:
    """Return the current key and, if there is one, the previous key, which only verifies."""
    settings = current_settings()
    return _derive(use, settings.jwt_secret_key, settings.jwt_secret_key_previous)


@lru_cache
def _derive(use: Use, *secrets: str | None) -> tuple[bytes, ...]:
    return tuple(hkdf(secret.encode(), use.encode()) for secret in secrets if secret)


def hkdf(secret: bytes, info: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA256 without a salt (RFC 5869): one block of its output."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")
