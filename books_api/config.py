"""Settings from the environment: read once, typed, checked at start."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from limits import parse_many
from psycopg2 import ProgrammingError
from psycopg2.extensions import make_dsn
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from books_api.extensions import make_redis_client

KEY_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518, 3.2
WELL_KNOWN_KEYS = {
    "a-string-secret-at-least-256-bits-long",  # jwt.io
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",  # jwt.io
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's tutorial
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",  # Flask's quick start
}
DRIVER = "postgresql+psycopg2://"


class ConfigError(Exception):
    """A setting is missing or wrong; the text is one line that names it."""


def database_url(url: str) -> str:
    """Return the SQLAlchemy URL, for psycopg2, of any usual spelling of a Postgres URL."""
    match = re.fullmatch(r"postgres(?:ql)?(?:\+(?:asyncpg|psycopg2?))?://(.*)", url, re.DOTALL)
    if match is None:
        raise ConfigError("DATABASE_URL must begin with postgresql://.")
    rest = re.sub(r"([?&])ssl=", r"\1sslmode=", match[1])  # asyncpg's word
    hosts = re.match(r"((?:[^@/?]*@)?)([^/?@]*,[^/?@]*)(/[^?]*)(\??)(.*)", rest)
    if hosts:  # libpq's list of hosts, in the form that SQLAlchemy reads
        user, names, path, _, query = hosts.groups()
        parts = [f"host={name}" for name in names.split(",")]
        if "target_session_attrs=" not in query:
            parts.append("target_session_attrs=read-write")
        rest = f"{user}{path}?{'&'.join(parts + [query] * bool(query))}"
    try:
        parsed = make_url(DRIVER + rest)
        _, arguments = parsed.get_dialect()().create_connect_args(parsed)
        for port in filter(None, str(arguments.get("port", "")).split(",")):
            _check_port(port)
        make_dsn(**arguments)  # libpq's own opinion of the query
    except (ArgumentError, ValueError, ProgrammingError):
        raise ConfigError("DATABASE_URL is not a valid URL.") from None
    if not parsed.database:
        raise ConfigError("DATABASE_URL names no database.")
    return DRIVER + rest


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that can be set. Durations are timedeltas; TRUSTED_PROXIES counts hops."""

    database_url: str
    redis_url: str
    jwt_secret_key: str
    jwt_secret_key_previous: str | None = None
    jwt_algorithm: str = "HS256"
    access_token_expires: timedelta = timedelta(minutes=15)
    refresh_token_expires: timedelta = timedelta(days=7)
    session_expires: timedelta = timedelta(days=90)
    signup_enabled: bool = True
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: int = 0
    login_limit: str = "10 per minute"
    login_account_limit: str = "5 per minute; 30 per hour"
    signup_limit: str = "10 per hour"
    refresh_limit: str = "60 per minute"
    password_reset_limit: str = "10 per hour"  # noqa: S105  # a limit, not a password
    database_pool_size: int = 10
    log_format: str = "json"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings; raises ConfigError for the first that is missing or wrong."""
        read = _Reader(environ)
        algorithm = read.choice("JWT_ALGORITHM", "HS256", tuple(KEY_BYTES))
        redis_url = environ.get("REDIS_URL", "")
        if not redis_url and environ.get("REDIS_HOST"):
            redis_url = f"redis://{environ['REDIS_HOST']}:{read.integer('REDIS_PORT', 6379)}/0"
        if not redis_url:
            raise ConfigError("REDIS_URL is not set.")
        _check_redis_url(redis_url)
        previous = environ.get("JWT_SECRET_KEY_PREVIOUS")
        if previous:
            _check_key("JWT_SECRET_KEY_PREVIOUS", previous, algorithm)
        key = read.required("JWT_SECRET_KEY")
        _check_key("JWT_SECRET_KEY", key, algorithm)
        return cls(
            database_url=database_url(read.required("DATABASE_URL")),
            redis_url=redis_url,
            jwt_secret_key=key,
            jwt_secret_key_previous=previous or None,
            jwt_algorithm=algorithm,
            access_token_expires=timedelta(
                minutes=read.integer("ACCESS_TOKEN_EXPIRE_MINUTES", 15, most=24 * 60)
            ),
            refresh_token_expires=timedelta(
                days=read.integer("REFRESH_TOKEN_EXPIRE_DAYS", 7, most=365)
            ),
            session_expires=timedelta(days=read.integer("SESSION_EXPIRE_DAYS", 90, most=3650)),
            signup_enabled=read.boolean("SIGNUP_ENABLED", True),
            cors_origins=read.origins("CORS_ORIGINS"),
            trusted_proxies=read.integer("TRUSTED_PROXIES", 0, least=0, most=10),
            login_limit=read.limit("LOGIN_LIMIT", cls.login_limit),
            login_account_limit=read.limit("LOGIN_ACCOUNT_LIMIT", cls.login_account_limit),
            signup_limit=read.limit("SIGNUP_LIMIT", cls.signup_limit),
            refresh_limit=read.limit("REFRESH_LIMIT", cls.refresh_limit),
            password_reset_limit=read.limit("PASSWORD_RESET_LIMIT", cls.password_reset_limit),
            database_pool_size=read.integer("DATABASE_POOL_SIZE", 10, most=1000),
            log_format=read.choice("LOG_FORMAT", "json", ("json", "text")),
        )


class _Reader:
    """Turns texts of the environment into values; an empty text counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    def required(self, name: str) -> str:
        value = self.environ.get(name)
        if not value:
            raise ConfigError(f"{name} is not set.")
        return value

    def integer(self, name: str, default: int, *, least: int = 1, most: int = 65535) -> int:
        text = self.environ.get(name) or str(default)
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ConfigError(f"{name} must be a whole number from {least} to {most}.")
        return int(text)

    def boolean(self, name: str, default: bool) -> bool:
        text = (self.environ.get(name) or str(default)).lower()
        if text not in ("true", "false"):
            raise ConfigError(f"{name} must be true or false.")
        return text == "true"

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        text = self.environ.get(name) or default
        if text not in choices:
            raise ConfigError(f"{name} must be one of {', '.join(choices)}.")
        return text

    def origins(self, name: str) -> tuple[str, ...]:
        origins = tuple(self.environ.get(name, "").split())
        if not all(re.fullmatch(r"https?://[\w.-]+(:[0-9]+)?|\*", origin) for origin in origins):
            raise ConfigError(f"{name} must be origins such as https://books.example, or *.")
        return origins

    def limit(self, name: str, default: str) -> str:
        text = self.environ.get(name) or default
        try:
            parse_many(text)
        except ValueError:
            raise ConfigError(f'{name} must be a rate limit such as "{default}".') from None
        return text


