"""The systemd units, as far as they can be checked where systemd is not the first process."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from flask import Flask

from books_api import PREFIX
from books_api.config import Settings
from tests.conftest import KEY, Account
from tests.deploy.conftest import gunicorn_environ
from tests.processes import ROOT, TIMEOUT, free_port, running, wait_until, wait_until_serving

pytestmark = pytest.mark.deploy

UNITS = ["books-api.service", "books-api-prune.service", "books-api-prune.timer"]
EXPOSURE_MAX = 1.5  # of 10, by systemd-analyze's count


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder with the units, which name this checkout's programs."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for name in UNITS:
        text = (ROOT / "deploy" / name).read_text()
        text = text.replace("/opt/books-api/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / name).write_text(text.replace("/opt/books-api", str(ROOT)))
    return tmp_path


@pytest.mark.parametrize("name", UNITS)
def test_systemd_has_nothing_to_say_about_a_unit(units, name):
    result = subprocess.run(
        ["systemd-analyze", "verify", units / name], capture_output=True, text=True, check=False
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_service_is_hardened(units):
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", units / UNITS[0]],
        capture_output=True,
        text=True,
        check=True,
    )

    exposure = re.search(r"exposure level for .*: ([\d.]+)", result.stdout)
    assert exposure is not None, result.stdout
    assert float(exposure[1]) <= EXPOSURE_MAX


def test_gunicorn_tells_systemd_that_it_is_ready(servers, settings: Settings, folder: Path):
    log = folder / "notify.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(folder / "notify"))
        notify.settimeout(TIMEOUT)
        environ = gunicorn_environ(folder, settings, free_port())
        environ["NOTIFY_SOCKET"] = str(folder / "notify")
        arguments = ["-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "wsgi:app"]
        with running(arguments, log, cwd=ROOT, env=environ):
            assert b"READY=1" in notify.recv(4096)


def test_the_service_has_time_to_finish_what_is_in_flight():
    config: dict[str, int] = {}
    exec((ROOT / "deploy" / "gunicorn.conf.py").read_text(), config)
    unit = (ROOT / "deploy" / "books-api.service").read_text()
    compose = (ROOT / "deploy" / "compose.yaml").read_text()

    for pattern in (r"(?m)^TimeoutStopSec=(\d+)$", r"stop_grace_period: (\d+)s # above gunicorn"):
        seconds = re.search(pattern, unit + compose)
        assert seconds is not None
        assert int(seconds[1]) > config["graceful_timeout"]


@dataclass(frozen=True)
class Started:
    url: str
    process: subprocess.Popen[bytes]
    settings: Path  # its .env

    def set_key(self, key: str) -> None:
        self.settings.write_text(f"JWT_SECRET_KEY={key}\n")

    def status(self, account: Account) -> int:
        url = f"{self.url}{PREFIX}/auth/me"
        return requests.get(url, headers=account.headers, timeout=TIMEOUT).status_code


@pytest.fixture
def started(app: Flask, settings: Settings, tmp_path: Path) -> Iterator[Started]:
    """A gunicorn whose key, another than the tests' own, is in .env."""
    for name in ("books_api", "migrations", "deploy", "wsgi.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    port, log = free_port(), tmp_path / "log"
    environ = gunicorn_environ(tmp_path, settings, port)
    del environ["PYTHON_DOTENV_DISABLED"], environ["JWT_SECRET_KEY"]
    (tmp_path / ".env").write_text(f"JWT_SECRET_KEY={KEY[::-1]}\n")
    arguments = ["-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "wsgi:app"]
    with running(arguments, log, cwd=tmp_path, env=environ) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until_serving(f"{url}/readyz", process, log)
        yield Started(url, process, tmp_path / ".env")


def test_a_reload_reads_the_settings_again(started, alice):
    assert started.status(alice) == 401

    started.set_key(KEY)
    started.process.send_signal(signal.SIGHUP)

    wait_until(lambda: started.status(alice) == 200)


def test_a_reload_with_a_wrong_setting_stops_the_service(started):
    started.set_key("short")
    started.process.send_signal(signal.SIGHUP)

    assert started.process.wait(TIMEOUT) != 0  # so the page asks `flask doctor` first
