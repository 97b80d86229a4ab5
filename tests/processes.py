"""Programs under test, run as their users run them."""

import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import requests

from books_api.config import Settings

ROOT = Path(__file__).parent.parent
TIMEOUT = 60


def clean_environ(home: Path, **values: str) -> dict[str, str]:
    """Return an environment without the settings of whoever runs the tests."""
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONUNBUFFERED": "1",
        "PYTHON_DOTENV_DISABLED": "1",
        **values,
    }


def settings_environ(settings: Settings) -> dict[str, str]:
    """Return what an environment must say in production."""
    return {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "JWT_SECRET_KEY": settings.jwt_secret_key,
    }


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    arguments: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run python with the arguments, its output in the log; kill it at the end if it still runs."""
    with running_program([sys.executable, *arguments], log, cwd=cwd, env=env) as process:
        yield process


@contextmanager
def running_program(
    command: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command, its output in the log; kill it at the end if it still runs.

    What it leaves in its temporary folder goes with the log's.
    """
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=cwd,
            env={"TMPDIR": str(log.parent), **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def run(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run python with the arguments to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def wait_until(condition: Callable[[], object], seconds: float = TIMEOUT) -> None:
    """Wait until the condition holds, for so many seconds at most."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_until_serving(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the URL answers; fail with the log when the process ends before."""

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with suppress(requests.ConnectionError):
            return bool(requests.get(url, timeout=TIMEOUT))
        return False

    wait_until(answers)


def postgres_answers(url: str) -> bool:
    """Tell whether a connection can be had."""
    with suppress(psycopg2.OperationalError):
        psycopg2.connect(url).close()
        return True
    return False


@dataclass(frozen=True)
class Gunicorn:
    """A running gunicorn."""

    port: int
    process: subprocess.Popen[bytes]
    environ: dict[str, str]
    log: Path
    access_log: Path  # a line for each request: the port of its connection, status and path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def errors(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if '"level":"error"' in line]


@contextmanager
def running_gunicorn(
    folder: Path,
    settings: Settings | None,
    *options: str,
    port: int | None = None,
    target: str = "wsgi:app",
    **environ: str,
) -> Iterator[Gunicorn]:
    """Run gunicorn with the shipped configuration and two workers, until it is killed at the end.

    Options and environ override that. Without settings it runs in the folder, on its .env.
    """
    port = port or free_port()
    given = settings_environ(settings) if settings else {"PYTHON_DOTENV_DISABLED": "0"}
    given |= {"BIND": f"127.0.0.1:{port}", "WEB_CONCURRENCY": "2", **environ}
    env = clean_environ(folder, **given)
    log, access_log = folder / f"gunicorn-{port}.log", folder / f"access-{port}.log"
    arguments = ["-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"]
    arguments += ["--access-logfile", str(access_log)]
    arguments += ["--access-logformat", "%({REMOTE_PORT}e)s %(s)s %(U)s", *options, target]
    with running(arguments, log, cwd=ROOT if settings else folder, env=env) as process:
        gunicorn = Gunicorn(port, process, env, log, access_log)
        wait_until_serving(f"{gunicorn.url}/readyz", process, log)
        yield gunicorn


def gunicorn_config() -> dict[str, Any]:
    """Return what deploy/gunicorn.conf.py sets."""
    return runpy.run_path(str(ROOT / "deploy" / "gunicorn.conf.py"))
