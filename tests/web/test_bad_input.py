"""Whatever a client sends: an answer that says what is wrong, never a 500."""

import datetime
import io
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder, run_wsgi_app
from werkzeug.wrappers import Response

from books_api.web.fields import SPACES
from tests.helpers import AUTH, BOOKS, EXAMPLES, MOMO, NOBODY, exceptions

JSON = "application/json"
NUL = "a\0b"


# Every operation, as the OpenAPI document knows it


def operations(client):
    """Yield method, path, operation and document, for each operation of the API."""
    document = client.get("/openapi.json").json
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield method.upper(), path, operation, document


def fill(path, user):
    """The path with ids in it, none of which is anybody's but the user's."""
    return (
        path.replace("{user_id}", user.id)
        .replace("{book_id}", NOBODY)
        .replace("{session_id}", NOBODY)
    )


def properties(operation, document):
    """The fields of an operation's body."""
    schema = operation["requestBody"]["content"][JSON]["schema"]
    name = schema["$ref"].rpartition("/")[2]
    fields = document["components"]["schemas"][name]["properties"]
    return {field: about for field, about in fields.items() if not about.get("readOnly")}


def bodies(client, user):
    """Yield method, path, field and what the document says of it, for each field of a body."""
    for method, path, operation, document in operations(client):
        body = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
        if "$ref" in body.get("schema", {}):  # a file has none
            for field, about in properties(operation, document).items():
                yield method, fill(path, user), field, about


def is_of(about, kind):
    return kind in ([about["type"]] if isinstance(about["type"], str) else about["type"])


def refusals(client, user, kind, value):
    """Send the value in each field of the kind; return what is not a 422 that names the field."""
    tried, wrong = 0, {}
    for method, path, field, about in bodies(client, user):
        if is_of(about, kind):
            tried += 1
            response = client.open(path, method=method, json={field: value}, headers=user.headers)
            pointers = [error["pointer"] for error in (response.json or {}).get("errors", [])]
            if response.status_code != 422 or f"/{field}" not in pointers:
                wrong[method, path, field] = response.status_code
    assert tried
    return wrong


