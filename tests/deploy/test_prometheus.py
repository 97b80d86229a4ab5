"""deploy/prometheus and deploy/grafana, with a real Prometheus: a fault fires each alert."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
import yaml
from flask import Flask
from redis import Redis as RedisClient

from books_api.config import Settings
from tests.conftest import PASSWORD, Account, Servers
from tests.helpers import AUTH, BOOKS, REFRESH, locked, together
from tests.processes import (
    ROOT,
    TIMEOUT,
    Gunicorn,
    clean_environ,
    free_port,
    running_gunicorn,
    running_program,
    wait_until,
)

pytestmark = pytest.mark.deploy

RULES = ROOT / "deploy" / "prometheus" / "books-api-alerts.yml"
CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "books-api.json").read_text())
# Minutes and hours would take as long here.
FASTER = [
    *((r"\[5m\]", "[10s]"), (r"\[15m\]", "[40s]"), (r"\[1h\]", "[40s]"), (r"for: \d+m", "for: 0s"))
]


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip("prometheus is not installed")


def alerts() -> dict[str, Any]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_prometheus_accepts_the_configuration_and_the_rules(tmp_path):
    for file in (CONFIG, RULES):
        shutil.copy(file, tmp_path)

    subprocess.run(["promtool", "check", "config", tmp_path / CONFIG.name], check=True)


@pytest.fixture(scope="module")
def service(migrated_app: Flask, settings: Settings, folder: Path) -> Iterator[Gunicorn]:
    with running_gunicorn(folder, settings, DATABASE_POOL_SIZE="1") as gunicorn:
        yield gunicorn


@pytest.fixture(scope="module")
def prometheus(service: Gunicorn, folder: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes the service each second."""
    own = folder / "prometheus"
    own.mkdir()
    rules = RULES.read_text()
    for pattern, replacement in FASTER:
        rules = re.sub(pattern, replacement, rules)
    (own / RULES.name).write_text(rules)
    config = CONFIG.read_text().replace("15s", "1s")
    (own / CONFIG.name).write_text(config.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}"))
    url = f"http://127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={own / CONFIG.name}", f"--storage.tsdb.path={own}"]
    command.append(f"--web.listen-address={url.removeprefix('http://')}")
    with running_program(command, own / "log", cwd=own, env=clean_environ(folder)):

        def scrapes() -> bool:
            with suppress(requests.RequestException):
                return bool(ask(url, "books_api_workers"))
            return False

        wait_until(scrapes)
        yield url


def ask(url: str, query: str) -> list[dict[str, Any]]:
    answer = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=TIMEOUT).json()
    assert answer["status"] == "success", answer
    return list(answer["data"]["result"])


class World:
    """What a fault can be done to."""

    def __init__(self, service: Gunicorn, servers: Servers, account: Account) -> None:
        self.service, self.servers, self.account = service, servers, account

    def request(self, method: str, path: str, **options: Any) -> None:
        options = {"headers": self.account.headers, "timeout": TIMEOUT, **options}
        with suppress(requests.RequestException):
            requests.request(method, f"{self.service.url}{path}", **options)

    def log_in(self, password: str = "not the right one", email: str = "") -> None:
        body = {"email": email or self.account.email, "password": password}
        self.request("POST", f"{AUTH}/login", json=body, headers={})

    def guess(self) -> None:
        together(*[partial(self.log_in, email=f"{uuid4()}@example.com") for _ in range(8)])

    def read(self) -> None:
        self.request("GET", f"{BOOKS}/")

    def read_together(self) -> None:
        together(*[self.read] * 4)

    def use_refresh_token(self) -> None:
        bearer = {"Authorization": f"Bearer {self.account.refresh_token}"}
        for _ in range(2):
            answer = requests.post(
                f"{self.service.url}{REFRESH}", headers=bearer, timeout=TIMEOUT
            ).json()
            following = {"Authorization": f"Bearer {answer.get('refresh_token', '')}"}
            self.request("POST", REFRESH, headers=following)

    def kill_the_newest_worker(self) -> None:
        with suppress(IndexError, ProcessLookupError):
            os.kill(self.service.workers()[-1], signal.SIGKILL)  # the older one answers Prometheus
        time.sleep(1.5)

    def empty_redis(self) -> None:
        with RedisClient.from_url(self.servers.redis.url) as client:
            client.flushdb()
        self.read()


@contextmanager
def without_redis(world: World) -> Iterator[None]:
    world.servers.redis.kill()
    try:
        yield
    finally:
        world.servers.redis.start()


@contextmanager
def without_postgres(world: World) -> Iterator[None]:
    world.servers.postgres.stop()
    try:
        yield
    finally:
        world.servers.postgres.start()


@contextmanager
def with_a_lock(world: World) -> Iterator[None]:
    with locked(world.servers, "LOCK TABLE books IN ACCESS EXCLUSIVE MODE"):
        yield


@contextmanager
def without_the_service(world: World) -> Iterator[None]:
    world.service.process.send_signal(signal.SIGSTOP)
    for worker in world.service.workers():
        os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in [*world.service.workers(), world.service.process.pid]:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def nothing(_: World) -> Iterator[None]:
    yield


Fault = Callable[[World], AbstractContextManager[None]]
# The alert, what is broken, and what is done meanwhile until the alert fires.
FAULTS: dict[str, tuple[Fault, Callable[[World], None]]] = {
    "BooksApiUnavailable": (without_postgres, World.read),
    "BooksApiSlow": (with_a_lock, World.read),
    "BooksApiPoolExhausted": (with_a_lock, World.read_together),
    "BooksApiRedisFallback": (without_redis, World.log_in),
    "BooksApiLoginsFailing": (nothing, World.guess),
    "BooksApiRateLimited": (nothing, World.log_in),
    "BooksApiRefreshTokenReused": (nothing, World.use_refresh_token),
    "BooksApiRefillsRepeated": (nothing, World.empty_redis),
    "BooksApiWorkersDying": (nothing, World.kill_the_newest_worker),
    "BooksApiDown": (without_the_service, lambda _: time.sleep(1)),
}


def test_every_alert_has_a_fault_here():
    assert FAULTS.keys() == alerts().keys()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fires_its_alert(service, servers, prometheus, alice, name):
    world = World(service, servers, alice)
    fault, act = FAULTS[name]

    def fires() -> bool:
        act(world)
        return bool(ask(prometheus, f'ALERTS{{alertname="{name}", alertstate="firing"}}'))

    with fault(world):
        wait_until(fires, 2 * TIMEOUT)


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: str(panel["title"]))
def test_a_query_of_the_dashboard_has_an_answer(service, servers, prometheus, alice, panel):
    world = World(service, servers, alice)
    (target,) = panel["targets"]
    query = target["expr"].replace("$__rate_interval", "10s")

    def answers() -> bool:
        world.log_in(PASSWORD)
        world.request("GET", f"{BOOKS}/")
        options = {"data": "title,author\nMomo,Ende\n", "timeout": TIMEOUT}
        headers = {**alice.headers, "Content-Type": "text/csv"}
        world.request("POST", f"{BOOKS}/import", headers=headers, **options)
        return bool(ask(prometheus, query))

    wait_until(answers)