def _check_redis_url(url: str) -> None:
    if not re.match(r"(rediss?|unix|redis\+sentinel)://.", url):
        raise ConfigError(
            "REDIS_URL must begin with redis://, rediss://, unix:// or redis+sentinel://."
        )
    try:
        client = make_redis_client(url)  # connects when it is first used
        for port in re.findall(r":([^:/?#@\]]*)(?=[,/?#]|$)", url.partition("://")[2]):
            if not url.startswith("unix:"):
                _check_port(port)
        client.connection_pool.make_connection()
    except (TypeError, ValueError):
        raise ConfigError("REDIS_URL is not a valid URL.") from None


def _check_port(text: str) -> None:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError("not a port")


def _check_key(name: str, key: str, algorithm: str) -> None:
    least = KEY_BYTES[algorithm]
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise ConfigError(f"{name} is not UTF-8 text.") from None
    if length < least:
        raise ConfigError(f"{name} must have at least {least} bytes for {algorithm}.")
    if key in WELL_KNOWN_KEYS or len(set(key)) < 10:
        raise ConfigError(
            f"{name} is well known or easily guessed; make one with: openssl rand -hex 32"
        )


def flask_config(settings: Settings) -> dict[str, Any]:
    """Return what Flask and its extensions read from app.config."""
    return {
        "SETTINGS": settings,
        "MAX_CONTENT_LENGTH": 1024 * 1024,
        "JWT_ALGORITHM": settings.jwt_algorithm,
        "JWT_SECRET_KEY": settings.jwt_secret_key,
        "JWT_COOKIE_CSRF_PROTECT": False,  # or a csrf claim is in tokens that no cookie carries
        "JWT_ENCODE_NBF": False,
        "JWT_DECODE_LEEWAY": CLOCK_LEEWAY,
        "JWT_ENCODE_ISSUER": "books-api",
        "JWT_DECODE_ISSUER": "books-api",
        "JWT_ENCODE_AUDIENCE": "books-api",
        "JWT_DECODE_AUDIENCE": "books-api",
        "SQLALCHEMY_DATABASE_URI": settings.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": engine_options(settings),
        "API_TITLE": "Books API",
        "API_VERSION": "1.0.0",
        "OPENAPI_VERSION": "3.1.0",
    }


CLOCK_LEEWAY = 10  # seconds by which the clocks of two machines may differ

# libpq's words, see its documentation, 32.1.2 and 32.1.1: seconds, but tcp_user_timeout.
CONNECT = {
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "books-api",
}
# Milliseconds. Every wait has an end: a stuck query must not hold its worker.
SESSION = {
    "statement_timeout": 5_000,
    "lock_timeout": 2_000,
    "idle_in_transaction_session_timeout": 10_000,
}


def engine_options(settings: Settings) -> dict[str, Any]:
    """Return SQLAlchemy's engine options. What `options` in DATABASE_URL sets wins over ours."""
    ours = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
    theirs = make_url(settings.database_url).query.get("options", "")
    connect = {**CONNECT, "options": f"{ours} {theirs} -c timezone=UTC"}
    return {
        "pool_size": settings.database_pool_size,
        "max_overflow": 0,
        "pool_timeout": 2,
        "pool_recycle": 1800,
        "connect_args": connect,
        "hide_parameters": True,  # or a logged error shows hashes and email addresses
    }
