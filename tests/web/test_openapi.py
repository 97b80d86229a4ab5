"""The OpenAPI document says what the API does."""

import re
import uuid
from typing import Any

import jsonschema_rs
import pytest

from books_api import PREFIX
from tests.helpers import BOOKS

MOMO = {"title": "Momo", "author": "Michael Ende", "isbn": "9783522119405", "page_count": 304}


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json


def operations(document):
    """Yield method, path and operation for each operation."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield method.upper(), path, operation


def references(node):
    """Yield every $ref in the tree."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def find(document, reference):
    node = document
    for step in reference.removeprefix("#/").split("/"):
        node = node[step.replace("~1", "/").replace("~0", "~")]
    return node


def schema_errors(document, schema, value):
    """What is wrong with the value, by a schema of the document."""
    whole = {**schema, "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    return [error.message for error in validator.iter_errors(value)]


def response_schema(document, method, path, status):
    response = document["paths"][path][method.lower()]["responses"][str(status)]
    return response["content"]["application/json"]["schema"]


def test_nothing_is_described_that_is_not_used(document):
    used = set(references(document))

    unused = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses", "headers", "parameters")
        for name in document["components"].get(kind, {})
    } - used
    assert unused == set()


def test_every_route_of_the_api_is_documented(app, document):
    routes = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule).rstrip("/"))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(PREFIX)
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    documented = {(method, path.rstrip("/")) for method, path, _ in operations(document)}
    assert documented == routes


def test_every_operation_has_an_id_a_summary_tags_and_responses(document):
    missing = {
        (method, path, member)
        for method, path, operation in operations(document)
        for member in ("operationId", "summary", "tags", "responses")
        if not operation.get(member)
    }

    assert missing == set()


def test_security_is_documented_where_a_token_is_needed(client, document):
    needed = set()
    for method, path, _ in operations(document):
        response = client.open(re.sub(r"\{\w+\}", str(uuid.uuid4()), path), method=method)
        if response.status_code == 401:
            needed.add((method, path))

    documented = {
        (method, path)
        for method, path, operation in operations(document)
        if operation.get("security") == [{"bearer": []}]
    }
    assert documented == needed


def test_the_security_scheme_is_a_bearer_token(document):
    scheme = document["components"]["securitySchemes"]["bearer"]

    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def expected_errors(method, path, operation):
    """The errors that the contract implies for an operation."""
    expected = {"503"}
    if operation.get("security"):
        expected |= {"401"}
    if operation.get("security") and method not in ("GET", "HEAD"):
        expected |= {"403"}  # of a read-only token
    if "requestBody" in operation:
        expected |= {"400", "413", "415", "422"}
    if "{" in path:
        expected |= {"404"}
    if any(parameter.get("in") == "query" for parameter in operation.get("parameters", [])):
        expected |= {"422"}
    return expected


def test_every_operation_documents_its_errors(document):
    missing = {}
    for method, path, operation in operations(document):
        absent = expected_errors(method, path, operation) - set(operation["responses"])
        if absent:
            missing[method, path] = absent

    assert missing == {}


OF_ONE_OPERATION = [
    *(("post", "/auth/signup", "409"), ("post", "/auth/login", "401")),
    *(("post", "/auth/login", "429"), ("patch", "/auth/me", "409"), ("get", "/auth/users", "403")),
    *(("patch", "/auth/users/{user_id}", "409"), ("get", "/books/{book_id}", "304")),
    *(("patch", "/books/{book_id}", "412"), ("delete", "/books/{book_id}", "412")),
    *(("post", "/books/", "409"), ("post", "/books/", "422")),
]


def test_an_error_of_one_operation_is_documented(document):
    for method, path, status in OF_ONE_OPERATION:
        assert status in document["paths"][PREFIX + path][method]["responses"]


def test_every_error_is_documented_as_a_problem(document):
    for method, path, operation in operations(document):
        for status, response in operation["responses"].items():
            if status >= "400":
                content = find(document, response["$ref"])["content"]
                assert list(content) == ["application/problem+json"], (method, path, status)


@pytest.mark.parametrize(
    ("method", "path", "header"),
    [
        ("get", "/books/{book_id}", "If-None-Match"),
        ("patch", "/books/{book_id}", "If-Match"),
        ("delete", "/books/{book_id}", "If-Match"),
        ("post", "/books/", "Idempotency-Key"),
    ],
)
def test_a_header_that_is_honoured_is_documented(document, method, path, header):
    parameters = document["paths"][PREFIX + path][method]["parameters"]

    found = [find(document, p["$ref"]) if "$ref" in p else p for p in parameters]
    assert ("header", header) in {(parameter["in"], parameter["name"]) for parameter in found}


