"""The links of the document lead from a sign-up to the end of a book."""

import itertools
import json
from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import bearer
from tests.contract.test_golden import body_of, operations

CHAIN = {
    "signup": 201,
    "login": 200,
    "create_book": 201,
    "get_book": 200,
    "update_book": 200,
    "delete_book": 204,
}


@dataclass
class Exchange:
    """A request and its answer, as OpenAPI's runtime expressions see them."""

    operation_id: str
    path: dict[str, str]
    response: TestResponse

    def links(self) -> dict[str, Any]:
        _, _, operation = operations[self.operation_id]
        return dict(operation["responses"][str(self.response.status_code)].get("links", {}))

    def evaluate(self, expression: Any) -> Any:
        if isinstance(expression, dict):
            return {name: self.evaluate(value) for name, value in expression.items()}
        source, _, pointer = expression.partition("#/")
        match source.split("."):
            case ["$request", "path", name]:
                return self.path[name]
            case ["$response", "body"]:
                return self.response.json[pointer]
            case ["$response", "header", name]:
                return self.response.headers[name]
        raise ValueError(expression)


def follow(
    client: FlaskClient,
    operation_id: str,
    link: dict[str, Any],
    before: Exchange | None,
    token: str,
) -> Exchange:
    """Send the request that the link leads to; what the link does not say is as in the example."""
    method, path, operation = operations[operation_id]
    values = before.evaluate(link.get("parameters", {})) if before else {}
    body = None
    if "requestBody" in operation:
        body = json.loads(body_of(operation, "application/json"))
    in_path = {name: value for name, value in values.items() if f"{{{name}}}" in path}
    headers = {name: value for name, value in values.items() if name not in in_path}
    response = client.open(
        path.format(**in_path), method=method, headers={**bearer(token), **headers}, json=body
    )
    return Exchange(operation_id, in_path, response)


def test_the_links_lead_from_a_signup_to_a_deleted_book(client: FlaskClient) -> None:
    exchange, token = None, ""
    for operation_id, status in CHAIN.items():
        link = exchange.links()[operation_id] if exchange else {}
        exchange = follow(client, operation_id, link, exchange, token)
        assert exchange.response.status_code == status, exchange.response.text
        if operation_id == "login":
            token = exchange.response.json["access_token"]

    gone = follow(client, "get_book", exchange.links()["get_book"], exchange, token)
    assert gone.response.status_code == 404


def test_a_link_fits_the_operation_that_it_leads_to() -> None:
    answers = [operation["responses"].values() for *_, operation in operations.values()]
    for response in itertools.chain(*answers):
        for link in response.get("links", {}).values():
            _, path, target = operations[link["operationId"]]
            references = [parameter.get("$ref", "") for parameter in target.get("parameters", [])]
            known = {reference.rpartition("/")[2] for reference in references}
            for name in link.get("parameters", {}):
                assert f"{{{name}}}" in path or name in known