WRONG = {
    "string": ["\0", "a\0b", "\0" * 10, "a\0", 5, 1.5, True, [], ["x"], {}, {"x": "y"}],
    "integer": [2**31, 2**63 - 1, -(2**63), 2**64 - 1, 1e300, "5", [], {}, True],
    "boolean": ["true", "yes", 1, 0, "", "\0", [], {}, 2**63 - 1],
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_none_of_the_kind_is_refused_in_every_field_of_every_body(client, admin, kind):
    assert [refusals(client, admin, kind, value) for value in WRONG[kind]] == [{}] * len(
        WRONG[kind]
    )


@pytest.mark.parametrize(
    "raw",
    [rb'"\ud800"', rb'"\udfff"', rb'"a\ud800b"', rb'"\udc00\ud800"', b'"\xed\xa0\x80"', b'"\xff"'],
)
def test_a_lone_surrogate_is_refused_in_every_text_of_every_body(client, admin, raw):
    wrong = {}
    for method, path, field, about in bodies(client, admin):
        if is_of(about, "string"):
            body = json.dumps(field).encode().join([b"{", b":" + raw + b"}"])
            response = client.open(
                path, method=method, data=body, content_type=JSON, headers=admin.headers
            )
            if response.status_code != 400:
                wrong[method, path, field] = response.status_code

    assert wrong == {}


@pytest.mark.parametrize("character", ["\u0958", "\U0001d160", "\ufb2c", "\u0344"], ids=ascii)
def test_text_that_normalization_makes_longer_is_no_500(client, admin, character):
    wrong = {}
    for method, path, field, about in bodies(client, admin):
        if "maxLength" in about and "password" not in field and path != f"{AUTH}/login":
            values = {field: character * about["maxLength"]}
            response = client.open(path, method=method, json=values, headers=admin.headers)
            if response.status_code >= 500:
                wrong[method, path, field] = response.status_code

    assert wrong == {}


# Bodies


NO_JSON = [
    *(
        b" ",
        b"\n",
        b"{",
        b"}",
        b'{"title": }',
        b'{"title": "x",}',
        b"{'title': 'x'}",
        b"{title: 1}",
    ),
    *(b'{"title": "x"} {}', b'{"title": "x"}}', b'{"title": "x"', b'"', b'"x', b"tru", b"None"),
    *(b"NaN", b'{"page_count": NaN}', b'{"page_count": Infinity}', b'{"page_count": -Infinity}'),
    *(b'{"page_count": 01}', b'{"page_count": +1}', b'{"page_count": .5}', b'{"page_count": 0x1}'),
    *(b'{"page_count": 1e}', b'{"page_count": 1_000}', b'{"page_count": ' + b"9" * 5_000 + b"}"),
    *(b"// comment\n{}", b"{/**/}", b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b"\0", b"{}\0", b"\0{}"),
    *('{"title": "é"}'.encode("latin-1"), b'{"title": "\xc0\x80"}', b'{"title": "\xf5"}'),
    *('{"title": "x"}'.encode("utf-16"), '{"title": "x"}'.encode("utf-32")),
    *(b'{"title": "\n"}', b'{"title": "\0"}', rb'{"title": "\x41"}', rb'{"title": "\u12"}'),
    *(rb'{"\ud800": 1}', rb'{"title": "\ud800"}', b'{"\xed\xb0\x80": 1}'),
    *(b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000, b'{"title":' * 2_000),
    *(b"[" * 10_000 + b"]" * 10_000, b'{"title":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    *(b"\x1f\x8b\x08\x00", b"title=x&author=y", b"<book/>"),
]
NO_OBJECT = [
    *("[]", '"x"', "1", "-1", "1.5", "null", "true", "false", "[{}]", '[{"title": "x"}]', '""'),
    *("18446744073709551616", "1e308", "9" * 30, "[[],[]]", f"[{','.join(['[]'] * 10_000)}]"),
    "[" * 1_000 + "]" * 1_000,
]
NUMBERS = {
    422: [
        *("2147483648", "9223372036854775807", "9223372036854775808", "18446744073709551616"),
        *("-9223372036854775809", "1" + "0" * 30, "1e-400", "0." + "1" * 5_000, "-0"),
    ],
    400: ["1" * 5_000, "1e400"],
}


@pytest.fixture
def post(client, alice):
    """Send the bytes as the JSON of a new book; return the status of the answer, a problem."""

    def post(body, **options):
        options = {"content_type": JSON, "headers": alice.headers, **options}
        response = client.post(f"{BOOKS}/", data=body, **options)
        assert response.mimetype == "application/problem+json"
        return response.status_code

    return post


def test_what_is_not_json_is_400(post):
    assert exceptions(400, post, NO_JSON) == {}


def test_a_body_that_is_no_object_is_422(post):
    assert exceptions(422, post, NO_OBJECT) == {}


@pytest.mark.parametrize("body", ["null", "[]", '"x"', "1"])
def test_a_body_that_is_no_object_is_422_in_every_operation(client, admin, body):
    wrong = {}
    for method, path, operation, _ in operations(client):
        if JSON in operation.get("requestBody", {}).get("content", {}):
            response = client.open(
                fill(path, admin),
                method=method,
                data=body,
                content_type=JSON,
                headers=admin.headers,
            )
            if response.status_code != 422:
                wrong[method, path] = response.status_code

    assert wrong == {}


@pytest.mark.parametrize("status", NUMBERS)
def test_a_number_of_any_size_is_refused(post, status):
    def status_of(number):
        return post(f'{{"title": "Momo", "author": "Michael Ende", "page_count": {number}}}')

    assert exceptions(status, status_of, NUMBERS[status]) == {}


@pytest.mark.parametrize(
    "values",
    [
        {"title": list(range(100_000))},
        {"title": {str(number): number for number in range(10_000)}},
        {str(number): number for number in range(10_000)},
        {"x" * 500_000: 1},
        {"title": "x" * 1_000_000},
        {"published_date": "9" * 1_000_000},
        {"isbn": "-" * 1_000_000},
    ],
    ids=["array", "object", "fields", "name", "title", "date", "isbn"],
)
def test_what_is_huge_is_refused(client, alice, values):
    response = client.post(f"{BOOKS}/", json=values, headers=alice.headers)

    assert response.status_code == 422


def test_the_last_of_a_field_given_twice_counts(client, alice):
    body = '{"title": "Momo", "title": 5, "author": "Michael Ende", "title": "Jim"}'

    response = client.post(f"{BOOKS}/", data=body, content_type=JSON, headers=alice.headers)

    assert (response.status_code, response.json.get("title")) == (201, "Jim")


def test_a_content_length_that_is_none_is_400(post):
    def status_of(length):
        return post(b"{}", environ_overrides={"CONTENT_LENGTH": length})

    lengths = ["-1", "abc", "1.5", "", " ", "1" * 5_000, "0x10", "+5", "\xb2"]
    assert exceptions(400, status_of, lengths) == {}


def test_a_body_that_breaks_off_is_400(client, alice):
    response = client.post(
        f"{BOOKS}/",
        input_stream=io.BytesIO(b'{"title":'),
        content_length=1_000,
        content_type=JSON,
        headers=alice.headers,
    )

    assert response.status_code == 400


# Paths and queries


NO_IDS = [
    *("\0", f"{NOBODY}\0", f"\0{NOBODY}", f"{NOBODY}\n", f" {NOBODY}", f"{NOBODY} "),
    *("\xff", "\xc0\x80", "\xed\xa0\x80", "\xed\xbf\xbf", "%", "%00", "%zz", "%25", "..", ".", "~"),
    *("*", "'", '"', "\\", f"{{{NOBODY}}}", f"urn:uuid:{NOBODY}", NOBODY.replace("-", "")),
    *(NOBODY[:-1], f"{NOBODY}0", "g" * 36, "1", "-1", "9" * 5_000, "null", "me;x=y", "\x7f"),
    *("\r\nX-Injected: yes", "x" * 100_000),
    "\xef\xbc\x90" * 8 + "-0000-0000-0000-000000000000",  # fullwidth digits
]


def test_an_id_that_is_none_is_404_in_every_path(client, admin):
    wrong = {}
    for method, path, _, _ in operations(client):
        for value in NO_IDS if "{" in path else ():
            before, _, rest = path.partition("{")
            raw = before + value + rest.partition("}")[2]
            response = client.open(
                "/", method=method, environ_overrides={"PATH_INFO": raw}, headers=admin.headers
            )
            if response.status_code != 404:
                wrong[method, path, value[:40]] = response.status_code

    assert wrong == {}


def test_a_path_to_nothing_is_404(client):
    paths = [
        *("*", "\0", "/\0", "/\xff", "/\xed\xa0\x80", "/.", "/..", "/%", "/%00"),
        *("/\\", "?", "http://example.com/", "/docs/assets/\0", "/docs/assets/../index.html"),
        *("/docs/assets/", "/docs/assets/..%2fstart.js", "/docs/assets/" + "x" * 5_000),
        *("/docs/assets//etc/passwd", "/docs/assets/\\..\\x", "/docs/assets/\xff"),
        *("/" + "a/" * 10_000, "/" + "x" * 100_000),
    ]

    def answer_at(path):
        response = client.get("/", environ_overrides={"PATH_INFO": path})
        return response.status_code, response.mimetype

    assert exceptions((404, "application/problem+json"), answer_at, paths) == {}


VALUES = [
    *("%00", "a%00b", "%ff", "%ed%a0%80", "%c0%80", "%", "%z", "%F0%9F", "%0d%0a"),
    *("\xff", "\xed\xa0\x80", "9" * 5_000, "x" * 10_000, "%5c", "%25", "_", "'", "&%26&"),
]


def test_no_value_of_a_parameter_is_a_500(client, admin):
    wrong, tried = {}, 0
    for method, path, operation, _ in operations(client):
        for parameter in operation.get("parameters", []):
            for value in VALUES if parameter.get("in") == "query" else ():
                tried += 1
                query = f"{parameter['name']}={value}"
                response = client.open(
                    fill(path, admin),
                    method=method,
                    environ_overrides={"QUERY_STRING": query},
                    headers=admin.headers,
                    buffered=True,
                )
                # 415 of an import, which has no body here.
                if response.status_code not in (200, 400, 415, 422):
                    wrong[method, path, query[:40]] = response.status_code

    assert tried
    assert wrong == {}


QUERIES = {
    200: ["&", "&&&"],
    422: [
        *("%", "%00", "%00=%00", "=", "==", "=&=", "?", "#", "%26=1", "%ff=%ff", "%ed%a0%80=1"),
        *("+=+", "limit=1;cursor=x", "x" * 100_000, "=".join("x" * 1_000)),
    ],
    400: ["limit=5&" * 1_000, "&" * 10_000, "\xff=\xff", "&".join(f"p{n}" for n in range(5_000))],
}


@pytest.mark.parametrize("status", QUERIES)
def test_no_query_is_a_500(client, alice, status):
    def status_of(query):
        environ = {"QUERY_STRING": query}
        return client.get(f"{BOOKS}/", environ_overrides=environ, headers=alice.headers).status_code

    assert exceptions(status, status_of, QUERIES[status]) == {}


# Headers

NASTY = ["", " ", "\0", "a\0b", "\xff", "\xed\xa0\x80", "é", '"', '"\\', ",", ";", "=", "*", "-1"]
NASTY += ['""', '"\0"', 'W/""', "1" * 5_000, "x" * 100_000, ",".join("x" * 2_000), "[" * 5_000]
HEADERS = [
    *("Accept", "Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Cookie"),
    *("Expect", "Host", "Idempotency-Key", "If-Match", "If-Modified-Since", "If-None-Match"),
    *("If-Range", "If-Unmodified-Since", "Origin", "Range", "Transfer-Encoding", "User-Agent"),
    *("X-Forwarded-For", "X-HTTP-Method-Override", "X-Request-ID"),
]


def send_raw(app, method, path, header, value, account):
    """Send a request with a header as it may come from a server, however odd; return the answer."""
    builder = EnvironBuilder(path, method=method, headers=account.headers)
    if method == "PATCH":
        builder = EnvironBuilder(
            path, method=method, headers=account.headers, json={"title": "Momo"}
        )
    environ = builder.get_environ()
    name = header.upper().replace("-", "_")
    environ[name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"] = value
    return Response(*run_wsgi_app(app, environ)[:2])


@pytest.mark.parametrize("header", HEADERS)
def test_no_header_is_a_500(app, alice, make_book, header):
    path = f"{BOOKS}/{make_book(alice)['id']}"

    statuses = {
        (method, value[:20]): send_raw(app, method, path, header, value, alice).status_code
        for method in ("GET", "PATCH")
        for value in NASTY
    }

    assert {sent: status for sent, status in statuses.items() if status >= 500} == {}


def test_no_header_that_a_trusted_proxy_passes_on_is_a_500(share_app, alice, make_book):
    app = share_app(trusted_proxies=1)
    path = f"{BOOKS}/{make_book(alice)['id']}"

    statuses = {
        (header, value[:20]): send_raw(app, "GET", path, header, value, alice).status_code
        for header in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-ID")
        for value in NASTY
    }

    assert {sent: status for sent, status in statuses.items() if status >= 500} == {}


@pytest.mark.parametrize(
    "user_agent", NASTY[:8], ids=lambda value: f"{ascii(value)[1:16]}~{len(value)}"
)
def test_a_session_is_opened_by_whatever_calls_itself_anything(app, alice, user_agent):
    values = {"name": "script", "expires_in_days": 1, "read_only": True}
    builder = EnvironBuilder(f"{AUTH}/sessions", method="POST", json=values, headers=alice.headers)

    answer = run_wsgi_app(app, {**builder.get_environ(), "HTTP_USER_AGENT": user_agent})

    assert answer[1] == "201 CREATED"


# Anything at all

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    ["author", "publisher", "published_date", "page_count", "language", "isbn", "id"]
)


def is_json(body):
    try:
        return orjson.loads(body) or True
    except ValueError:
        return False


def is_date(text):
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None


@EXAMPLES
@given(title=st.text(max_size=20))
def test_a_title_of_any_text_is_stored_or_refused(client, alice, title):
    response = client.post(f"{BOOKS}/", json={**MOMO, "title": title}, headers=alice.headers)

    trimmed = title.strip(SPACES)
    storable = "\0" not in title and trimmed != ""
    answer: Any = (
        response.json.get("title") if response.status_code == 201 else response.status_code
    )
    assert answer == (trimmed if storable else 422)


@EXAMPLES
@given(values=st.dictionaries(FIELDS, ANYTHING, max_size=4))
def test_no_value_of_a_field_is_a_500(post, values):
    assert post(json.dumps(values)) == 422  # never with a title


@EXAMPLES
@given(body=st.binary(max_size=40))
def test_no_bytes_are_a_500(post, body):
    assert post(body) == (422 if is_json(body) else 400)


@EXAMPLES
@given(digits=st.text("0123456789", min_size=9, max_size=9), check=st.sampled_from("0123456789Xx"))
def test_an_isbn_is_stored_or_refused(client, alice, digits, check):
    total = sum((10 - place) * int(digit) for place, digit in enumerate(digits))
    is_right = (total + "0123456789X".index(check.upper())) % 11 == 0 and int(digits)

    response = client.post(
        f"{BOOKS}/", json={**MOMO, "isbn": digits + check}, headers=alice.headers
    )

    assert response.status_code == (201 if is_right else 422)


@EXAMPLES
@given(date=st.from_regex(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?", fullmatch=True))
def test_a_date_is_stored_or_refused(client, alice, date):
    response = client.post(
        f"{BOOKS}/", json={**MOMO, "published_date": date}, headers=alice.headers
    )

    assert response.status_code == (201 if is_date(f"{date}-01-01"[:10]) else 422)


@EXAMPLES
@given(tags=st.text('0123456789"W/*, \t\\-abc\xff', max_size=12))
def test_no_entity_tag_is_a_500(app, alice, tags):
    path = f"{BOOKS}/{NOBODY}"

    statuses = {
        send_raw(app, "PATCH", path, "If-Match", tags, alice).status_code,
        send_raw(app, "GET", path, "If-None-Match", tags, alice).status_code,
    }

    assert statuses == {404}
