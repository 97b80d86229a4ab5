"""The document of the contract: as checked in, valid, and its examples work."""

import json
import re
from collections.abc import Callable
from difflib import unified_diff
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

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


def test_the_contract_is_the_one_that_is_checked_in() -> None:
    checked_in, now = (text.decode().splitlines() for text in (GOLDEN.read_bytes(), document()))

    changes = list(unified_diff(checked_in, now, "checked in", "now", n=2, lineterm=""))
    if changes:
        shown = "\n".join(changes[:LINES])
        pytest.fail(f"The contract has changed: run `make openapi`.\n{shown}", pytrace=False)


def test_the_document_is_valid_openapi() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(contract).iter_errors()] == []


def body_of(operation: dict[str, Any], content_type: str) -> bytes:
    """Return the example of a body: given as a whole, or for each property of it."""
    content = operation["requestBody"]["content"][content_type]
    if "example" in content:
        return str(content["example"]).encode()
    properties = schemas[content["schema"]["$ref"].rpartition("/")[2]]["properties"]
    examples = {
        name: property["examples"][0]
        for name, property in properties.items()
        if "examples" in property
    }
    return json.dumps(examples).encode()


def query_of(operation: dict[str, Any]) -> dict[str, Any]:
    return {
        parameter["name"]: parameter["schema"]["examples"][0]
        for parameter in operation.get("parameters", [])
        if "examples" in parameter.get("schema", {})
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
        headers=bearer(token) if "security" in operation else {},
        content_type=content_type,
        data=body_of(operation, content_type) if content_type else None,
    )

    assert 200 <= response.status_code < 300, response.text


def test_the_example_of_a_password_is_the_one_that_the_accounts_here_have() -> None:
    # Or the test above would be refused for it.
    assert schemas["Login"]["properties"]["password"]["examples"] == [PASSWORD]
