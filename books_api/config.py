"""Settings from the environment: read once, typed, checked at start."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from environs import Env, EnvValidationError
from flask import current_app
from limits import parse_many
from marshmallow import ValidationError
from marshmallow.validate import OneOf

from books_api.server_urls import database_url, redis_url
from books_api.version import __version__

# Bytes of a request's body; deploy/nginx.conf has the same.
AUTH_BODY_MAX, BODY_MAX, IMPORT_BODY_MAX = 16 * 1024, 1024 * 1024, 16 * 1024 * 1024
KEY_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518, 3.2
WELL_KNOWN_KEYS = {
    "a-string-secret-at-least-256-bits-long",  # jwt.io
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",  # jwt.io
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's tutorial
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",  # Flask's quick start
}
# Each of these may stand in a file instead, which NAME_FILE names.
KEYS = ("JWT_SECRET_KEY", "JWT_SECRET_KEY_PREVIOUS")
SECRETS = ("DATABASE_URL", "DATABASE_READ_URL", "REDIS_URL", *KEYS)
# A variable that begins so is meant for this service. DATABASE_ and REDIS_ are not among them:
# platforms set variables of their own with these, and so does Kubernetes with a service's name.
PREFIXES = ("JWT_", "SIGNUP_", "SIGN_UP_", "REFRESH_TOKEN_", "PASSWORD_RESET_", "CORS_")
KUBERNETES = re.compile(r".+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")
TRUE_OR_FALSE: dict[str, Any] = {
    "truthy": {"true", "True", "TRUE"},
    "falsy": {"false", "False", "FALSE"},
    "error_messages": {"invalid": "must be true or false."},
}
YEAR = 366 * 24 * 3600
LIKENESS = 0.85  # of DATABASE_URI and DATABASE_URL: 0.92; of REDIS_TLS_URL and REDIS_URL: 0.82


class ConfigError(Exception):
    """A setting is missing or wrong; the text is one line that names it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that can be set. Durations are timedeltas; TRUSTED_PROXIES counts hops."""

    database_url: str
    redis_url: str
    jwt_secret_key: str
    database_read_url: str | None = None
    jwt_secret_key_previous: str | None = None
    jwt_algorithm: str = "HS256"
    access_token_expires: timedelta = timedelta(minutes=15)
    refresh_token_expires: timedelta = timedelta(days=7)
    session_expires: timedelta = timedelta(days=90)
    signup_enabled: bool = True
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: int = 0
    login_limit: str = "10 per minute"
    login_account_limit: str = "5 per minute; 30 per day"
    login_account_total_limit: str = "100 per day"
    signup_limit: str = "10 per hour"
    refresh_limit: str = "60 per minute"
    password_reset_limit: str = "10 per hour"  # noqa: S105  # a limit, not a password
    session_limit: str = "30 per minute"
    logins_per_user: int = 100
    script_tokens_per_user: int = 50
    password_words: tuple[str, ...] = ()
    database_pool_size: int = 10
    log_format: str = "json"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings; raises ConfigError for one that is missing, wrong or unknown."""
        read = _Reader(environ)
        algorithm = read.str("JWT_ALGORITHM", cls.jwt_algorithm, validate=_one_of(*KEY_BYTES))
        settings = cls(
            database_url=read.database_url("DATABASE_URL"),
            database_read_url=read.database_read_url("DATABASE_READ_URL", None),
            redis_url=read.redis_url("REDIS_URL", read.redis_host()),
            jwt_secret_key=read.key("JWT_SECRET_KEY", algorithm=algorithm),
            jwt_secret_key_previous=read.key("JWT_SECRET_KEY_PREVIOUS", None, algorithm=algorithm),
            jwt_algorithm=algorithm,
            access_token_expires=read.minutes("ACCESS_TOKEN_EXPIRE_MINUTES", 15, most=24 * 60),
            refresh_token_expires=read.days("REFRESH_TOKEN_EXPIRE_DAYS", 7, most=365),
            session_expires=read.days("SESSION_EXPIRE_DAYS", 90, most=3650),
            signup_enabled=read.bool("SIGNUP_ENABLED", True, **TRUE_OR_FALSE),
            cors_origins=read.origins("CORS_ORIGINS", ""),
            trusted_proxies=read.integer("TRUSTED_PROXIES", 0, least=0, most=10),
            **{
                name: read.limit(name.upper(), getattr(cls, name))
                for name in cls.__annotations__
                if name.endswith("_limit")
            },
            logins_per_user=read.integer("LOGINS_PER_USER", 100, most=10_000),
            script_tokens_per_user=read.integer("SCRIPT_TOKENS_PER_USER", 50, most=10_000),
            password_words=read.words("PASSWORD_WORDS", ""),
            database_pool_size=read.integer("DATABASE_POOL_SIZE", 10, most=1000),
            log_format=read.str("LOG_FORMAT", "json", validate=_one_of("json", "text")),
        )
        read.check()
        return settings


