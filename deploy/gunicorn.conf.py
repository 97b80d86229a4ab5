"""gunicorn -c deploy/gunicorn.conf.py wsgi:app"""

import contextlib
import itertools
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from typing import Any

from gunicorn.glogging import Logger

bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY") or os.cpu_count() or 1)
worker_class = "gthread"
threads = 10  # two more than the logins that a process lets in at once: see auth/passwords.py
timeout = 30
graceful_timeout = 25
keepalive = 75  # longer than nginx keeps its idle connections, or it sends into a closed one
limit_request_line = 8190  # RFC 9112, 3: at least 8,000; as nginx has it
# Above what nginx lets through, or gunicorn refuses it in HTML of its own.
limit_request_field_size = 8200  # a line of nginx's has 8,192 bytes and what nginx adds: a space
limit_request_fields = 1_100  # nginx stops at 1,000, and adds six
forwarded_allow_ips = ""  # the application alone decides what it believes, by TRUSTED_PROXIES
max_requests = 0  # a worker renewed during an upgrade would run new code on the old schema
control_socket_disable = True  # it needs a writable HOME
memory = "/dev/shm"  # noqa: S108  # a worker's heartbeat must not wait for a disk
worker_tmp_dir = memory if os.path.isdir(memory) else None


class JSONFormatter(logging.Formatter):
    """The form of books_api/observability/logs.py.

    Imported from there, a SIGHUP would not renew it.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"))


class JSONLogger(Logger):
    """gunicorn's own lines in the form of the application's."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JSONFormatter())


if os.environ.get("LOG_FORMAT") != "text":
    logger_class = JSONLogger


# gunicorn ends the old workers as soon as it has forked the new ones, which serve nobody until
# they have loaded the application: a slow machine takes longer for that than nginx waits.


def on_reload(server: Any) -> None:
    server.replaced = old = set(server.WORKERS)
    server.num_workers = len(old) + server.cfg.workers
    threading.Thread(target=_end_when_replaced, args=(server, old), daemon=True).start()


def _end_when_replaced(server: Any, old: set[int]) -> None:
    new: list[Any] = []
    while len(new) < server.cfg.workers or not all(map(_serves, new)):
        time.sleep(0.1)
        new = [worker for pid, worker in list(server.WORKERS.items()) if pid not in old]
    if server.replaced is not old:  # a later reload ends these, too, when its own serve
        return
    server.num_workers = server.cfg.workers
    for pid in old & set(server.WORKERS):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    while old & set(server.WORKERS):
        time.sleep(0.1)
    if server.replaced is old:
        with contextlib.suppress(KeyError, FileNotFoundError):  # ExecReload waits for it
            os.unlink(f"{os.environ['RUNTIME_DIRECTORY']}/reload")


def _serves(worker: Any) -> bool:
    try:  # until its first heartbeat the file has the wall clock's time, then a monotonic one
        return bool(worker.tmp.last_update() <= time.monotonic())
    except (OSError, ValueError):  # it has ended
        return False


# Metrics: see books_api/observability/metrics.py. prometheus_client names a worker's files by its
# process id, so each new worker would leave some behind. Here they are named by the worker's place:
# one that takes a dead one's place counts on from where that stopped.


def on_starting(server: Any) -> None:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="books-api-metrics-")


def pre_fork(server: Any, worker: Any) -> None:
    taken = {other.place for other in server.WORKERS.values()}
    worker.place = next(place for place in itertools.count() if place not in taken)


def post_fork(server: Any, worker: Any) -> None:
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(lambda: worker.place)
    # An import, or the copy for Redis, computes for seconds. Python lets it keep others waiting for
    # 5 ms, and a small request needs its turn ten times: whenever it has talked to a server.
    sys.setswitchinterval(0.0005)


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.place)  # what it had in use


def on_exit(server: Any) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
