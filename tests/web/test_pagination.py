"""The query of a list: limit and cursor."""

import base64
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import KEY
from tests.helpers import AUTH, BOOKS, EXAMPLES, exceptions, next_link

LISTS = {
    "books": BOOKS,
    "books_of_user": f"{BOOKS}/user/{{id}}",
    "users": f"{AUTH}/users",
    "sessions": f"{AUTH}/sessions",
}
EVERY_LIST = pytest.mark.parametrize("path", LISTS.values(), ids=list(LISTS))


@pytest.fixture
def cursor(client, alice, make_book):
    for _ in range(2):
        make_book(alice)
    link = next_link(client.get(f"{BOOKS}/?limit=1", headers=alice.headers))
    return parse_qs(urlsplit(link).query)["cursor"][0]


@pytest.fixture
def refused(client, admin):
    """Return the one parameter for which a list refuses a query."""

    def refused(query, path=BOOKS):
        response = client.get(path.format(id=admin.id), query_string=query, headers=admin.headers)
        assert response.status_code == 422, query
        return response.json["errors"][0]["parameter"]

    return refused


@EVERY_LIST
def test_a_limit_within_its_bounds_is_taken(client, admin, path):
    def status_of(limit):
        url = f"{path.format(id=admin.id)}?limit={limit}"
        return client.get(url, headers=admin.headers).status_code

    assert exceptions(200, status_of, ["1", "100", "020"]) == {}


def test_a_limit_that_is_none_is_refused(refused):
    queries = [
        *("limit=0", "limit=-0", "limit=101", "limit=-1"),
        *("limit", "limit=", "limit=%20", "limit=%205"),
        *("limit=5%20", "limit=5%0A", "limit=%2B5", "limit=+5", "limit=1.0", "limit=1e1"),
        *("limit=1_0", "limit=0x10", "limit=ten", "limit=null", "limit=true", "limit=1,2"),
        *("limit=%EF%BC%95", "limit=%D9%A5", "limit=%C2%B2"),  # digits, but not of ASCII
        *("limit=2147483648", "limit=9223372036854775808", "limit=18446744073709551617"),
        "limit=" + "1" * 5_000,
        *("limit=%00", "limit=1%00", "limit=%ff", "limit=%ed%a0%80", "limit=%", "limit=%zz"),
    ]

    assert exceptions("limit", refused, queries) == {}


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("page=1", "page"),
        ("offset=20", "offset"),
        ("Limit=5", "Limit"),
        ("limit[]=5", "limit[]"),
        ("%20limit=5", " limit"),
        ("=5", ""),
        ("%00=5", "\0"),
        ("a/b=5", "a/b"),
        ("_schema=5", "_schema"),
        ("%F0%9F%93%9A=5", "📚"),
    ],
)
def test_an_unknown_parameter_is_refused(refused, query, parameter):
    assert refused(query) == parameter


@EVERY_LIST
def test_every_list_refuses_what_is_wrong_unknown_or_repeated(refused, path):
    limits = ["limit=0", "limit=1&limit=1", "limit=1&limit=2"]

    assert exceptions("limit", lambda query: refused(query, path), limits) == {}
    assert refused("cursor=a&cursor=a", path) == refused("cursor=AAAA", path) == "cursor"
    assert refused("page=1", path) == "page"


def test_every_wrong_parameter_is_named(client, alice):
    response = client.get(f"{BOOKS}/?limit=0&page=2&cursor=", headers=alice.headers)

    assert {error["parameter"] for error in response.json["errors"]} == {"limit", "page", "cursor"}


def test_a_cursor_that_was_made_up_is_refused(refused):
    cursors = [
        *("", " ", "x", "null", "-1", "0", "=", "====", "AAAA", "A" * 11, "A" * 2_000, "A" * 2_001),
        *("\0", "\u00e9", "三体", "😀", "{}", "[]", "'", "%", "../..", "\n"),
        *("A" * 100_000, "📚" * 2_000),
        base64.urlsafe_b64encode(b"\0" * 8 + b'["2024-01-01T00:00:00+00:00","x"]').decode(),
    ]

    assert exceptions("cursor", lambda text: refused({"cursor": text}), cursors) == {}


def test_a_cursor_survives_a_change_of_the_key(make_app, alice, cursor):
    other = make_app(jwt_secret_key=KEY[::-1], jwt_secret_key_previous=KEY)

    response = other.test_client().get(
        BOOKS, query_string={"cursor": cursor}, headers=alice.headers
    )

    assert response.status_code == 200


@EXAMPLES
@given(query=st.text(st.characters(codec="ascii"), max_size=40))
def test_no_query_is_more_than_a_422(client, alice, query):
    response = client.get(BOOKS, query_string=query, headers=alice.headers)

    assert response.status_code == (422 if parse_qsl(query, keep_blank_values=True) else 200)
