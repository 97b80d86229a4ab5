"""One line for each request, and its id in every line of it."""

import logging

import pytest

from books_api.observability.logs import FORMATTERS
from tests.conftest import KEY
from tests.helpers import AUTH, BOOKS, NOBODY

A_BOOK = f"{BOOKS}/<uuid:book_id>"


@pytest.fixture
def requests(lines):
    """Return the lines of requests."""
    return lambda: lines("books_api.requests")


@pytest.fixture
def broken(app, monkeypatch):
    """The application with a bug in one view."""

    def view(**_):
        raise ZeroDivisionError

    monkeypatch.setitem(app.view_functions, "auth.list_sessions", view)


@pytest.mark.parametrize(
    ("method", "path", "status", "route"),
    [
        ("GET", f"{BOOKS}/", 200, f"{BOOKS}/"),
        ("POST", f"{BOOKS}/", 415, f"{BOOKS}/"),
        ("GET", f"{BOOKS}/export", 200, f"{BOOKS}/export"),
        ("GET", f"{BOOKS}/{NOBODY}", 404, A_BOOK),
        ("GET", f"{BOOKS}/?limit=0", 422, f"{BOOKS}/"),
        ("GET", "/nothing", 404, "unknown"),
        ("PUT", f"{BOOKS}/", 405, "unknown"),
        ("GET", f"{AUTH}/sessions", 500, f"{AUTH}/sessions"),
    ],
)
def test_a_request_is_one_line(client, alice, broken, requests, method, path, status, route):
    client.open(path, method=method, headers=alice.headers).get_data()

    (line,) = requests()
    assert (line["method"], line["route"], line["status"]) == (method, route, status)
    assert line["level"] == "info"
    assert 0 < line["milliseconds"] < 10_000


def test_the_line_names_the_user(client, alice, requests):
    client.get(f"{BOOKS}/", headers=alice.headers)

    assert requests()[0]["user_id"] == alice.id


def test_the_line_of_a_forbidden_request_names_the_user(client, alice, requests):
    client.get(f"{AUTH}/users", headers=alice.headers)

    assert (requests()[0]["status"], requests()[0]["user_id"]) == (403, alice.id)


def test_the_line_of_a_stranger_names_nobody(client, requests):
    client.get(f"{BOOKS}/")

    assert (requests()[0]["status"], requests()[0]["user_id"]) == (401, None)


def test_the_line_has_the_id_that_the_answer_has(client, requests):
    response = client.get(f"{BOOKS}/")

    assert requests()[0]["request_id"] == response.json["request_id"]
    assert requests()[0]["request_id"] == response.headers["X-Request-ID"]


def test_the_line_has_the_id_that_the_proxy_set(make_app, requests):
    proxied = make_app(trusted_proxies=1).test_client()

    proxied.get(f"{BOOKS}/", headers={"X-Request-ID": "0123456789abcdef"})

    assert requests()[0]["request_id"] == "0123456789abcdef"


def test_a_path_and_its_query_string_are_not_logged(client, alice, log):
    client.get(f"{BOOKS}/{NOBODY}?access_token={KEY}", headers=alice.headers)
    client.get(f"/{KEY}?password={KEY}")

    assert "books_api.requests" in log.getvalue()
    assert KEY not in log.getvalue()
    assert NOBODY not in log.getvalue()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_a_probe_that_succeeds_is_no_line(client, requests, path):
    assert client.get(path).status_code == 200
    assert requests() == []


def test_a_probe_that_fails_is_a_line(make_app, settings, requests):
    away = make_app(database_url=settings.database_url.replace("5432", "1")).test_client()

    away.get("/readyz")

    assert [(line["route"], line["status"]) for line in requests()] == [("/readyz", 503)]


def test_an_unforeseen_error_has_the_id_of_its_request(client, alice, broken, lines):
    response = client.get(f"{AUTH}/sessions", headers=alice.headers)

    (line,) = lines("books_api")
    assert line["request_id"] == response.json["request_id"]
    assert (line["level"], "ZeroDivisionError" in line["exception"]) == ("error", True)


def test_an_outage_has_the_id_of_its_request(make_app, settings, alice, lines):
    away = make_app(database_url=settings.database_url.replace("5432", "1")).test_client()

    response = away.get(f"{BOOKS}/", headers=alice.headers)

    (line,) = lines("books_api")
    assert response.status_code == 503
    assert (line["level"], line["request_id"]) == ("warning", response.json["request_id"])


def test_the_text_format_has_the_same_in_one_line(client, alice, log):
    (handler,) = (h for h in logging.getLogger().handlers if getattr(h, "stream", None) is log)
    handler.setFormatter(FORMATTERS["text"])

    response = client.get(f"{BOOKS}/", headers=alice.headers)

    (line,) = log.getvalue().splitlines()
    assert f"INFO books_api.requests: request method=GET route={BOOKS}/ status=200" in line
    assert line.endswith(f"user_id={alice.id} request_id={response.headers['X-Request-ID']}")


def test_a_traceback_of_the_text_format_stands_below_its_line(client, alice, broken, log):
    (handler,) = (h for h in logging.getLogger().handlers if getattr(h, "stream", None) is log)
    handler.setFormatter(FORMATTERS["text"])

    response = client.get(f"{AUTH}/sessions", headers=alice.headers)

    first, second, *_ = log.getvalue().splitlines()
    assert first.endswith(f"request_id={response.json['request_id']}")
    assert second == "Traceback (most recent call last):"
