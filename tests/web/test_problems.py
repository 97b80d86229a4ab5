"""Every error as problem details (RFC 9457), one row of the contract after the other."""

import gzip
import io
import json

import pytest

from books_api import PREFIX
from books_api.web.openapi import BASE
from books_api.web.problems import TYPES
from tests.helpers import AUTH, BOOKS, CAROL, MOMO, NOBODY, exceptions

MEMBERS = {"type", "title", "status", "detail", "instance", "request_id"}
MEBIBYTE = 1024 * 1024
JSON = "application/json"
GZIP = {"Content-Encoding": "gzip"}
LARGE_CATALOGUE = b"title,author\n" + 33 * (b"x" * (MEBIBYTE // 2 - 1) + b"\n")
LARGE_CATALOGUE = LARGE_CATALOGUE[: 16 * MEBIBYTE]


@pytest.fixture
def send(client, alice, bob, make_book):
    """Send a request as bob; {book} in its path is alice's, {mine} is bob's."""
    books = {"book": make_book(alice)["id"], "mine": make_book(bob)["id"], "user": alice.id}

    def send(method, path, *, token=True, headers=None, **options):
        headers = {**(bob.headers if token else {}), **(headers or {})}
        return client.open(path.format(**books), method=method, headers=headers, **options)

    return send


def chunked(body):
    """What makes a request's body come without a Content-Length, as servers hand it over."""
    return {
        "input_stream": io.BytesIO(body),
        "content_type": JSON,
        "environ_overrides": {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    }


def book_of(size):
    """A valid body of exactly so many bytes."""
    return json.dumps(MOMO).encode().ljust(size)


def as_json(body):
    return {"data": body, "content_type": JSON}


GET, POST = ("GET", f"{BOOKS}/"), ("POST", f"{BOOKS}/")
ERRORS = {
    "malformed": (400, "malformed-request", *POST, as_json(b"{")),
    "no_body": (400, "malformed-request", *POST, as_json(b"")),
    "no_token": (401, "token-missing", *GET, {"token": False}),
    "bad_token": (401, "token-invalid", *GET, {"headers": {"Authorization": "Bearer x"}}),
    "other_scheme": (401, "token-missing", *GET, {"headers": {"Authorization": "Basic eDp5"}}),
    "wrong_role": (403, "role-required", "GET", f"{AUTH}/users", {}),
    "not_the_owner": (403, "not-the-owner", "PATCH", f"{BOOKS}/{{book}}", {"json": MOMO}),
    "no_book": (404, "not-found", "GET", f"{BOOKS}/{NOBODY}", {}),
    "no_user": (404, "not-found", "GET", f"{BOOKS}/user/{NOBODY}", {}),
    "no_id": (404, "not-found", "GET", f"{BOOKS}/three", {}),
    "no_path": (404, "not-found", "GET", f"{PREFIX}/nothing", {}),
    "no_path_outside": (404, "not-found", "GET", "/nothing", {}),
    "no_version": (404, "not-found", "GET", "/api/v2/books", {}),
    "method": (405, "method-not-allowed", "PUT", f"{BOOKS}/", {"json": MOMO}),
    "method_outside": (405, "method-not-allowed", "POST", "/healthz", {}),
    "taken": (409, "username-taken", "PATCH", f"{AUTH}/me", {"json": {"username": "ALICE"}}),
    "changed": (
        *(412, "book-changed", "PATCH", f"{BOOKS}/{{mine}}"),
        {"json": MOMO, "headers": {"If-Match": '"7"'}},
    ),
    "large": (413, "content-too-large", *POST, as_json(book_of(MEBIBYTE + 1))),
    "large_chunked": (413, "content-too-large", *POST, chunked(book_of(MEBIBYTE + 1))),
    "large_for_auth": (
        *(413, "content-too-large", "PATCH", f"{AUTH}/me"),
        {"data": b"{}".ljust(16 * 1024 + 1), "content_type": JSON},
    ),
    "compressed": (
        *(415, "unsupported-media-type", *POST),
        {"data": gzip.compress(b"{}"), "content_type": JSON, "headers": GZIP},
    ),
    "compressed_import": (
        *(415, "unsupported-media-type", "POST", f"{BOOKS}/import"),
        {"data": b"title", "content_type": "text/csv", "headers": {"Content-Encoding": "br"}},
    ),
    "no_type": (415, "unsupported-media-type", *POST, {"data": json.dumps(MOMO)}),
    "wrong_type": (
        415,
        "unsupported-media-type",
        *POST,
        {"data": "x", "content_type": "text/plain"},
    ),
    "invalid_body": (422, "validation", *POST, {"json": {}}),
    "unknown_columns": (
        *(422, "validation", "POST", f"{BOOKS}/import"),
        {"data": "Foo,Bar\nMomo,Ende\n", "content_type": "text/csv"},
    ),
    "invalid_query": (422, "validation", "GET", f"{BOOKS}/?limit=0", {}),
    "invalid_cursor": (422, "validation", "GET", f"{BOOKS}/?cursor=x", {}),
}
EVERY_ERROR = pytest.mark.parametrize(
    ("status", "kind", "method", "path", "options"),
    ERRORS.values(),
    ids=[f"{error[0]}_{name}" for name, error in ERRORS.items()],
)


def renewed(options):
    """The options with a stream that nobody has read."""
    stream = options.get("input_stream")
    return {**options, "input_stream": io.BytesIO(stream.getvalue())} if stream else options


@EVERY_ERROR
def test_an_error_is_a_problem_of_a_type_which_is_a_page(
    send, client, status, kind, method, path, options
):
    response = send(method, path, **renewed(options))

    problem, optional = response.json, {"errors", "current"}
    assert (response.status_code, problem["status"]) == (status, status)
    assert problem["type"] == f"/problems/{kind}"
    assert response.headers["Content-Type"] == "application/problem+json"
    assert set(problem) - optional == MEMBERS
    assert all(isinstance(problem[name], str) for name in MEMBERS - {"status"})
    assert problem["request_id"] == response.headers["X-Request-ID"] != ""
    assert f"<h1>{problem['title']}</h1>" in client.get(problem["type"]).text


def test_a_page_says_what_its_type_means_and_what_to_do(client):
    pages = {name: client.get(f"/problems/{name}").text for name in TYPES}

    assert [name for name, page in pages.items() if "<p></p>" in page] == []
    for name, page in pages.items():
        assert f"<code>/problems/{name}</code>, status {TYPES[name].status}." in page


def test_an_unknown_type_has_no_page(client):
    assert client.get("/problems/nothing").status_code == 404


def test_an_error_names_the_path_of_its_request(send):
    response = send("GET", "/nö thing?limit=5")

    assert response.json["instance"] == "/n%C3%B6%20thing"


def test_two_requests_have_two_ids(send):
    ids = {send("GET", "/nothing").json["request_id"] for _ in range(2)}

    assert len(ids) == 2


def test_the_id_of_a_request_is_not_the_clients(send):
    response = send("GET", "/nothing", headers={"X-Request-ID": "0123456789abcdef"})

    assert response.json["request_id"] != "0123456789abcdef"


def test_the_id_of_a_request_may_be_a_trusted_proxys(share_app):
    proxied = share_app(trusted_proxies=1).test_client()

    response = proxied.get("/nothing", headers={"X-Request-ID": "0123456789abcdef"})

    assert response.json["request_id"] == "0123456789abcdef"


@pytest.mark.parametrize(
    "given", ["", "short", "x" * 65, "0123456789 bcdef", "0123456789\x00", "é" * 9]
)
def test_an_id_that_no_proxy_makes_is_replaced(share_app, given):
    proxied = share_app(trusted_proxies=1).test_client()

    response = proxied.get("/nothing", headers={"X-Request-ID": given})

    assert response.json["request_id"] not in ("", given)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", f"{BOOKS}/", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("PUT", BOOKS, {"GET", "HEAD", "OPTIONS", "POST"}),
        ("PATCH", BOOKS, {"GET", "HEAD", "OPTIONS", "POST"}),
        ("DELETE", BOOKS, {"GET", "HEAD", "OPTIONS", "POST"}),
        ("PUT", f"{BOOKS}/{NOBODY}", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"}),
        ("POST", f"{BOOKS}/{NOBODY}/", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"}),
        ("POST", f"{BOOKS}/user/{NOBODY}", {"GET", "HEAD", "OPTIONS"}),
        ("GET", f"{AUTH}/login", {"OPTIONS", "POST"}),
        ("PUT", f"{AUTH}/me", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"}),
        ("TRACE", f"{BOOKS}/", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("BREW", f"{BOOKS}/", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/readyz", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/openapi.json", {"GET", "HEAD", "OPTIONS"}),
        ("PUT", "/docs", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_405_names_what_is_allowed(client, method, path, allowed):
    response = client.open(path, method=method)

    methods = set(response.headers.get("Allow", "").replace(" ", "").split(","))
    assert (response.status_code, methods) == (405, allowed)


@pytest.mark.parametrize(
    "options",
    [{"data": book_of(MEBIBYTE), "content_type": JSON}, chunked(book_of(MEBIBYTE))],
    ids=["content_length", "chunked"],
)
def test_a_body_of_1_mib_is_taken(send, options):
    response = send("POST", f"{BOOKS}/", **renewed(options))

    assert response.status_code == 201


class Waiting(io.BytesIO):
    """The body as a server gives it whose client keeps the connection: reading on would hang."""

    def read(self, size=-1):
        data = super().read(size)
        assert data or not size, "waits for more than the client has sent"
        return data


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"{BOOKS}/", book_of(MEBIBYTE), 201),
        (f"{BOOKS}/import", LARGE_CATALOGUE, 200),
    ],
)
def test_no_more_than_the_content_length_is_read(send, path, body, status):
    content_type = "text/csv" if path.endswith("import") else JSON

    response = send(
        "POST",
        path,
        input_stream=Waiting(body),
        content_length=len(body),
        content_type=content_type,
    )

    assert response.status_code == status


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "x", "gzip, identity"])
def test_a_content_coding_is_415_and_the_answer_names_what_is_read(send, coding):
    headers = {"Content-Encoding": coding}

    response = send("POST", f"{BOOKS}/", json=MOMO, headers=headers)

    assert (response.status_code, response.headers["Accept-Encoding"]) == (415, "identity")


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_a_body_without_a_coding_is_read(send, coding):
    response = send("POST", f"{BOOKS}/", json=MOMO, headers={"Content-Encoding": coding})

    assert response.status_code == 201


def test_a_body_that_is_said_to_be_too_large_is_not_read(send):
    overrides = {"CONTENT_LENGTH": str(10**15)}

    response = send("POST", f"{BOOKS}/", data=b"{}", content_type=JSON, environ_overrides=overrides)

    assert response.status_code == 413


def test_what_is_not_sent_as_json_is_415(send):
    content_types = [
        *(None, "", " ", "x", "json", "text/plain", "text/json", "application/xml", "*/*"),
        *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"),
        *("application/jsonp", "application/json-patch+json", "application/*", "application"),
        "application/json, text/plain",
    ]

    def status_of(content_type):
        data = json.dumps(MOMO)
        return send("POST", f"{BOOKS}/", data=data, content_type=content_type).status_code

    assert exceptions(415, status_of, content_types) == {}


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", f"{BOOKS}/{{mine}}"), ("PATCH", f"{AUTH}/me")]
)
def test_a_change_that_is_not_sent_as_json_is_415(send, method, path):
    response = send(method, path, data=json.dumps(MOMO), content_type="text/plain")

    assert response.status_code == 415


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "Application/JSON",
        "application/json ; profile=x",
    ],
)
def test_json_may_be_named_with_parameters_and_in_any_case(send, content_type):
    response = send("POST", f"{BOOKS}/", data=json.dumps(MOMO), content_type=content_type)

    assert response.status_code == 201


