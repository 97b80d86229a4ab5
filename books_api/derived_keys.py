"""One key for each use but JWTs, derived from the secret: none tells about another."""

import hmac
from typing import Literal, get_args

from flask import Flask, current_app

Use = Literal["attempt", "cursor", "key id", "password reset", "token id"]


def init_app(app: Flask) -> None:
    """Derive the keys of the secret and of the one before it, if there is one."""
    settings = app.config["SETTINGS"]
    secrets = [settings.jwt_secret_key, settings.jwt_secret_key_previous]
    app.extensions["keys"] = {
        use: tuple(hkdf(secret.encode(), use.encode()) for secret in secrets if secret)
        for use in get_args(Use)
    }


def get_keys(use: Use) -> tuple[bytes, ...]:
    """Return the current key and, if there is one, the previous key, which only verifies."""
    keys: dict[Use, tuple[bytes, ...]] = current_app.extensions["keys"]
    return keys[use]


def hkdf(secret: bytes, info: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA256 without a salt (RFC 5869): one block of its output."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")