class _Reader(Env):
    """environs over a mapping. What is wrong is collected until check()."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(eager=False)
        self.given = {name: text for name, text in environ.items() if text}
        self.known = {f"{name}_FILE" for name in SECRETS}
        for name, parser in PARSERS.items():
            self.add_parser(name, parser)

    def _get_value(self, env_key: str, default: Any) -> Any:
        self.known.add(env_key)
        file = self.given.get(f"{env_key}_FILE") if env_key in SECRETS else None
        if file is None:
            return self.given.get(env_key, default)
        if env_key in self.given:
            raise ConfigError(f"{env_key} and {env_key}_FILE are both set; keep one of them.")
        return _read_secret(f"{env_key}_FILE", file)

    def redis_host(self) -> Any:
        """Return the URL that REDIS_HOST and REDIS_PORT make, or ..., environs' word for unset."""
        if self.given.keys() & {"REDIS_URL", "REDIS_URL_FILE"}:
            return ...
        host, port = self.str("REDIS_HOST", None), self.integer("REDIS_PORT", 6379)
        return f"redis://{host}:{port}/0" if host else ...

    def check(self) -> None:
        """Raise ConfigError for an unknown variable that looks like ours, then for a wrong one."""
        # With a REDIS_URL the other form is not read: what looks like it is some platform's.
        for name in sorted(self.given.keys() - self.known - {"REDIS_HOST", "REDIS_PORT"}):
            likely = get_close_matches(name.upper(), self.known, 1, LIKENESS)
            if name.startswith(PREFIXES) and not KUBERNETES.fullmatch(name):
                likely = likely or get_close_matches(name, self.known, 1, 0)
            if likely:
                raise ConfigError(f"{name} is not a setting; did you mean {likely[0]}?")
        try:
            self.seal()
        except EnvValidationError as error:
            name, (message, *_) = next(iter(cast(Any, error.error_messages).items()))
            message = message.replace("Environment variable not set.", "is not set.")
            form = f"{name}_FILE" if f"{name}_FILE" in self.given else name
            raise ConfigError(f"{form} {message}") from None


def _read_secret(name: str, file: str) -> str:
    try:
        text = Path(file).read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8 text.") from None
    if not text or not text.isprintable():
        raise ConfigError(f"{name} must name a file with one line of text.")
    return text


def _integer(text: str | int, least: int = 1, most: int = 65535) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", str(text)) or not least <= int(text) <= most:
        raise ValidationError(f"must be a whole number from {least} to {most}.")
    return int(text)


def _one_of(*choices: str) -> OneOf:
    return OneOf(choices, error="must be one of {choices}.")


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(text.split())
    if not all(re.fullmatch(r"https?://[\w.-]+(:[0-9]+)?|\*", origin) for origin in origins):
        raise ValidationError("must be origins such as https://books.example, or *.")
    return origins


def _limit(text: str) -> str:
    try:
        if all(limit.get_expiry() <= YEAR for limit in parse_many(text)):  # Redis has a bound
            return text
    except ValueError:
        pass
    raise ValidationError('must be a rate limit such as "10 per minute; 30 per hour".')


def _key(key: str | None, algorithm: str | None) -> str | None:
    if key is None:
        return None
    least = KEY_BYTES.get(algorithm or "", 0)
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise ValidationError("is not UTF-8 text.") from None
    if length < least:
        raise ValidationError(f"must have at least {least} bytes for {algorithm}.")
    if key in WELL_KNOWN_KEYS or len(set(key)) < 10:
        raise ValidationError(
            "is well known or easily guessed; make one with: openssl rand -hex 32"
        )
    return key


PARSERS: dict[str, Callable[..., Any]] = {
    "database_url": database_url,
    "database_read_url": lambda url: url and database_url(url, "standby"),
    "redis_url": redis_url,
    "key": _key,
    "integer": _integer,
    "minutes": lambda text, most: timedelta(minutes=_integer(text, most=most)),
    "days": lambda text, most: timedelta(days=_integer(text, most=most)),
    "origins": _origins,
    "limit": _limit,
    "words": lambda text: tuple(text.casefold().split()),
}


def current_settings() -> Settings:
    """Return the current application's settings."""
    return cast(Settings, current_app.config["SETTINGS"])


def flask_config(settings: Settings) -> dict[str, Any]:
    """Return what Flask and its extensions read from app.config."""
    return {
        "SETTINGS": settings,
        "MAX_CONTENT_LENGTH": BODY_MAX,
        "JWT_ALGORITHM": settings.jwt_algorithm,
        "JWT_SECRET_KEY": settings.jwt_secret_key,
        "JWT_COOKIE_CSRF_PROTECT": False,  # or a csrf claim is in tokens that no cookie carries
        "JWT_ENCODE_NBF": False,
        "JWT_DECODE_LEEWAY": CLOCK_LEEWAY,
        "JWT_ENCODE_ISSUER": "books-api",
        "JWT_DECODE_ISSUER": "books-api",
        "JWT_ENCODE_AUDIENCE": "books-api",
        "JWT_DECODE_AUDIENCE": "books-api",
        "API_TITLE": "Books API",
        "API_VERSION": __version__,
        "OPENAPI_VERSION": "3.1.0",
    }


CLOCK_LEEWAY = 10  # seconds by which the clocks of two machines may differ
