"""What must hold for this deployment to work: behind /readyz and `flask doctor`."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from redis.exceptions import RedisError, ResponseError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from books_api.cli_errors import first_line
from books_api.config import current_settings
from books_api.database import APPLICATION, SESSION, STANDBY, autocommit
from books_api.extensions import extension, redis
from books_api.redis_client import UnfitRedis, check_fitness
from books_api.standby import PROBE_SECONDS

CONNECTIONS = text(Path(__file__).with_name("connections.sql").read_text("utf-8"))
CLOCK_SKEW_MAX = 2.0  # seconds
POSTGRES_MIN = 13
REDIS_MIN = [6, 2]  # SET knows EXAT


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: `ok` is False when it needs the operator, None when it was not made."""

    name: str
    ok: bool | None
    detail: str
    reason: str = ""  # for the operator only: it may name hosts


Check = Callable[[], Finding]


def database() -> Finding:
    """Postgres answers, takes writes, is recent enough, and knows letters beyond ASCII."""
    with autocommit() as connection:
        version, ctype, read_only = connection.execute(
            text(
                "SELECT current_setting('server_version_num')::integer, datctype,"
                " current_setting('transaction_read_only')::boolean"
                " FROM pg_database WHERE datname = current_database()"
            )
        ).one()
    if read_only:
        detail = (
            "Postgres is read-only: logins and every change are refused. Give the address of the"
            " primary, or unset default_transaction_read_only."
        )
        return Finding("database", False, detail)
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
    try:
        info = redis.client.info()
    except UnfitRedis:
        raise
    except RedisError as error:
        detail = (
            "Does not answer: protected routes are 503, and each process counts the rate limits in"
            " its own memory."
        )
        return Finding("redis", False, detail, first_line(error))
    check_fitness(info)
    return Finding("redis", True, "a primary, noeviction")


def migrations() -> Finding:
    """The schema is at least the one that this code was written for."""
    with autocommit() as connection:
        found = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one()
        statement = text("SELECT max(version_num) FROM alembic_version")
        schema = connection.execute(statement).scalar_one() if found else None
    expected = extension("schema")
    if schema is None or schema < expected:
        detail = f"The schema is at {schema or 'nothing'}, not {expected}: run flask db upgrade."
        return Finding("migrations", False, detail)
    newer = f", newer than this version, which needs {expected}" * (schema > expected)
    return Finding("migrations", True, f"at {schema}{newer}")


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
        detail = "appendonly is off: Postgres is asked after a restart. Set appendonly yes."
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


def writes() -> Finding:
    """Postgres and Redis do what a login and a logout need: they write."""
    try:
        with autocommit() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '' WHERE false"))
    except DBAPIError as error:
        detail = "Postgres refuses changes: logins and logouts are 503."
        return Finding("writes", False, detail, first_line(error))
    try:
        redis.client.set("{books}:doctor", 1, ex=1)
    except ResponseError as error:
        detail = (
            "Redis refuses changes: logins and logouts are 503, and each process counts the rate"
            " limits in its own memory."
        )
        return Finding("writes", False, detail, first_line(error))
    return Finding("writes", True, "tried in Postgres and Redis")


def time_outs() -> Finding:
    """Postgres ends what takes too long, whatever stands between."""
    shown = ", ".join(f"current_setting('{name}')" for name in SESSION)
    with autocommit() as connection:
        found = connection.execute(text(f"SELECT {shown}")).one()  # of constants
    if off := [name for name, value in zip(SESSION, found, strict=True) if value == "0"]:
        detail = f"Not in force: {', '.join(off)}. PgBouncer drops them: set them with ALTER ROLE."
        return Finding("time outs", False, detail)
    return Finding("time outs", True, ", ".join(found))


def connections() -> Finding:
    """Postgres has room for all that the processes may open."""
    named = {"named": f"{APPLICATION} %"}
    with autocommit() as connection:
        processes, ours, all_, most = connection.execute(CONNECTIONS, named).one()
    needed = processes * current_settings().database_pool_size
    detail = (
        f"{processes} processes may open {needed}, others have {all_ - ours},"
        f" Postgres allows {most}"
    )
    if needed + all_ - ours > most:
        detail += ": raise max_connections, or lower DATABASE_POOL_SIZE or WEB_CONCURRENCY."
        return Finding("connections", False, detail)
    return Finding("connections", True, detail)


def standby() -> Finding:
    """The standby that lists are read from, if there is one, keeps up with the primary."""
    if (found := extension(STANDBY)) is None:
        return Finding("standby", True, "DATABASE_READ_URL is not set")
    for _ in range(2):  # what the primary has just written may still be under way
        found.probe()
        time.sleep(PROBE_SECONDS)
    if found.fault == "":
        return Finding("standby", True, "keeps up")
    reason = found.fault or "the primary takes too long to say where its log ends"
    return Finding("standby", False, f"The standby is not used; the primary answers: {reason}")


READINESS: Sequence[Check] = (database, redis_, migrations)
# Each with those whose failure is its own too, and is reported once.
ALL: Mapping[Check, tuple[Check, ...]] = {
    database: (),
    redis_: (),
    migrations: (database,),
    writes: (database, redis_, migrations),
    extensions: (database,),
    time_outs: (database,),
    connections: (database,),
    standby: (database,),
    redis_version: (redis_,),
    redis_persistence: (redis_,),
    clocks: (database, redis_),
}


def run(checks: Iterable[Check]) -> list[Finding]:
    """Run the checks in their order, but those whose cause of failure has been found."""
    findings: dict[Check, Finding] = {}
    for check in checks:
        failed = [cause for cause in ALL[check] if cause in findings and not findings[cause].ok]
        findings[check] = _skip(check, failed[0]) if failed else _make(check)
    return list(findings.values())


def _skip(check: Check, cause: Check) -> Finding:
    return Finding(name_of(check), None, f"not checked, because of {name_of(cause)}")


def _make(check: Check) -> Finding:
    try:
        return check()
    except UnfitRedis as error:
        return Finding(name_of(check), False, str(error))
    except (SQLAlchemyError, RedisError) as error:
        return Finding(name_of(check), False, "Does not answer.", first_line(error))


def name_of(check: Check) -> str:
    """Return the name that the check's findings have."""
    return check.__name__.strip("_").replace("_", " ")
