"""Where Postgres and Redis are: the spellings of DATABASE_URL and REDIS_URL."""

import re
from typing import Any

from marshmallow import ValidationError
from psycopg2 import ProgrammingError
from psycopg2.extensions import make_dsn
from redis.connection import Connection, SSLConnection, parse_url
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

DRIVER = "postgresql+psycopg2://"


def database_url(url: str, of_several: str = "read-write") -> str:
    """Return the SQLAlchemy URL, for psycopg2, of any usual spelling of a Postgres URL.

    Of several hosts it takes one that is `of_several`. Raises marshmallow's ValidationError.
    """
    match = re.fullmatch(r"postgres(?:ql)?(?:\+(?:asyncpg|psycopg2?))?://(.*)", url, re.DOTALL)
    if match is None:
        raise ValidationError("must begin with postgresql://.")
    rest = re.sub(r"([?&])ssl=", r"\1sslmode=", match[1])  # asyncpg's word
    hosts = re.match(r"((?:[^@/?]*@)?)([^/?@]*,[^/?@]*)(/[^?]*)(\??)(.*)", rest)
    if hosts:  # libpq's list of hosts, in the form that SQLAlchemy reads
        user, names, path, _, query = hosts.groups()
        parts = [f"host={name}" for name in names.split(",")]
        if "target_session_attrs=" not in query:
            parts.append(f"target_session_attrs={of_several}")
        rest = f"{user}{path}?{'&'.join(parts + [query] * bool(query))}"
    try:
        parsed = make_url(DRIVER + rest)
        _, arguments = parsed.get_dialect()().create_connect_args(parsed)
        for port in filter(None, str(arguments.get("port", "")).split(",")):
            _check_port(port)
        make_dsn(**arguments)  # libpq's own opinion of the query
    except (ArgumentError, ValueError, ProgrammingError):
        raise ValidationError("is not a valid URL.") from None
    if not parsed.database:
        raise ValidationError("names no database.")
    return DRIVER + rest


def redis_url(url: str) -> str:
    """Return the URL as it is. Raises marshmallow's ValidationError when no client can be made."""
    match = re.match(r"(?:rediss?(?:\+sentinel)?://([^/?#]+)|unix://.)", url)
    if match is None:
        raise ValidationError(
            "must begin with redis://, rediss://, unix://, redis+sentinel:// or rediss+sentinel://."
        )
    try:
        for port in re.findall(r":([^:\]]*)(?=,|$)", (match[1] or "").rpartition("@")[2]):
            _check_port(port)
        if "+sentinel://" in url:
            _, _, options, _ = sentinel_address(url)
            (SSLConnection if options.pop("ssl", False) else Connection)(**options)
        else:
            options = parse_url(url)  # type: ignore[no-untyped-call]  # it has no types
            options.pop("connection_class", Connection)(**options)  # connects when first used
    except (TypeError, ValueError):
        raise ValidationError("is not a valid URL.") from None
    return url


def sentinel_address(
    url: str,
) -> tuple[list[tuple[str, int]], str, dict[str, Any], dict[str, Any]]:
    """Return the Sentinels, the service, the options for Redis and those for the Sentinels.

    redis+sentinel://[user:password@]host:port,[::1]:port/service[/db][?options], rediss for TLS to
    both; the options sentinel_username and sentinel_password are theirs. Raises ValueError.
    """
    scheme, _, rest = url.partition("+sentinel://")
    address, _, query = rest.partition("?")
    authority, _, path = address.partition("/")
    credentials, _, hosts = authority.rpartition("@")
    service, _, db = path.partition("/")
    nodes = []
    for node in hosts.split(","):
        match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d+))?", node)
        if match is None:
            raise ValueError("not the address of a Sentinel")
        nodes.append((match[1] or match[2], int(match[3] or 26379)))
    options: dict[str, Any] = parse_url(  # type: ignore[no-untyped-call]  # it has no types
        f"{scheme}://{credentials}@sentinel/{int(db or 0)}?{query}"
    )
    options.pop("host")
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    theirs = {name: value for name, value in options.items() if name.startswith("ssl")}
    for name in ("username", "password"):
        if (value := options.pop(f"sentinel_{name}", None)) is not None:
            theirs[name] = value
    return nodes, service or "mymaster", options, theirs


def _check_port(text: str) -> None:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError("not a port")
