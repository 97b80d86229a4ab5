"""Headers that protect: no-store, nosniff, CSP, WWW-Authenticate, CORS."""

import re

import pytest

from books_api import PREFIX
from tests.conftest import PASSWORD, bearer
from tests.helpers import AUTH, BOOKS, REFRESH, exceptions

ORIGIN = "https://app.example"
MERGE_PATCH = "application/json, application/merge-patch+json"


NEVER_STORED = [
    ("POST", "/auth/signup", 422),
    ("POST", "/auth/login", 200),
    ("GET", "/auth/me", 200),
    ("GET", "/auth/sessions", 200),
    ("POST", "/auth/sessions", 201),
    ("POST", "/auth/password", 200),
    ("GET", "/auth/users", 403),
    ("GET", "/books/", 200),
    ("POST", "/books/", 201),
    ("GET", "/books/user/{id}", 200),
    ("GET", "/books/export", 200),
    ("POST", "/books/import", 422),
    ("GET", "/books/00000000-0000-4000-8000-000000000000", 404),
    ("GET", "/nothing", 404),
]
BODIES = {
    "/auth/login": {"email": "alice@example.com", "password": PASSWORD},
    "/auth/sessions": {"name": "x", "expires_in_days": 1, "read_only": True},
    "/auth/password": {"current_password": PASSWORD, "new_password": f"{PASSWORD} 2"},
    "/books/": {"title": "Momo", "author": "Michael Ende"},
}


@pytest.mark.parametrize(("method", "path", "status"), NEVER_STORED)
def test_an_answer_that_differs_by_user_is_not_stored(client, alice, method, path, status):
    body = BODIES.get(path, {}) if method == "POST" else None
    address = f"{PREFIX}{path.format(id=alice.id)}"

    response = client.open(address, method=method, json=body, headers=alice.headers)

    assert response.status_code == status
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refreshed_tokens_are_not_stored(client, alice, method):
    response = client.open(REFRESH, method=method, headers=bearer(alice.refresh_token))

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("validator", "status"), [('"0"', 200), ('"1"', 304)])
def test_a_book_is_stored_by_its_reader_alone_and_asked_for_again(
    client, alice, make_book, validator, status
):
    address = f"{BOOKS}/{make_book(alice)['id']}"

    response = client.get(address, headers={**alice.headers, "If-None-Match": validator})

    assert response.status_code == status
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.headers["Vary"] == "Authorization"


def test_an_answer_to_a_stranger_is_not_stored(client, alice, make_book):
    response = client.get(f"{BOOKS}/{make_book(alice)['id']}")

    assert response.status_code == 401
    assert response.headers["Cache-Control"] == "no-store"


def test_content_type_is_not_guessed_and_no_cookie_is_set(client, alice):
    for path in (
        *(f"{BOOKS}/", f"{AUTH}/me", f"{AUTH}/login", REFRESH, "/docs", "/openapi.json"),
        *("/healthz", "/nothing"),
    ):
        answers = [client.get(path), client.get(path, headers=alice.headers)]

        assert {answer.headers["X-Content-Type-Options"] for answer in answers} == {"nosniff"}
        assert not any("Set-Cookie" in answer.headers for answer in answers)


# WWW-Authenticate (RFC 6750, 3).


def test_challenge_to_a_bad_token_names_the_error(client):
    challenge = client.get(f"{BOOKS}/", headers=bearer("a.b.c")).headers["WWW-Authenticate"]

    assert re.fullmatch(
        r'Bearer realm="books-api", error="invalid_token", error_description="[ !#-\[\]-~]+"',
        challenge,
    )


def test_challenge_to_wrong_credentials_has_no_token_error(client):
    response = client.post(f"{AUTH}/login", json={"email": "a@example.com", "password": "wrong"})

    assert response.headers["WWW-Authenticate"] == 'Bearer realm="books-api"'


def test_wrong_role_is_not_challenged_for_another_token(client, alice):
    response = client.get(f"{AUTH}/users", headers=alice.headers)

    assert response.status_code == 403
    assert "WWW-Authenticate" not in response.headers


@pytest.mark.parametrize("sent", ['x"y', "x\\y", 'a", realm="evil', "\u00e9"])
def test_challenge_repeats_nothing_of_the_token(client, sent):
    response = client.get(f"{BOOKS}/", environ_overrides={"HTTP_AUTHORIZATION": f"Bearer {sent}"})

    assert sent not in response.headers["WWW-Authenticate"]
    assert "evil" not in response.headers["WWW-Authenticate"]


# CORS.


@pytest.fixture
def cors_client(share_app):
    return share_app(cors_origins=(ORIGIN, "http://localhost:3000")).test_client()


def cors_headers(response):
    return {name for name, _ in response.headers if name.startswith("Access-Control-")}


