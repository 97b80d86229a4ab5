"""The document of the contract: as checked in, valid, and its examples work."""

import json
import re
from collections.abc import Callable, Iterator
from difflib import unified_diff
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from books_api.web.openapi import MEMBERS
from tests.conftest import PASSWORD, Account, bearer
from tests.write_openapi import GOLDEN, document

LINES = 40  # of a difference: enough to see what it is about
TAKES_REFRESH_TOKEN = {"get_access_token", "rotate_refresh_token"}
NO_EXAMPLE = {"reset_password"}  # its token is made by the operator

contract: dict[str, Any] = json.loads(GOLDEN.read_bytes())
schemas = contract["components"]["schemas"]
operations = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, item in contract["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
}


def nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object of the document with its JSON pointer."""
    if isinstance(node, dict):
        yield path, node
    for key, part in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(part, dict | list):
            yield from nodes(part, f"{path}/{key}")


def members(document: Any, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return each part of the members of this name, with its path."""
    return [
        (f"{path}/{key}", part)
        for path, node in nodes(document)
        for key, part in node.get(name, {}).items()
    ]


parameters = [(path, node) for path, node in nodes(contract) if "in" in node]


def test_the_contract_is_the_one_that_is_checked_in() -> None:
    checked_in, now = (text.decode().splitlines() for text in (GOLDEN.read_bytes(), document()))

    changes = list(unified_diff(checked_in, now, "checked in", "now", n=2, lineterm=""))
    if changes:
        shown = "\n".join(changes[:LINES])
        pytest.fail(f"The contract has changed: run `make openapi`.\n{shown}", pytrace=False)


def test_the_document_is_valid_openapi() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(contract).iter_errors()] == []


def body_of(operation: dict[str, Any], content_type: str) -> bytes:
    """Return the example of a body."""
    return as_text(operation["requestBody"]["content"][content_type]["example"]).encode()


def as_text(example: Any) -> str:
    return example if isinstance(example, str) else json.dumps(example)


def query_of(operation: dict[str, Any]) -> dict[str, Any]:
    return {
        parameter["name"]: as_text(parameter["schema"]["examples"][0])
        for parameter in operation.get("parameters", [])
        if "name" in parameter and parameter["name"] != "cursor"  # of a list, and of no example
    }


@pytest.mark.parametrize(
    ("operation_id", "content_type"),
    [
        (operation_id, content_type)
        for operation_id, (_, _, operation) in operations.items()
        for content_type in operation.get("requestBody", {}).get("content", [None])
        if operation_id not in NO_EXAMPLE
    ],
)
def test_the_examples_of_an_operation_are_accepted(
    client: FlaskClient,
    make_user: Callable[..., Account],
    make_book: Callable[..., dict[str, Any]],
    operation_id: str,
    content_type: str | None,
) -> None:
    method, path, operation = operations[operation_id]
    ada = {} if operation_id == "signup" else {"email": "ada@example.com", "username": "ada"}
    account, other = make_user(role="admin", **ada), make_user(role="admin")
    session = json.loads(
        client.post(
            "/api/v1.0.0/auth/sessions",
            json={"name": "backup script", "expires_in_days": 30, "read_only": True},
            headers=account.headers,
        ).data
    )
    ids = {"user_id": account.id, "book_id": make_book(other)["id"], "session_id": session["id"]}
    refreshes = operation_id in TAKES_REFRESH_TOKEN
    token = account.refresh_token if refreshes else account.access_token

    response = client.open(
        re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], path),
        method=method,
        query_string=query_of(operation),
        headers=bearer(token) if operation["security"] else {},
        content_type=content_type,
        data=body_of(operation, content_type) if content_type else None,
    )

    assert 200 <= response.status_code < 300, response.text


def test_every_member_and_parameter_says_what_it_is() -> None:
    properties = members(schemas, "properties")
    silent = [
        path
        for path, node in properties + parameters
        if not {"description", "$ref", "const"} & node.keys()
    ]
    assert len(properties) > 50
    assert len(parameters) > 40
    assert silent == []


def test_nothing_is_said_of_a_member_that_is_not_there() -> None:
    written = GOLDEN.read_text("utf-8")
    said = [text for described in MEMBERS.values() for text, *_ in described.values()]

    assert [text for text in said if json.dumps(text) not in written] == []


def test_every_body_and_parameter_has_an_example() -> None:
    contents = members(contract, "content")
    without = [
        path
        for path, node in contents + parameters
        if not {"example", "examples"} & (node.keys() | node["schema"].keys())
    ]
    assert len(contents) > 40
    assert len(parameters) > 40
    assert without == []


def test_a_member_of_a_request_has_no_default() -> None:
    # A generator of types takes one that has a default for one that is always there.
    bodies = [
        operation["requestBody"]
        for _, _, operation in operations.values()
        if "requestBody" in operation
    ]
    names = {node["$ref"].rpartition("/")[2] for _, node in nodes(bodies) if "$ref" in node}
    assert [
        path for path, node in nodes([schemas[name] for name in names]) if "default" in node
    ] == []


def test_an_operation_that_is_limited_says_what_is_left() -> None:
    limited = {
        operation_id
        for operation_id, (_, _, operation) in operations.items()
        if "RateLimit-Remaining"
        in operation["responses"][min(operation["responses"])].get("headers", {})
    }
    assert limited >= {"signup", "login", "rotate_refresh_token", "create_script_token"}
    assert all("429" in operations[operation_id][2]["responses"] for operation_id in limited)
    assert "RateLimit-Remaining" in contract["components"]["responses"]["Problem429"]["headers"]


def test_the_example_of_a_password_is_the_one_that_the_accounts_here_have() -> None:
    # Or the test above would be refused for it.
    assert schemas["Login"]["properties"]["password"]["examples"] == [PASSWORD]
