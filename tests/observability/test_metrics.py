"""/metrics: what happened, counted once, whichever worker did it and whether it still lives."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from books_api.config import Settings
from books_api.extensions import db, redis
from tests.conftest import PASSWORD, Account, bearer
from tests.helpers import (
    BOOKS,
    change_password,
    log_in,
    log_out,
    log_out_everywhere,
    make_script_token,
    reuse_refresh_token,
)
from tests.processes import TIMEOUT, Gunicorn, running_gunicorn, wait_until, wait_until_serving

IN_USE = "books_api_database_connections_in_use"
REQUESTS = "books_api_request_duration_seconds_count"
WORKERS = 2


def sum_of(exposition: str, name: str, **labels: str) -> float:
    """The sum of the samples that have the labels."""
    of_name = "".join(f"{line}\n" for line in exposition.splitlines() if line.startswith(name))
    return sum(
        sample.value
        for family in text_string_to_metric_families(of_name)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.fixture
def value(client) -> Callable[..., float]:
    """Read a metric over HTTP."""
    return lambda name, **labels: sum_of(client.get("/metrics").text, name, **labels)


@pytest.fixture
def risen(value) -> Callable[..., float]:
    """Tell by how much a counter has risen since it was last asked for."""
    before: dict[str, float] = {}

    def risen(name, **labels):
        now = value(name, **labels)
        key = f"{name}{labels}"
        rise, before[key] = now - before.get(key, 0), now
        return rise

    return risen


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", f"{BOOKS}/", {"method": "GET", "route": f"{BOOKS}/", "status": "200"}),
        ("GET", f"{BOOKS}/{PASSWORD}", {"route": "unknown", "status": "404"}),
        ("BREW", f"{BOOKS}/", {"method": "unknown", "route": "unknown", "status": "405"}),
        ("GET", "/healthz", {"route": "/healthz", "status": "200"}),
    ],
)
def test_a_request_is_counted_by_route_and_status(client, alice, risen, method, path, labels):
    risen(REQUESTS, **labels)

    client.open(path, method=method, headers=alice.headers)

    assert risen(REQUESTS, **labels) == 1


def test_what_a_client_makes_up_is_not_a_label(client, alice):
    client.open(f"/made-up/{alice.id}?made-up", method="MADE-UP")

    answer = client.get("/metrics").text
    assert not any(word in answer.lower() for word in ("made-up", alice.id))


def test_a_login_that_fails_is_counted(client, alice, risen):
    risen("books_api_logins_failed_total")

    for password in ("not the right passphrase", PASSWORD):
        log_in(client, password=password)

    assert risen("books_api_logins_failed_total") == 1


def log_in_and(act):
    """Do it with two sessions."""

    def act_with_two(client, alice):
        log_in(client)
        act(client, alice)

    return act_with_two


@pytest.mark.parametrize(
    ("act", "reason", "ended"),
    [
        (log_out, "logout", 1),
        (log_in_and(log_out_everywhere), "logout_everywhere", 2),
        (reuse_refresh_token, "refresh_token_reused", 1),
        (log_in_and(change_password), "password_changed", 1),  # the one that changes it goes on
        (make_script_token, "logout", 0),
    ],
)
def test_sessions_that_end_are_counted_by_reason(client, alice, risen, act, reason, ended):
    name = "books_api_sessions_ended_total"
    risen(name)
    risen(name, reason=reason)

    act(client, alice)

    assert risen(name, reason=reason) == risen(name) == ended


def get(client, alice):
    return client.get(f"{BOOKS}/", headers=alice.headers)


def import_(client, alice):
    options = {"headers": alice.headers, "content_type": "text/csv"}
    return client.post(f"{BOOKS}/import", data="title,author\nMomo,Ende\n,\nEmma,\n", **options)


@pytest.mark.parametrize(
    ("name", "labels", "act", "rise"),
    [
        ("redis_round_trips", {"for": "revocation"}, get, 1),
        ("import_records", {"outcome": "imported"}, import_, 1),
        ("import_records", {"outcome": "rejected"}, import_, 2),
    ],
)
def test_what_an_operator_watches_is_counted(client, alice, risen, name, labels, act, rise):
    name = f"books_api_{name}_total"
    risen(name, **labels)

    act(client, alice)

    assert risen(name, **labels) == rise


def test_a_request_over_a_limit_is_counted_by_its_limit(make_app, risen):
    client = make_app(login_limit="1 per hour").test_client()
    risen("books_api_rate_limited_total", limit="login_limit")

    for _ in range(3):
        log_in(client, address="192.0.2.77")

    assert risen("books_api_rate_limited_total", limit="login_limit") == 2


def test_limits_counted_in_memory_are_counted(client, alice, risen, redis_server):
    risen("books_api_redis_fallbacks_total", **{"for": "limits"})
    redis_server.kill()

    log_in(client)

    assert risen("books_api_redis_fallbacks_total", **{"for": "limits"}) > 0


def test_an_emptied_redis_is_counted_as_fallback_and_refill(app, client, alice, risen):
    fallbacks, refills = "books_api_redis_fallbacks_total", "books_api_revocation_refills_total"
    risen(fallbacks, **{"for": "revocation"})
    risen(refills)
    with app.app_context():
        redis.client.flushall()

    get(client, alice)

    assert risen(fallbacks, **{"for": "revocation"}) == 1
    wait_until(lambda: risen(refills) == 1)


def test_name_that_is_asked_for_again_is_no_fallback(make_app, alice, risen):
    risen("books_api_redis_fallbacks_total", **{"for": "revocation"})

    get(make_app().test_client(), alice)  # as after a second without a request

    assert risen("books_api_redis_fallbacks_total", **{"for": "revocation"}) == 0


def test_a_wait_for_the_pool_is_counted(make_app, alice, risen):
    app = make_app(database_pool_size=1)
    risen("books_api_database_pool_wait_seconds_count")

    with app.app_context(), db.engine.connect():
        waiting = threading.Thread(target=get, args=(app.test_client(), alice))
        waiting.start()
        waiting.join(0.3)
    waiting.join(TIMEOUT)

    assert risen("books_api_database_pool_wait_seconds_count") >= 1
    assert risen("books_api_database_pool_wait_seconds_sum") > 0.2


def test_the_request_that_asks_is_in_flight(value):
    before = value("books_api_requests_in_flight")

    assert value("books_api_requests_in_flight") == before > 0


def test_connections_in_use_are_those_out_of_the_pool(app, value):
    with app.app_context(), db.engine.connect(), db.engine.connect():
        held = value(IN_USE)

    assert (held, value(IN_USE)) == (2, 0)


def test_a_connection_that_fails_is_not_in_use(make_app, settings, alice, value):
    away = make_app(database_url=settings.database_url.replace("5432", "1")).test_client()

    away.get(f"{BOOKS}/", headers=alice.headers)

    assert value(IN_USE) == 0


def test_metrics_are_no_part_of_the_contract(app):
    assert "/metrics" not in json.loads(app.extensions["openapi"])["paths"]


class Service(Gunicorn):
    """A gunicorn that is asked, and whose workers are replaced."""

    def get(self, path: str, token: str | None = None) -> requests.Response:
        # Without keep-alive, so that any worker may answer.
        headers = {"Connection": "close", **(bearer(token) if token else {})}
        return requests.get(f"{self.url}{path}", headers=headers, timeout=TIMEOUT)

    def nowhere(self) -> float:
        """The count of requests that led nowhere."""
        return sum_of(self.get("/metrics").text, REQUESTS, route="unknown")

    def ask_nowhere(self, times: int) -> None:
        for _ in range(times):
            self.get("/nowhere")

    def files(self) -> set[str]:
        return {path.name for path in self.log.parent.glob("books-api-metrics-*/*")}

    def replace(self, worker: int) -> None:
        """Kill the worker and wait until another serves in its place."""
        old = set(self.workers())
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: len(set(self.workers()) - old) == 1)
        wait_until(lambda: len(self.workers()) == WORKERS)

    def reload(self) -> None:
        """Reload and wait until the old workers are gone."""
        old = set(self.workers())
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not old & set(self.workers()) and len(self.workers()) == WORKERS)


@pytest.fixture
def service(app: Flask, settings: Settings, tmp_path: Path) -> Iterator[Service]:
    with running_gunicorn(tmp_path, settings, WEB_CONCURRENCY=str(WORKERS)) as gunicorn:
        wait_until(lambda: gunicorn.log.read_text().count("Booting worker") == WORKERS)
        yield Service(**vars(gunicorn))


@pytest.mark.long
def test_counters_of_all_workers_are_one_sum_and_outlive_each(service: Service) -> None:
    service.ask_nowhere(40)
    assert {service.nowhere() for _ in range(10)} == {40}
    for worker in service.workers():
        service.replace(worker)

        assert service.nowhere() == 40

    service.ask_nowhere(40)
    assert {service.nowhere() for _ in range(10)} == {80}


@pytest.mark.long
def test_counters_outlive_a_reload(service: Service) -> None:
    service.ask_nowhere(40)

    service.reload()

    service.ask_nowhere(40)
    assert {service.nowhere() for _ in range(10)} == {80}


@pytest.mark.long
def test_deaths_and_reloads_leave_no_more_files(service: Service) -> None:
    kinds = 4  # counter, gauge, histogram, summary
    for _ in range(3):
        for worker in service.workers():
            service.ask_nowhere(2)
            service.replace(worker)
        service.reload()

    assert len(service.files()) <= kinds * 2 * WORKERS  # during a reload there are twice as many


@pytest.mark.long
def test_a_dead_worker_uses_no_connection(app: Flask, service: Service, alice: Account) -> None:
    def ask() -> None:
        with pytest.raises(requests.ConnectionError):
            service.get(f"{BOOKS}/", alice.access_token)

    def in_use() -> float:
        return sum_of(service.get("/metrics").text, IN_USE)

    with app.app_context():
        db.session.execute(text("LOCK TABLE books IN ACCESS EXCLUSIVE MODE"))
        stuck = threading.Thread(target=ask)
        stuck.start()
        wait_until(lambda: in_use() == 1)
        for worker in service.workers():
            os.kill(worker, signal.SIGKILL)
        stuck.join(TIMEOUT)
        db.session.rollback()

    wait_until_serving(f"{service.url}/healthz", service.process, service.log)
    wait_until(lambda: in_use() == 0)


@pytest.mark.long
def test_a_service_has_the_sums_of_its_workers(service: Service) -> None:
    size = "books_api_database_pool_size"
    wait_until(lambda: sum_of(service.get("/metrics").text, size) == WORKERS * 10)

    exposition = service.get("/metrics").text

    assert sum_of(exposition, "books_api_workers") == WORKERS
    assert sum_of(exposition, "books_api_process_resident_memory_bytes") > WORKERS * 2**25


@pytest.mark.long
def test_a_stopped_service_leaves_no_files(service: Service) -> None:
    service.process.send_signal(signal.SIGTERM)

    assert service.process.wait(TIMEOUT) == 0
    assert list(service.log.parent.glob("books-api-metrics-*")) == []


@pytest.mark.long
def test_every_line_of_a_service_is_json(service: Service, alice: Account) -> None:
    service.get(f"{BOOKS}/?access_token={alice.access_token}", alice.access_token)
    service.replace(service.workers()[0])
    service.reload()
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(TIMEOUT)

    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert {line["logger"] for line in lines} >= {"gunicorn.error", "books_api.requests"}
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
    assert alice.access_token not in service.log.read_text()