def test_a_422_of_a_body_points_into_it(send):
    response = send("POST", f"{BOOKS}/", json={**MOMO, "page_count": 0})

    [error] = response.json["errors"]
    assert (error["pointer"], error.keys()) == ("/page_count", {"pointer", "code", "detail"})


def test_a_422_of_a_body_that_is_no_object_points_at_all_of_it(send):
    response = send("POST", f"{BOOKS}/", json=[])

    assert [error["pointer"] for error in response.json["errors"]] == [""]


@pytest.mark.parametrize("data", ["Foo,Bar\nMomo,Ende\n", "", "title,author\n"])
def test_a_422_of_a_catalogue_points_at_all_of_it(send, data):
    problem = send("POST", f"{BOOKS}/import", data=data, content_type="text/csv").json

    assert problem["errors"] == [{"pointer": "", "code": "invalid", "detail": problem["detail"]}]


def test_unknown_columns_are_told_with_the_names_that_are_known(send):
    content = {"data": "Foo,Bar\nMomo,Ende\n", "content_type": "text/csv"}

    detail = send("POST", f"{BOOKS}/import", **content).json["detail"]

    assert "No column is known as the title or the author among: Foo, Bar." in detail
    assert "Name the columns title, author, publisher, " in detail
    assert "or say with map (--map) which they are." in detail


