"""The systemd units, as far as they can be checked where systemd is not the first process."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask

from books_api import PREFIX
from books_api.config import Settings
from tests.conftest import KEY, Account
from tests.deploy.conftest import start_gunicorn
from tests.helpers import execute
from tests.processes import ROOT, TIMEOUT, Gunicorn, gunicorn_config, running_gunicorn, wait_until

pytestmark = pytest.mark.deploy

UNITS = sorted(path.name for path in (ROOT / "deploy").glob("books-api*.*er*"))
HELD = """
import os
from pathlib import Path
from time import sleep

folder = Path(__file__).parent
held = folder / f"{os.getpid()}.held"
if (folder / "hold").exists():
    held.touch()
while held.exists():
    sleep(0.1)
from wsgi import app
(folder / f"{os.getpid()}.loaded").touch()
"""
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


def test_backup_leaves_postgres_its_shared_memory():
    unit = (ROOT / "deploy" / "books-api-backup.service").read_text()

    assert "User=postgres" in unit
    assert "\nRemoveIPC" not in unit


@pytest.mark.parametrize("name", UNITS)
def test_systemd_has_nothing_to_say_about_a_unit(units, name):
    result = subprocess.run(
        ["systemd-analyze", "verify", units / name], capture_output=True, text=True, check=False
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_a_service_is_hardened(units, name):
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", units / name],
        capture_output=True,
        text=True,
        check=True,
    )

    exposure = re.search(r"exposure level for .*: ([\d.]+)", result.stdout)
    assert exposure is not None, result.stdout
    assert float(exposure[1]) <= EXPOSURE_MAX


def test_gunicorn_tells_systemd_that_it_is_ready(migrated_app, settings: Settings, folder: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(folder / "notify"))
        notify.settimeout(TIMEOUT)
        with start_gunicorn(folder, settings, NOTIFY_SOCKET=str(folder / "notify")):
            assert b"READY=1" in notify.recv(4096)


def test_the_service_has_time_to_finish_what_is_in_flight():
    unit = (ROOT / "deploy" / "books-api.service").read_text()
    compose = (ROOT / "deploy" / "compose.yaml").read_text()

    for pattern in (r"(?m)^TimeoutStopSec=(\d+)$", r"stop_grace_period: (\d+)s # above gunicorn"):
        seconds = re.search(pattern, unit + compose)
        assert seconds is not None
        assert int(seconds[1]) > gunicorn_config()["graceful_timeout"]


@pytest.fixture
def set_key(tmp_path: Path) -> Callable[[str], int]:
    return lambda key: (tmp_path / ".env").write_text(f"JWT_SECRET_KEY={key}\n")


@pytest.fixture
def started(
    app: Flask, settings: Settings, tmp_path: Path, set_key: Callable[[str], int]
) -> Iterator[Gunicorn]:
    """A gunicorn whose key, another than the tests' own, is in .env."""
    for name in ("books_api", "migrations", "deploy", "wsgi.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    set_key(KEY[::-1])
    servers = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url}
    servers["RUNTIME_DIRECTORY"] = str(tmp_path)
    # One worker: a second might still be loading when a test writes what does not work.
    with start_gunicorn(tmp_path, None, **servers, WEB_CONCURRENCY="1") as started:
        yield started


def status(started: Gunicorn, account: Account) -> int:
    url = f"{started.url}{PREFIX}/auth/me"
    return requests.get(url, headers=account.headers, timeout=TIMEOUT).status_code