def test_no_origin_is_let_in_by_default(client):
    assert cors_headers(client.get(f"{BOOKS}/", headers={"Origin": ORIGIN})) == set()


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000"])
def test_listed_origin_is_let_in(cors_client, alice, origin):
    response = cors_client.get(f"{BOOKS}/", headers={**alice.headers, "Origin": origin})

    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert "Origin" in response.headers["Vary"]


def test_other_origin_is_not_let_in(cors_client):
    others = [
        *("https://evil.example", "http://app.example", "https://app.example.evil.example"),
        *("https://app.example:8443", "https://appxexample", "https://sub.app.example"),
        *("http://localhost:30000", "null", "*"),
    ]

    def headers_for(origin):
        return cors_headers(cors_client.get(f"{BOOKS}/", headers={"Origin": origin}))

    assert exceptions(set(), headers_for, others) == {}


def test_errors_can_be_read_by_a_listed_origin(cors_client):
    response = cors_client.get(f"{BOOKS}/", headers={"Origin": ORIGIN})

    assert response.status_code == 401
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_preflight_of_a_listed_origin_is_answered_without_a_token(cors_client):
    response = cors_client.options(
        f"{BOOKS}/",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type, if-match",
        },
    )

    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert "authorization" in response.headers["Access-Control-Allow-Headers"].lower()


def test_cookies_are_never_asked_for(cors_client):
    response = cors_client.get(f"{BOOKS}/", headers={"Origin": ORIGIN})

    assert "Access-Control-Allow-Credentials" not in response.headers


def test_headers_of_the_contract_can_be_read_by_a_listed_origin(cors_client):
    response = cors_client.get(f"{BOOKS}/", headers={"Origin": ORIGIN})

    assert set(response.headers["Access-Control-Expose-Headers"].split(", ")) == {
        *("Content-Disposition", "Deprecation", "ETag", "Idempotent-Replayed", "Link", "Location"),
        *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "Sunset"),
        *("WWW-Authenticate", "X-Request-ID", "X-Total-Count", "X-Total-Count-Estimated"),
    }


def test_preflight_is_remembered_for_a_day(cors_client):
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}

    response = cors_client.options(f"{BOOKS}/", headers=headers)

    assert response.headers["Access-Control-Max-Age"] == "86400"


# What PATCH reads (RFC 5789), and addresses that stand alone.


@pytest.mark.parametrize("path", [f"{BOOKS}/{{id}}", f"{BOOKS}/{{id}}/", f"{AUTH}/me"])
def test_options_name_the_methods_and_what_patch_reads(client, alice, make_book, path):
    response = client.options(path.format(id=make_book(alice)["id"]))

    methods = set(response.headers["Allow"].split(", "))
    assert (response.status_code, response.headers["Accept-Patch"]) == (200, MERGE_PATCH)
    assert methods == {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"}


def test_options_without_patch_name_no_patch(client):
    assert "Accept-Patch" not in client.options(f"{BOOKS}/").headers


def test_merge_patch_removes_what_is_null(client, alice, make_book):
    book = make_book(alice, page_count=310)

    response = client.patch(
        f"{BOOKS}/{book['id']}",
        data=b'{"page_count": null}',
        content_type="application/merge-patch+json",
        headers=alice.headers,
    )

    assert (response.status_code, response.json["page_count"]) == (200, None)


@pytest.mark.parametrize(("method", "named"), [("PATCH", MERGE_PATCH), ("POST", None)])
def test_only_patch_reads_patches(client, alice, make_book, method, named):
    path = f"{BOOKS}/{make_book(alice)['id']}" if method == "PATCH" else BOOKS
    content_type = "text/plain" if method == "PATCH" else "application/merge-patch+json"

    response = client.open(
        path, method=method, data=b"{}", content_type=content_type, headers=alice.headers
    )

    assert (response.status_code, response.headers.get("Accept-Patch")) == (415, named)


def test_location_and_link_are_absolute(share_app, alice, make_book):
    client = share_app(trusted_proxies=1).test_client()
    headers = {**alice.headers, "X-Forwarded-Proto": "https", "Host": "books.example:8443"}
    host = "https://books.example:8443"
    make_book(alice)

    created = client.post(BOOKS, json=BODIES["/books/"], headers=headers)
    listed = client.get(f"{BOOKS}?limit=1", headers=headers)

    assert created.headers["Location"] == f"{host}{BOOKS}/{created.json['id']}"
    assert listed.headers["Link"].startswith(f"<{host}{BOOKS}?limit=1&cursor=")


@pytest.mark.parametrize("host", ['evil>; rel="next"', "a b", "\xff", "x" * 9_000, "a\tb", "[::1"])
def test_strange_host_is_no_failure(client, alice, make_book, host):
    make_book(alice)
    make_book(alice)

    response = client.get(
        f"{BOOKS}?limit=1", headers=alice.headers, environ_overrides={"HTTP_HOST": host}
    )

    assert response.status_code in (200, 400)
    assert response.headers.get("Link", "").count(">") <= 1
