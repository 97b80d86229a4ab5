"""What text can cost: no request takes more than a second of CPU, whatever is in its mebibyte."""

import json
import sys
import time
import unicodedata
from functools import cache
from urllib.parse import quote

import pytest
from marshmallow import ValidationError
from werkzeug.test import EnvironBuilder, run_wsgi_app

from books_api.auth import passwords
from books_api.auth.schemas import (
    LoginSchema,
    PasswordChangeSchema,
    PasswordResetSchema,
    ProfileSchema,
    SignupSchema,
)
from books_api.books.schemas import MARKS_MAX
from tests.conftest import PASSWORD
from tests.helpers import AUTH, BOOKS, exceptions

MEBIBYTE = 1024 * 1024
SECONDS = 1
MARKS = "\u0300" * (MEBIBYTE // 4), "\u0316" * (MEBIBYTE // 4)
TEXTS = {
    "letters": "a" * MEBIBYTE,
    "spaces": "x" + " " * MEBIBYTE + "x",
    "marks out of order": "".join(MARKS),
    "alternating marks": "\u0300\u0316" * (MEBIBYTE // 4),
    "points out of order": "\u05c1" * (MEBIBYTE // 4) + "\u05b0" * (MEBIBYTE // 4),
    "jamo": "\u1100\u1161\u11a8" * (MEBIBYTE // 9),
    "what grows when folded": "\ufdfa\u0130\u0390\u00df" * (MEBIBYTE // 9),
    "domains": "a@" + "a-." * (MEBIBYTE // 3),
    "local parts": "a." * (MEBIBYTE // 2) + "@example.com",
    "quotes": '"a,' * (MEBIBYTE // 3),
    "backslashes": "\\" * (MEBIBYTE // 2),
    "digits": "9-" * (MEBIBYTE // 2),
    "control characters": "\x01" * (MEBIBYTE // 6),
    "parameters": 'a;b*0="c&' * (MEBIBYTE // 9),
}
BODIES = {
    "login": ("POST", f"{AUTH}/login", lambda text: {"email": text, "password": text}),
    "signup": (
        *("POST", f"{AUTH}/signup"),
        lambda text: {"username": text, "email": text, "password": text, "first_name": text},
    ),
    "profile": (
        *("PATCH", f"{AUTH}/me"),
        lambda text: {"username": text, "email": text, "current_password": PASSWORD},
    ),
    "password": (
        *("POST", f"{AUTH}/password"),
        lambda text: {"current_password": PASSWORD, "new_password": text},
    ),
    "reset": (
        *("POST", f"{AUTH}/password-reset"),
        lambda text: {"token": text, "new_password": text},
    ),
    "session": ("POST", f"{AUTH}/sessions", lambda text: {"name": text}),
    "new book": (
        *("POST", f"{BOOKS}/"),
        lambda text: {"title": text, "author": text, "publisher": text, "isbn": text, text: text},
    ),
    "changed book": (
        *("PATCH", f"{BOOKS}/{{book}}"),
        lambda text: {"title": text, "published_date": text, "page_count": text, "language": text},
    ),
}
HEADERS = [
    *("Authorization", "Content-Type", "Cookie", "Host", "Idempotency-Key", "If-Match"),
    *("If-None-Match", "Origin", "User-Agent", "X-Forwarded-For", "X-Request-ID"),
]
JSON = "application/json"
FIELDS = ["title", "author", "publisher", "published_date", "page_count", "language", "isbn"]


@cache
def quoted(text):
    return quote(text[: MEBIBYTE // 3])


@pytest.fixture
def cost(app, share_app, alice, make_book, monkeypatch):
    """Send a request as Alice; return its status and the seconds of CPU that it takes."""
    monkeypatch.setattr(passwords, "METHOD", "scrypt:2:8:1")  # not a matter of text
    monkeypatch.setattr(passwords, "NOBODYS_HASH", "scrypt:2:8:1$salt$")
    app = share_app(trusted_proxies=1)
    book = make_book(alice)["id"]

    def cost(method, path, *, environ=None, **options):
        path = path.format(book=book)
        builder = EnvironBuilder(path=path, method=method, headers=alice.headers, **options)
        environ = {**builder.get_environ(), **(environ or {})}
        before = time.process_time()
        _, status, _ = run_wsgi_app(app, environ, buffered=True)
        return int(status[:3]), time.process_time() - before

    return cost


@pytest.fixture
def costs(cost):
    """Send a request for each of the texts; return what each takes."""

    def costs(method, path, options, *, statuses):
        for text in TEXTS.values():
            status, seconds = cost(method, path, **options(text))
            assert status in statuses
            yield seconds

    return costs


@pytest.mark.long
@pytest.mark.parametrize(("method", "path", "make"), BODIES.values(), ids=BODIES)
def test_a_body_takes_a_second_at_most(costs, method, path, make):
    def options(text):
        fields = make(text)
        share = {name[:50]: value[: len(text) // len(fields)] for name, value in fields.items()}
        body = json.dumps(share, ensure_ascii=False).encode()
        return {"data": body, "content_type": JSON}

    assert max(costs(method, path, options, statuses={413, 422})) < SECONDS


@pytest.mark.parametrize(
    "schema", [LoginSchema, SignupSchema, ProfileSchema, PasswordChangeSchema, PasswordResetSchema]
)
def test_what_is_too_long_is_not_normalized(app, schema):
    """Not even where nothing else limits the body, as on the command line."""
    for name, text in TEXTS.items():
        middle = len(text) // 2  # where the order changes
        fields = dict.fromkeys(schema().fields, text[middle - 32_768 : middle + 32_768])
        before = time.process_time()

        with pytest.raises(ValidationError):
            schema().load(fields)

        assert time.process_time() - before < SECONDS, name


def test_nfc_makes_at_most_one_character_of_four():
    characters = map(chr, range(sys.maxunicode + 1))

    assert max(len(unicodedata.normalize("NFD", character)) for character in characters) == 4


@pytest.mark.parametrize(("length", "status"), [(4 * 50, 200), (4 * 50 + 1, 422)])
def test_text_that_fits_when_it_is_normalized_is_taken(client, alice, length, status):
    username = ("\u03b1\u0313\u0300\u0345" * 51)[:length]  # four make one

    response = client.patch(f"{AUTH}/me", json={"username": username}, headers=alice.headers)

    assert response.status_code == status


@pytest.mark.long
@pytest.mark.parametrize("name", ["q", "author", "cursor", "x"])
def test_a_query_takes_a_second_at_most(costs, name):
    def options(text):
        return {"environ": {"QUERY_STRING": f"{name}={quoted(text)}"[:MEBIBYTE]}}

    assert max(costs("GET", f"{BOOKS}/", options, statuses={200, 400, 422})) < SECONDS


@pytest.mark.parametrize("parameter", ["a&", "&", "%41&", "a=%C3%A9&", "limit=1&"])
def test_many_parameters_take_a_second_at_most(cost, parameter):
    query = parameter * (MEBIBYTE // len(parameter))

    status, seconds = cost("GET", f"{BOOKS}/", environ={"QUERY_STRING": query})

    assert status == 400
    assert seconds < SECONDS


@pytest.mark.long
def test_a_path_takes_a_second_at_most(costs):
    def options(text):
        return {"environ": {"PATH_INFO": f"{BOOKS}/{text.encode().decode('latin-1')}"}}

    assert max(costs("GET", "/", options, statuses={400, 404})) < SECONDS


@pytest.mark.long
@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_header_takes_a_second_at_most(costs, method, name):
    def options(text):
        key = "CONTENT_TYPE" if name == "Content-Type" else f"HTTP_{name}".upper().replace("-", "_")
        return {"json": {}, "environ": {key: text.encode().decode("latin-1")}}

    statuses = {200, 400, 401, 412, 415}
    assert max(costs(method, f"{BOOKS}/{{book}}", options, statuses=statuses)) < SECONDS


@pytest.mark.long
@pytest.mark.parametrize("field", FIELDS)
def test_an_import_takes_a_second_at_most(costs, field):
    def options(text):
        record = {"title": "Momo", "author": "Ende", field: text}
        body = json.dumps(record, ensure_ascii=False).encode()
        return {"data": body, "content_type": "application/x-ndjson"}

    assert max(costs("POST", f"{BOOKS}/import", options, statuses={200, 422})) < SECONDS


@pytest.mark.long
@pytest.mark.parametrize("start", ["", "title,author\n", 'title,author\n"', "title,author,"])
def test_an_import_of_csv_takes_a_second_at_most(costs, start):
    def options(text):
        return {"data": (start + text).encode()[:MEBIBYTE], "content_type": "text/csv"}

    assert max(costs("POST", f"{BOOKS}/import", options, statuses={200, 422})) < SECONDS


@pytest.mark.long
def test_quotes_that_never_match_take_a_second_at_most(cost):
    body = ("title,author\n" + 'a","\n' * (MEBIBYTE // 5)).encode()

    status, seconds = cost("POST", f"{BOOKS}/import", data=body, content_type="text/csv")

    assert status == 422
    assert seconds < SECONDS


@pytest.mark.parametrize(("number", "status"), [(MARKS_MAX, 201), (MARKS_MAX + 1, 422)])
def test_a_title_has_no_more_marks_in_a_row_than_any_writing(client, alice, number, status):
    titles = [
        "a" * before + (marks * number)[:number] + "b"
        for before in (0, 1, 29, 30, 31)
        for marks in ("\u0300", "\u0300\u0316", "\u05c1\u05b0")
    ]

    def status_of(title):
        values = {"title": title, "author": title}
        return client.post(f"{BOOKS}/", json=values, headers=alice.headers).status_code

    assert exceptions(status, status_of, titles) == {}


def test_a_search_takes_any_number_of_marks(client, alice, make_book):
    book = make_book(alice, title="Momo", author="Ende")

    response = client.get(
        f"{BOOKS}/", query_string={"q": "Mo" + MARKS[0][:900] + "mo"}, headers=alice.headers
    )

    assert response.json == [book]
