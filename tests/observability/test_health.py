"""/healthz says that the process lives, /readyz whether it can serve."""

import re
import shutil
import threading

import pytest
from sqlalchemy import event

from books_api import __version__
from books_api.extensions import db
from books_api.observability import health
from tests.helpers import execute, together
from tests.processes import ROOT


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch, app):
    """Each probe makes the checks anew, unless the test says otherwise."""
    monkeypatch.setattr(health, "FRESH", 0)
    yield
    app.test_client().get("/readyz")  # or another test meets what this one has broken


def failing(response):
    """The names of the checks that are not passed."""
    return {name for name, check in response.json["checks"].items() if not check["ok"]}


@pytest.mark.parametrize("path", ["/healthz", "/healthz/", "/readyz", "/readyz/"])
def test_a_probe_of_a_healthy_service_needs_no_token_and_no_exact_path(client, path):
    response = client.get(path)

    assert (response.status_code, response.json["status"]) == (200, "ok")
    assert client.head(path).status_code == 200


@pytest.mark.parametrize(
    ("name", "checks"), [("redis", {"redis"}), ("postgres", {"database", "migrations"})]
)
def test_a_service_without_a_server_lives_is_not_ready_and_is_again_when_it_is_back(
    servers, client, name, checks
):
    server = getattr(servers, name)
    before = client.get("/readyz")
    server.stop()
    alive, without = client.get("/healthz"), client.get("/readyz")
    server.start()

    assert (alive.status_code, alive.json) == (200, {"status": "ok", "version": __version__})
    assert (without.status_code, without.json["status"]) == (503, "unavailable")
    assert failing(without) == checks
    names = {"database", "redis", "migrations"}
    assert set(before.json["checks"]) == set(without.json["checks"]) == names
    assert client.get("/readyz").status_code == 200


def test_a_service_on_an_empty_database_is_not_ready(make_database):
    response = make_database().test_client().get("/readyz")

    assert response.status_code == 503
    assert failing(response) == {"migrations"}


@pytest.mark.parametrize(("version", "failed"), [("0001", {"migrations"}), ("9999", set())])
def test_a_service_is_ready_on_a_newer_schema_and_not_on_an_older(app, client, version, failed):
    """What is rolled back goes on working."""
    ((current,),) = execute(app, "SELECT version_num FROM alembic_version")
    execute(app, "UPDATE alembic_version SET version_num = :version", version=version)
    try:
        response = client.get("/readyz")
    finally:
        execute(app, "UPDATE alembic_version SET version_num = :version", version=current)

    assert (response.status_code, failing(response)) == (503 if failed else 200, failed)


def test_a_service_stays_ready_while_an_upgrade_replaces_its_files(
    app, make_app, monkeypatch, tmp_path
):
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    monkeypatch.setattr("books_api.MIGRATIONS", tmp_path / "migrations")
    app = make_app()
    (tmp_path / "migrations" / "versions" / "9999_of_the_next_release.py").touch()

    response = app.test_client().get("/readyz")

    assert response.status_code == 200


STRANGER = {"REMOTE_ADDR": "192.0.2.1"}
PROXIED = {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("environ", [STRANGER, PROXIED], ids=["stranger", "proxied"])
def test_a_probe_from_elsewhere_learns_no_version(client, path, environ):
    response = client.get(path, environ_overrides=environ)

    assert response.json["status"] == "ok"
    assert not {"version", "detail"} & set(re.findall(r"\w+", response.text))


def test_what_is_not_ready_tells_no_password(make_app, settings):
    url = settings.database_url.replace("postgres@", "postgres:hunter2@").replace("5432", "1")

    response = make_app(database_url=url).test_client().get("/readyz")

    assert response.status_code == 503
    assert "hunter2" not in response.text


def count_connections(app):
    """Return what counts the connections that the application takes from its pool."""
    taken = []
    with app.app_context():
        event.listen(db.engine, "checkout", lambda *_: taken.append(1))
    return lambda: len(taken)


def test_probes_at_once_share_one_look(monkeypatch, make_app):
    app = make_app()
    taken = count_connections(app)
    monkeypatch.setattr(health, "FRESH", 60)

    answers = together(*[lambda: app.test_client().get("/readyz")] * 100)

    assert {answer.status_code for answer in answers} == {200}
    assert taken() == 2  # one for each check that asks Postgres


def test_probes_while_a_check_is_stuck_begin_no_other(monkeypatch, make_app):
    app = make_app(database_pool_size=1)
    monkeypatch.setattr(health, "TIMEOUT", 0.1)
    before = set(threading.enumerate())

    with app.app_context(), db.engine.connect():
        statuses = {app.test_client().get("/readyz").status_code for _ in range(5)}
        running = set(threading.enumerate()) - before

    assert statuses == {503}
    assert len(running) == 2  # one for each check that waits for the pool


def test_what_was_found_is_remembered_for_a_moment_only(monkeypatch, client, servers):
    client.get("/readyz")
    statuses = []

    servers.redis.stop()
    for fresh in (60, 0):
        monkeypatch.setattr(health, "FRESH", fresh)
        statuses.append(client.get("/readyz").status_code)
    servers.redis.start()

    assert statuses == [200, 503]
