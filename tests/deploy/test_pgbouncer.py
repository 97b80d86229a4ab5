"""PgBouncer as shipped, between the application and Postgres."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from books_api.database import SESSION
from books_api.extensions import db
from books_api.observability import doctor
from tests.conftest import Account, Servers
from tests.helpers import AUTH, BOOKS, MOMO, execute
from tests.processes import (
    ROOT,
    clean_environ,
    free_port,
    postgres_answers,
    running_program,
    wait_until,
)

pytestmark = pytest.mark.deploy
SHIPPED = ROOT / "deploy" / "cluster" / "pgbouncer.ini"


@pytest.fixture
def pooled_app(
    app: Flask, make_app: Callable[..., Flask], servers: Servers, folder: Path, tmp_path: Path
) -> Iterator[Flask]:
    """The application behind PgBouncer."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
    if program is None or shutil.which("setpriv") is None:
        pytest.skip("pgbouncer is not installed")
    port, data = free_port(), Path(parse_qs(urlsplit(servers.postgres.url).query)["host"][0])
    account = str(data.stat().st_uid)
    text = SHIPPED.read_text()
    for shipped, ours in [
        ("host=127.0.0.1", f"host={data} user=postgres"),
        ("listen_port = 6432", f"listen_port = {port}"),
        ("auth_type = scram-sha-256", "auth_type = any"),
    ]:
        assert text.count(shipped) == 1
        text = text.replace(shipped, ours)
    config = tmp_path / "pgbouncer.ini"
    config.write_text(text)
    for each in (tmp_path, folder):  # the account that has the data is no root
        each.chmod(0o711)
    config.chmod(0o644)
    command = ["setpriv", f"--reuid={account}", "--clear-groups", program, str(config)]
    with running_program(command, tmp_path / "log", cwd=tmp_path, env=clean_environ(tmp_path)):
        url = f"postgresql://postgres@127.0.0.1:{port}/books"
        wait_until(lambda: postgres_answers(url), 10)
        pooled = make_app(database_url=url.replace("postgresql:", "postgresql+psycopg2:"))
        yield pooled
        with pooled.app_context():
            db.engine.dispose()


def time_outs(app: Flask) -> bool | None:
    with app.app_context():
        (finding,) = doctor.run([doctor.time_outs])
    return finding.ok


def test_time_outs_are_those_of_the_role(app: Flask, pooled_app: Flask) -> None:
    without = time_outs(pooled_app)
    for name, value in SESSION.items():
        execute(app, f"ALTER ROLE postgres SET {name} = {value}")
    try:
        execute(
            app,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND usename = 'postgres'",
        )
        with pooled_app.app_context():
            db.engine.dispose()
        assert (without, time_outs(pooled_app)) == (False, True)
    finally:
        execute(app, "ALTER ROLE postgres RESET ALL")


def test_requests_are_served(pooled_app: Flask, alice: Account) -> None:
    client = pooled_app.test_client()
    csv = b"title,author\nMomo,Michael Ende\n"

    statuses: list[Any] = [
        client.post(f"{BOOKS}/", json=MOMO, headers=alice.headers).status_code,
        client.post(
            f"{BOOKS}/import", data=csv, content_type="text/csv", headers=alice.headers
        ).status_code,
        client.get(f"{BOOKS}/?q=momo&count=true", headers=alice.headers).headers["X-Total-Count"],
        client.get(f"{BOOKS}/export", headers=alice.headers).text.count("Momo"),
        client.post(f"{AUTH}/logout", headers=alice.headers).status_code,
        client.get(f"{BOOKS}/", headers=alice.headers).status_code,
    ]

    assert statuses == [201, 200, "1", 1, 200, 401]