def test_a_422_of_a_key_that_was_used_before_names_its_header(send):
    headers = {"Idempotency-Key": "k"}
    send("POST", f"{BOOKS}/", json=MOMO, headers=headers)

    problem = send("POST", f"{BOOKS}/", json={**MOMO, "page_count": 5}, headers=headers).json

    assert [error["header"] for error in problem["errors"]] == ["Idempotency-Key"]
    assert problem["detail"] == "Idempotency-Key: Was used before, with another request."


def test_a_422_of_a_query_names_its_parameter(send):
    response = send("GET", f"{BOOKS}/?limit=0")

    [error] = response.json["errors"]
    assert (error["parameter"], error.keys()) == ("limit", {"parameter", "code", "detail"})


BOOK, TOKEN = f"{BOOKS}/", f"{AUTH}/sessions"
CODED = {
    "required": (BOOK, {"title": "Momo"}),
    "null": (BOOK, {**MOMO, "title": None}),
    "unknown-field": (BOOK, {**MOMO, "price": 1}),
    "unknown-parameter": (f"{BOOKS}/?page=2", None),
    "repeated-parameter": (f"{BOOKS}/?limit=1&limit=2", None),
    "not-an-object": (BOOK, []),
    "not-a-string": (BOOK, {**MOMO, "title": 1}),
    "not-a-whole-number": (BOOK, {**MOMO, "page_count": 1.5}),
    "not-a-boolean": (TOKEN, {"name": "x", "expires_in_days": 1, "read_only": 1}),
    "not-a-uuid": (f"{BOOKS}/?user_uid=me", None),
    "not-an-email": (f"{AUTH}/signup", {**CAROL, "email": "carol"}),
    "not-a-date": (BOOK, {**MOMO, "published_date": "2021-02-29"}),
    "not-an-isbn": (BOOK, {**MOMO, "isbn": "12345abcde"}),
    "check-digit": (BOOK, {**MOMO, "isbn": "9780261102210"}),
    "not-a-choice": (f"{BOOKS}/?sort=colour", None),
    "out-of-range": (BOOK, {**MOMO, "page_count": 0}),
    "too-long": (BOOK, {**MOMO, "title": "x" * 501}),
    "too-short": (f"{AUTH}/signup", {**CAROL, "username": "ca"}),
    "empty": (BOOK, {**MOMO, "title": " "}),
    "not-storable": (BOOK, {**MOMO, "title": "\0"}),
    "too-many-marks": (BOOK, {**MOMO, "title": "a" + "\u0301" * 31}),
    "not-a-cursor": (f"{BOOKS}/?cursor=x", None),
    "not-a-key": (BOOK, MOMO),
    "not-a-timestamp": (f"{BOOKS}/?updated_to=now", None),
    "read-only": (f"{BOOKS}/{{mine}}", {"version": 7}),
    "weak-password": (f"{AUTH}/signup", {**CAROL, "password": "password1"}),
}


