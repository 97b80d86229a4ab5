"""What must hold for this deployment to work: behind /readyz and `flask doctor`."""

import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import click
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from flask.cli import with_appcontext
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from books_api.commands import FAILED
from books_api.database import autocommit
from books_api.extensions import redis
from books_api.redis_client import UnfitRedis, check_fitness
from books_api.version import __version__

CLOCK_SKEW_MAX = 2.0  # seconds
POSTGRES_MIN = 13
REDIS_MIN = [6, 2]  # SET knows EXAT


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: `ok` is False when it needs the operator."""

    name: str
    ok: bool
    detail: str
    reason: str = ""  # for the operator only: it may name hosts


Check = Callable[[], Finding]


def database() -> Finding:
    """Postgres answers, is recent enough, and knows letters beyond ASCII."""
    with autocommit() as connection:
        version, ctype = connection.execute(
            text(
                "SELECT current_setting('server_version_num')::integer, datctype"
                " FROM pg_database WHERE datname = current_database()"
            )
        ).one()
    if version // 10_000 < POSTGRES_MIN:
        detail = f"Postgres {version // 10_000} is too old; {POSTGRES_MIN} is the oldest supported."
        return Finding("database", False, detail)
    if ctype in ("C", "POSIX"):
        detail = (
            "LC_CTYPE is C: search is blind to letters outside ASCII. Make the database again:"
            " CREATE DATABASE ... LC_CTYPE 'C.UTF-8' TEMPLATE template0."
        )
        return Finding("database", False, detail)
    return Finding("database", True, f"Postgres {version // 10_000}, LC_CTYPE {ctype}")


def redis_() -> Finding:
    """Redis answers, and refuses writes rather than forget a revocation."""
    check_fitness(redis.client.info())
    return Finding("redis", True, "a primary, noeviction")


def migrations() -> Finding:
    """The schema is the one that this code was written for."""
    with autocommit() as connection:
        current = MigrationContext.configure(connection).get_current_heads()
    head = _heads(str(current_app.extensions["migrate"].directory))
    if set(current) != set(head):
        detail = f"The schema is at {_names(current)}, not {_names(head)}: run flask db upgrade."
        return Finding("migrations", False, detail)
    return Finding("migrations", True, f"at {_names(head)}")


def extensions() -> Finding:
    """The Postgres extensions that the filters need can be had."""
    with autocommit() as connection:
        found = connection.execute(
            text("SELECT name FROM pg_available_extensions WHERE name = 'pg_trgm'")
        ).all()
    if not found:
        return Finding("extensions", False, "pg_trgm is missing: install postgresql-contrib.")
    return Finding("extensions", True, "pg_trgm is there")


def redis_version() -> Finding:
    """Redis is recent enough."""
    version = str(redis.client.info("server").get("redis_version", "unknown"))
    if [int(number) for number in re.findall(r"\d+", version)][:2] < REDIS_MIN:
        oldest = ".".join(map(str, REDIS_MIN))
        detail = f"Redis {version} is too old; {oldest} is the oldest supported."
        return Finding("redis version", False, detail)
    return Finding("redis version", True, version)


def redis_persistence() -> Finding:
    """Redis comes back from a restart with what it knew."""
    if not redis.client.info("persistence").get("aof_enabled"):
        detail = (
            "appendonly is off: after a restart Postgres is asked at first. Set appendonly yes."
        )
        return Finding("redis persistence", False, detail)
    return Finding("redis persistence", True, "append-only file")


def clocks() -> Finding:
    """The clocks of this machine, Postgres and Redis agree."""
    with autocommit() as connection:
        postgres = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    skew = {"Postgres": (postgres - datetime.now(UTC)).total_seconds()}
    seconds, microseconds = redis.client.time()
    skew["Redis"] = seconds + microseconds / 1e6 - time.time()
    detail = ", ".join(f"{name} {value:+.2f} s" for name, value in skew.items())
    ok = all(abs(value) <= CLOCK_SKEW_MAX for value in skew.values())
    return Finding("clocks", ok, detail if ok else f"{detail}: synchronise them (NTP).")


ALL: Sequence[Check] = (
    database,
    redis_,
    migrations,
    extensions,
    redis_version,
    redis_persistence,
    clocks,
)


def run(checks: Sequence[Check]) -> list[Finding]:
    """Run each check; one that cannot be made is a finding too."""
    findings = []
    for check in checks:
        try:
            findings.append(check())
        except UnfitRedis as error:
            findings.append(Finding(name_of(check), False, str(error)))
        except (SQLAlchemyError, RedisError) as error:
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            findings.append(Finding(name_of(check), False, "Does not answer.", reason))
    return findings


def name_of(check: Check) -> str:
    """Return the name that the check's findings have."""
    return check.__name__.strip("_").replace("_", " ")


@cache
def _heads(directory: str) -> Sequence[str]:
    # Reading the revisions takes some ten milliseconds, and they are part of this code.
    return ScriptDirectory(directory).get_heads()


def _names(revisions: Sequence[str]) -> str:
    return ", ".join(sorted(revisions)) or "nothing"


@click.command()
@with_appcontext
def doctor() -> None:
    """Say, in words, what is wrong with this deployment.

    Exits with 1 when something is.
    """
    click.echo(f"ok    version: {__version__}")
    findings = run(ALL)
    for finding in findings:
        verdict = "ok   " if finding.ok else "WRONG"
        click.echo(f"{verdict} {finding.name}: {finding.detail} {finding.reason}".rstrip())
    if not all(finding.ok for finding in findings):
        sys.exit(FAILED)
