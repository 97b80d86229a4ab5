"""Programs under test, run as their users run them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

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


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_serving(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the URL answers; fail with the log when the process ends before."""

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with suppress(requests.ConnectionError):
            return bool(requests.get(url, timeout=TIMEOUT))
        return False

    wait_until(answers)