@pytest.mark.parametrize(
    ("method", "path", "status", "headers"),
    [
        ("post", "/books/", "201", {"ETag", "Location"}),
        ("get", "/books/{book_id}", "200", {"ETag"}),
        ("patch", "/books/{book_id}", "200", {"ETag"}),
        ("get", "/books/", "200", {"Link"}),
        ("get", "/books/user/{user_id}", "200", {"Link"}),
        ("get", "/auth/users", "200", {"Link"}),
    ],
)
def test_the_headers_of_an_answer_are_documented(document, method, path, status, headers):
    documented = document["paths"][PREFIX + path][method]["responses"][status]["headers"]

    assert headers <= set(documented)


def test_the_password_is_in_no_answer(document):
    for method, path, operation in operations(document):
        for status, response in operation["responses"].items():
            schema: Any = response.get("content", {}).get("application/json", {}).get("schema", {})
            for reference in references(schema):
                assert "password" not in str(find(document, reference)), (method, path, status)


@pytest.mark.parametrize(
    ("path", "documented"),
    [
        (f"{BOOKS}/", f"{BOOKS}/"),
        (f"{BOOKS}/{{book}}", f"{BOOKS}/{{book_id}}"),
        (f"{BOOKS}/user/{{user}}", f"{BOOKS}/user/{{user_id}}"),
        (f"{PREFIX}/auth/me", f"{PREFIX}/auth/me"),
        (f"{PREFIX}/auth/sessions", f"{PREFIX}/auth/sessions"),
        (f"{PREFIX}/auth/users", f"{PREFIX}/auth/users"),
        (f"{PREFIX}/auth/users/{{user}}", f"{PREFIX}/auth/users/{{user_id}}"),
    ],
)
@pytest.mark.parametrize(
    "values", [MOMO, {"title": "Momo", "author": "Ende"}], ids=["full", "gaps"]
)
def test_an_answer_is_as_documented(client, admin, make_book, document, path, documented, values):
    path = path.format(book=make_book(admin, **values)["id"], user=admin.id)

    response = client.get(path, headers=admin.headers)

    schema = response_schema(document, "get", documented, 200)
    assert schema_errors(document, schema, response.json) == []


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("POST", f"{BOOKS}/", {"json": {"title": ""}}),
        ("GET", f"{BOOKS}/?limit=0", {}),
        ("GET", "/nothing", {}),
    ],
)
def test_a_problem_is_as_documented(client, alice, document, method, path, options):
    response = client.open(path, method=method, headers=alice.headers, **options)

    schema = document["components"]["schemas"]["Problem"]
    assert schema_errors(document, schema, response.json) == []


def test_a_412_is_as_documented(client, alice, make_book, document):
    path = f"{BOOKS}/{make_book(alice)['id']}"

    response = client.delete(path, headers={**alice.headers, "If-Match": '"7"'})

    schema = document["components"]["schemas"]["Problem"]
    assert schema_errors(document, schema, response.json) == []


@pytest.mark.parametrize(
    "values",
    [
        {"title": "Momo"},
        {"title": "Momo", "author": ""},
        {"title": " \t", "author": "Ende"},
        {"title": "a\0b", "author": "Ende"},
        {"title": "x" * 501, "author": "Ende"},
        {"title": None, "author": "Ende"},
        {"title": "Momo", "author": "Ende", "page_count": 0},
        {"title": "Momo", "author": "Ende", "page_count": 1.5},
        {"title": "Momo", "author": "Ende", "published_date": "1973-1"},
        {"title": "Momo", "author": "Ende", "price": 5},
        {"title": "Momo", "author": "Ende", "id": str(uuid.UUID(int=0))},
    ],
    ids=str,
)
def test_what_is_refused_is_refused_by_the_document_too(client, alice, document, values):
    body = document["paths"][f"{BOOKS}/"]["post"]["requestBody"]["content"]["application/json"]

    response = client.post(BOOKS, json=values, headers=alice.headers)

    assert response.status_code == 422
    assert schema_errors(document, body["schema"], values) != []


@pytest.mark.parametrize(
    "values",
    [
        MOMO,
        {"title": " Momo ", "author": "三" * 1_000},
        {"title": "Momo", "author": "Ende", "publisher": None, "page_count": None, "isbn": None},
        {"title": "Momo", "author": "Ende", "published_date": "1973", "isbn": "3-522-11940-1"},
    ],
    ids=str,
)
def test_what_is_taken_is_taken_by_the_document_too(client, alice, document, values):
    body = document["paths"][f"{BOOKS}/"]["post"]["requestBody"]["content"]["application/json"]

    response = client.post(BOOKS, json=values, headers=alice.headers)

    assert response.status_code == 201
    assert schema_errors(document, body["schema"], values) == []


def test_every_example_is_valid(document):
    wrong = {
        (name, field): example
        for name, schema in document["components"]["schemas"].items()
        for field, about in schema.get("properties", {}).items()
        for example in about.get("examples", [])
        if schema_errors(document, about, example)
    }

    assert wrong == {}
