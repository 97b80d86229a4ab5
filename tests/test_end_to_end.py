"""The main job on real input: gunicorn with wsgi:app, and a plain HTTP client."""

import csv
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from flask import Flask
from sqlalchemy import text

from books_api import PREFIX
from books_api.config import Settings
from books_api.extensions import db
from tests.conftest import NEVER, Account
from tests.processes import ROOT, TIMEOUT, Gunicorn, running_gunicorn, wait_until

BOOKS = ROOT / "tests" / "data" / "books500.csv"


class Client(requests.Session):
    """An HTTP client that takes nothing but the status expected."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.trust_env = False

    def call(self, method: str, path: str, status: int, **options: Any) -> requests.Response:
        response = self.request(method, f"{self.url}{path}", timeout=TIMEOUT, **options)
        assert response.status_code == status, response.text
        return response

    def use(self, token: str) -> None:
        self.headers["Authorization"] = f"Bearer {token}"


@pytest.fixture
def workers(request: pytest.FixtureRequest) -> int:
    """One, unless the test is parametrized."""
    return int(getattr(request, "param", 1))


@pytest.fixture
def service(app: Flask, settings: Settings, folder: Path, workers: int) -> Iterator[Gunicorn]:
    environ = {"WEB_CONCURRENCY": str(workers), "LOGIN_LIMIT": NEVER, "SIGNUP_LIMIT": NEVER}
    with running_gunicorn(folder, settings, **environ) as service:
        yield service


@pytest.fixture
def client(service: Gunicorn) -> Iterator[Client]:
    with Client(service.url + PREFIX) as client:
        yield client


def real_books() -> list[dict[str, Any]]:
    """Return the records of the data set as the API takes them."""
    with BOOKS.open(encoding="utf-8", newline="") as file:
        return [
            {
                "title": row["title"],
                "author": row["authors"],
                "publisher": row["publisher"],
                "published_date": f"{datetime.strptime(row['publication_date'], '%m/%d/%Y'):%F}",
                "page_count": int(row["  num_pages"]),
                "language": row["language_code"],
                "isbn": row["isbn13"],
            }
            for row in csv.DictReader(file)
        ]


def walk(client: Client, path: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the pages of a list, led by Link alone."""
    response = client.call("GET", path, 200)
    yield response.json()
    while "next" in response.links:
        url = urlsplit(response.links["next"]["url"])  # its host may be a name for what is here
        url = urljoin(response.url, f"{url.path}?{url.query}")
        response = client.get(url, timeout=TIMEOUT)
        assert response.status_code == 200, response.text
        yield response.json()


@pytest.mark.parametrize("workers", [2], indirect=True)
def test_a_client_keeps_100_real_books(service: Gunicorn, client: Client) -> None:
    account = {"email": "zoë@example.com", "password": "correct horse battery staple"}
    names = {"username": "Zoë", "first_name": "Zoë", "last_name": "Dvořák"}
    user = client.call("POST", "/auth/signup", 201, json=account | names).json()
    tokens = client.call("POST", "/auth/login", 200, json=account).json()
    client.use(tokens["access_token"])

    sent = real_books()[::5]
    assert len(sent) == 100
    assert not all(book["title"].isascii() for book in sent)
    created = [client.call("POST", "/books/", 201, json=book).json() for book in sent]
    pages = list(walk(client, "/books/?limit=20"))
    listed = [book for page in pages for book in page]

    assert [len(page) for page in pages] == [20] * 5
    assert listed == created[::-1]
    assert [{name: book[name] for name in sent[0]} for book in created] == sent
    assert {book["user_uid"] for book in listed} == {user["id"]}

    first, second, *rest = [f"/books/{book['id']}" for book in created]
    assert client.call("GET", first, 200).json() == created[0]
    changed = client.call("PATCH", first, 200, json={"title": "三体"}).json()
    assert changed["title"] == "三体"
    assert client.call("GET", first, 200).json() == changed
    client.call("DELETE", second, 204)
    client.call("GET", second, 404)
    remaining = [book["id"] for page in walk(client, "/books/?limit=100") for book in page]
    assert remaining == [path.rpartition("/")[2] for path in [first, *rest]][::-1]

    client.use(tokens["refresh_token"])
    refreshed = client.call("GET", "/auth/refresh-token", 200).json()["access_token"]
    client.use(refreshed)
    client.call("GET", first, 200)
    client.call("POST", "/auth/logout", 200)
    for token in (tokens["access_token"], refreshed):
        client.use(token)
        client.call("GET", first, 401)
    client.use(tokens["refresh_token"])
    client.call("GET", "/auth/refresh-token", 401)

    client.close()  # gunicorn lets an idle connection linger when it stops
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(TIMEOUT) == 0
    assert max(line.split()[1] for line in service.access_log.read_text().splitlines()) < "500"
    assert service.errors() == []


def test_sigterm_finishes_the_request_in_flight(
    service: Gunicorn, client: Client, app: Flask, alice: Account
) -> None:
    client.use(alice.access_token)
    book = client.call("POST", "/books/", 201, json={"title": "Ada", "author": "Nabokov"}).json()
    answers = []

    def change() -> None:
        # Without keep-alive, or gunicorn lets the idle connection linger when it stops.
        client.headers["Connection"] = "close"
        answers.append(client.patch(f"{client.url}/books/{book['id']}", json={"title": "Lolita"}))

    request = threading.Thread(target=change)
    with app.app_context(), db.engine.connect() as observer:
        db.session.execute(text("SELECT FROM books FOR UPDATE"))  # holds up the change
        request.start()
        waiting = text("SELECT FROM pg_locks WHERE NOT granted")
        wait_until(lambda: observer.execute(waiting).all())
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Handling signal: term" in service.log.read_text())
        db.session.rollback()
    request.join(TIMEOUT)

    assert [answer.status_code for answer in answers] == [200]
    assert service.process.wait(TIMEOUT) == 0


def test_sighup_reloads_without_losing_a_request(service: Gunicorn) -> None:
    statuses = set()
    service.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + TIMEOUT
    while "Worker exiting" not in service.log.read_text() and time.monotonic() < deadline:
        statuses.add(requests.get(f"{service.url}/healthz", timeout=TIMEOUT).status_code)

    assert statuses == {200}
