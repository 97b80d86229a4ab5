"""`flask doctor`: what an operator is told about the deployment."""

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
import time_machine

from books_api import __version__
from books_api.extensions import redis
from books_api.observability import doctor
from tests.helpers import execute
from tests.processes import wait_until


def run(app, *arguments, **kwargs):
    return app.test_cli_runner().invoke(args=arguments, **kwargs)


@pytest.fixture
def persistent(redis_server, app):
    """Redis as production has it."""
    with app.app_context():
        redis.client.config_set("appendonly", "yes")
        # Killed before, it would leave behind a child that waits for it for 5 seconds.
        wait_until(lambda: not redis.client.info("persistence")["aof_rewrite_in_progress"], 5)


def findings(result):
    """Return the findings that `flask doctor` has printed: True for those that are well.

    None for those that were not made.
    """
    lines = [line.partition(" ") for line in result.stdout.splitlines()]
    verdicts = {"ok": True, "WRONG": False, "-": None}
    return {rest.strip().partition(":")[0]: verdicts[verdict] for verdict, _, rest in lines}


def test_doctor_finds_nothing_wrong(app, persistent):
    result = run(app, "doctor")

    assert set(findings(result).values()) == {True}, result.stdout
    assert (result.exit_code, result.stderr) == (0, "")


def test_doctor_looks_at_all_that_the_contract_names(app):
    names = findings(run(app, "doctor")).keys()

    assert names >= {"database", "extensions", "migrations", "redis", "redis persistence", "clocks"}
    assert names >= {"writes", "connections"}


def assert_doctor_finds(app, *names):
    result = run(app, "doctor")

    assert {name for name, well in findings(result).items() if well is False} == set(names), (
        result.stdout
    )
    assert result.exit_code == 1
    return result.stdout


def test_doctor_finds_that_redis_forgets_at_restart(app):
    assert_doctor_finds(app, "redis persistence")


def test_doctor_finds_that_redis_evicts(app, persistent):
    with app.app_context():
        redis.client.config_set("maxmemory-policy", "allkeys-lru")

    assert_doctor_finds(app, "redis")


def test_doctor_finds_clocks_that_differ(app, persistent):
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=5)):
        assert_doctor_finds(app, "clocks")


def test_doctor_finds_a_schema_of_another_version(app, persistent):
    ((version,),) = execute(app, "SELECT version_num FROM alembic_version")
    execute(app, "UPDATE alembic_version SET version_num = '0001'")
    try:
        assert "run flask db upgrade" in assert_doctor_finds(app, "migrations")
    finally:
        execute(app, "UPDATE alembic_version SET version_num = :version", version=version)


def test_doctor_finds_a_database_that_knows_ascii_only(make_database, persistent):
    assert_doctor_finds(make_database("C"), "database")


@pytest.mark.parametrize(
    ("version", "well"), [("6.0.16", False), ("6.2.0", True), ("7.0.15", True), ("10.0.0", True)]
)
def test_doctor_finds_a_redis_that_is_too_old(app, monkeypatch, version, well):
    with app.app_context():
        known = redis.client.info("server") | {"redis_version": version}
        monkeypatch.setattr(redis.client, "info", lambda section: known)

        (finding,) = doctor.run([doctor.redis_version])

    assert finding.ok is well
    assert version in finding.detail


def test_doctor_reports_a_redis_that_is_away_once(app, redis_server):
    redis_server.kill()

    assert "in its own memory" in assert_doctor_finds(app, "redis")


def test_findings_have_the_same_names_whether_well_or_not(app, redis_server):
    well = findings(run(app, "doctor")).keys()
    redis_server.kill()

    assert findings(run(app, "doctor")).keys() == well


def test_doctor_finds_that_postgres_is_away(make_app, persistent):
    app = make_app(database_url="postgresql+psycopg2://postgres@/books?host=/nowhere")

    assert_doctor_finds(app, "database")


def test_doctor_finds_a_postgres_that_is_read_only(make_impatient_app, persistent):
    app = make_impatient_app(default_transaction_read_only="on")

    assert "read-only" in assert_doctor_finds(app, "database")


def test_doctor_finds_a_redis_that_is_full(app, persistent):
    with app.app_context():
        redis.client.config_set("maxmemory", "1")

    assert "Redis refuses changes" in assert_doctor_finds(app, "writes")


def test_doctor_finds_a_role_that_may_not_write(make_app, settings, persistent):
    execute(make_app(), "CREATE ROLE reader LOGIN IN ROLE pg_read_all_data")
    url = settings.database_url.replace("postgres@", "reader@")
    try:
        output = assert_doctor_finds(make_app(database_url=url), "writes")
    finally:
        execute(make_app(), "DROP ROLE reader")

    assert "permission denied" in output


def test_doctor_finds_more_processes_than_postgres_has_room_for(make_app, servers, persistent):
    app = make_app(database_pool_size=1000)

    with closing(psycopg2.connect(servers.postgres.url, application_name="books-api 1")):
        output = assert_doctor_finds(app, "connections")

    assert re.search(r"connections: [12] processes may open [12]000,", output)


def test_doctor_finds_that_no_time_out_is_in_force(make_impatient_app, persistent):
    app = make_impatient_app(statement_timeout="0", lock_timeout="0")

    assert "statement_timeout, lock_timeout. PgBouncer" in assert_doctor_finds(app, "time outs")


def test_doctor_asks_before_a_reload_only_what_keeps_a_service_from_serving(app):
    assert findings(run(app, "doctor", "--ready")).keys() == {
        *("version", "database", "redis", "migrations")
    }


def test_doctor_says_that_the_schema_is_newer(app, persistent):
    ((version,),) = execute(app, "SELECT version_num FROM alembic_version")
    execute(app, "UPDATE alembic_version SET version_num = '9999'")
    try:
        result = run(app, "doctor")
    finally:
        execute(app, "UPDATE alembic_version SET version_num = :version", version=version)

    assert "newer than this version" in result.stdout
    assert result.exit_code == 0, result.stdout


def test_doctor_says_which_version_this_is(app):
    assert run(app, "doctor").stdout.startswith(f"ok    version: {__version__}\n")


def test_doctor_tells_no_secret(app, settings):
    output = run(app, "doctor").output

    assert settings.jwt_secret_key not in output