def reload(started: Gunicorn, seconds: int = 60) -> subprocess.CompletedProcess[str]:
    """Run the unit's ExecReload lines as systemd does: one after the other, until one fails."""
    unit = (ROOT / "deploy" / "books-api.service").read_text()
    lines = re.findall(r"(?m)^ExecReload=(.*)$", unit.replace("timeout 60", f"timeout {seconds}"))
    script = " && ".join(lines).replace(
        "/opt/books-api/.venv/bin", str(Path(sys.executable).parent)
    )
    return subprocess.run(
        ["sh", "-c", script],
        cwd=started.log.parent,
        env={**started.environ, "FLASK_APP": "wsgi", "MAINPID": str(started.process.pid)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def test_a_reload_has_read_the_settings_when_it_returns(started, set_key, alice):
    assert status(started, alice) == 401

    set_key(KEY)
    result = reload(started)

    assert result.returncode == 0, result.stdout + result.stderr
    assert status(started, alice) == 200


def test_a_reload_whose_old_workers_live_on_has_failed(started):
    os.kill(started.process.pid, signal.SIGSTOP)

    result = reload(started, seconds=1)

    os.kill(started.process.pid, signal.SIGCONT)
    assert result.returncode != 0


def test_old_workers_serve_until_the_new_ones_have_loaded(app, settings, folder, tmp_path):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(3)\nfrom wsgi import app\n")
    options = ("--pythonpath", str(tmp_path))
    with running_gunicorn(folder, settings, *options, target="slow:app") as slow:
        old = set(slow.workers())
        slow.process.send_signal(signal.SIGHUP)
        longest = 0.0
        while old & set(slow.workers()):
            begun = time.monotonic()
            requests.get(f"{slow.url}/healthz", headers={"Connection": "close"}, timeout=TIMEOUT)
            longest = max(longest, time.monotonic() - begun)

        assert longest < 2
        assert len(slow.workers()) == 2


def test_two_reloads_at_once_leave_somebody_who_serves(app, settings, folder, tmp_path):
    (tmp_path / "held.py").write_text(HELD)
    # gunicorn heeds the second signal when it has waited so long for the old workers.
    options = ("--pythonpath", str(tmp_path), "--graceful-timeout", "1")
    with running_gunicorn(folder, settings, *options, target="held:app") as gunicorn:
        old = set(gunicorn.workers())
        (tmp_path / "hold").touch()
        held = []
        for number in (2, 4):
            gunicorn.process.send_signal(signal.SIGHUP)
            wait_until(lambda number=number: len(list(tmp_path.glob("*.held"))) == number)
            held.append(set(tmp_path.glob("*.held")).difference(*held))
        for path in held[0]:
            path.unlink()
        wait_until(lambda: len(list(tmp_path.glob("*.loaded"))) == len(old) + 2)
        time.sleep(1)
        served = requests.get(f"{gunicorn.url}/healthz", timeout=3)
        for path in held[1]:
            path.unlink()
        wait_until(lambda: {int(path.stem) for path in held[1]} == set(gunicorn.workers()))

    assert served.ok


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("JWT_SECRET_KEY=short", "JWT_SECRET_KEY must have at least 32 bytes"),
        ("SIGN_UP_ENABLED=false", "SIGN_UP_ENABLED is not a setting"),
        ("REDIS_URL=redis://127.0.0.1:1/0", "WRONG redis: Does not answer"),
        ("DATABASE_URL=postgresql://127.0.0.1:1/books", "WRONG database: Does not answer"),
    ],
)
def test_a_reload_into_settings_that_do_not_work_is_refused(started, tmp_path, alice, line, reason):
    workers = started.workers()
    name = line.partition("=")[0]
    started.environ.pop(name, None)  # what stands there wins over .env
    with (tmp_path / ".env").open("a") as file:
        file.write(f"{line}\n")

    result = reload(started)

    assert result.returncode != 0
    assert reason in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert started.workers() == workers


def test_a_reload_on_a_schema_that_is_too_old_is_refused(app, started):
    ((version,),) = execute(app, "SELECT version_num FROM alembic_version")
    execute(app, "UPDATE alembic_version SET version_num = '0001'")
    try:
        result = reload(started)
    finally:
        execute(app, "UPDATE alembic_version SET version_num = :version", version=version)

    assert result.returncode != 0
    assert "run flask db upgrade" in result.stdout