def test_what_is_wrong_with_a_value_has_a_code(send):
    for code, (path, body) in CODED.items():
        headers = {"Idempotency-Key": "" if code == "not-a-key" else "k"} if path == BOOK else {}
        method = "GET" if body is None else "PATCH" if "mine" in path else "POST"

        response = send(method, path, json=body, headers=headers)

        assert [error["code"] for error in response.json["errors"]] == [code]


def test_every_code_is_documented_and_tested():
    codes = BASE["components"]["schemas"]["ProblemError"]["properties"]["code"]["examples"]
    assert set(codes) - {"invalid"} == set(CODED) - {"weak-password"}


def test_errors_have_an_order_of_their_own(send):
    wrong = {"zz": 1, "page_count": 0, "isbn": "1", "aa": 1, "title": ""}
    reverse = dict(reversed(wrong.items()))

    first, second = (send("POST", BOOK, json=body).json["errors"] for body in (wrong, reverse))

    assert first == second
    assert [error["pointer"] for error in first] == sorted(error["pointer"] for error in first)


@pytest.mark.parametrize(
    ("path", "status"), [("/nothing", 404), (f"{BOOKS}//", 200), (f"{PREFIX}/nothing/", 404)]
)
def test_no_path_is_redirected(send, path, status):
    response = send("GET", path)

    assert response.status_code == status


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "image/*;q=0.1", "\xff"])
def test_an_error_is_a_problem_whatever_the_client_accepts(send, accept):
    response = send("GET", "/nothing", headers={"Accept": accept})

    assert response.mimetype == "application/problem+json"


def test_a_refused_head_request_has_no_body(send):
    response = send("HEAD", "/nothing")

    assert (response.status_code, response.data) == (404, b"")
