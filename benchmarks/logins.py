"""Logins at full tilt, and what a GET takes meanwhile. The rate limits are lifted for it."""

import http.client
import json
import threading
import time
from statistics import median
from typing import Any

from benchmarks.report import Bound, table
from benchmarks.servers import (
    EMAIL,
    PASSWORD,
    TIMEOUT,
    catalogue,
    deployment,
    gunicorn,
    import_file,
    requests,
)
from books_api import PREFIX

CLIENTS = 8


def measure(quick: bool) -> dict[str, float]:
    """Return logins a second, and the median milliseconds of a GET without and with them."""
    seconds = 2 if quick else 15
    with deployment() as place:
        import_file(catalogue(), place.user_id)
        path = requests()[0][2]
        with gunicorn(place) as served:
            idle = served.get_for(seconds, path, place.token)
            stop = threading.Event()
            statuses: list[int] = []
            threads = [
                threading.Thread(target=log_in, args=(served.port, stop, statuses))
                for _ in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            begun = time.monotonic()
            meanwhile = served.get_for(seconds, path, place.token)
            done, took = list(statuses), time.monotonic() - begun
            stop.set()
            for thread in threads:
                thread.join()
    return {
        "logins/s": done.count(200) / took,
        "refused": len(done) - done.count(200),
        "idle": median(idle) * 1000,
        "meanwhile": median(meanwhile) * 1000,
    }


def log_in(port: int, stop: threading.Event, statuses: list[int]) -> None:
    body = json.dumps({"email": EMAIL, "password": PASSWORD})
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"{PREFIX}/auth/login", body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        statuses.append(answer.status)


def describe(result: dict[str, Any]) -> str:
    return table(
        ("what", "value"),
        [
            (f"logins a second, {CLIENTS} clients", result["logins/s"]),
            ("logins refused (503)", result["refused"]),
            ("median GET /books/{id} on a new connection, idle, ms", result["idle"]),
            ("the same meanwhile, ms", result["meanwhile"]),
        ],
    )


def bounds(result: dict[str, Any]) -> list[Bound]:
    slower = result["meanwhile"] / result["idle"]
    return [Bound("median GET while logins run at full tilt, over idle", slower, 3)]
