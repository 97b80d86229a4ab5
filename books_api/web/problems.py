"""Problem details (RFC 9457): a class for each problem; docs/problems.toml has their types."""

import logging
import tomllib
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self
from urllib.parse import quote

import orjson
from flask import Response, request

from books_api.observability.logs import Event, request_id, security_event

ERRORS_MAX = 100  # or a small request has a large answer
RETRY_AFTER = {"Retry-After": "1"}


class ProblemType(NamedTuple):
    """What docs/problems.toml says of a type; `detail` stands where a problem has no other."""

    status: int
    title: str
    meaning: str
    remedy: str
    detail: str = ""


_TABLE = Path(__file__).with_name("docs").joinpath("problems.toml").read_text("utf-8")
TYPES = {name: ProblemType(**row) for name, row in tomllib.loads(_TABLE).items()}


class Message(str):
    """What is wrong with a value: a sentence for people, and a stable code for programs."""

    code: str

    def __new__(cls, code: str, text: str) -> Self:
        message = super().__new__(cls, text)
        message.code = code
        return message

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # two of its own
        return self.code, str(self)  # marshmallow copies fields with their messages

    def format(self, *args: object, **kwargs: object) -> "Message":
        """Format the sentence, as marshmallow does with its limits."""
        return Message(self.code, super().format(*args, **kwargs))


NOT_AN_OBJECT = Message("not-an-object", "Must be a JSON object.")


class Problem(Exception):
    """Why a request is not carried out: raised by the domain, formatted by problem_response().

    `name` is its type. The text of an instance is the `detail` of the answer; where another of the
    attributes differs from instance to instance, it is given by keyword.
    """

    name: ClassVar[str]
    type: ClassVar[ProblemType]
    status: int
    detail: str = ""
    headers: Mapping[str, str] = {}
    members: Mapping[str, Any] = {}  # further ones of the document
    field: str | None = None  # the member of the request's body that it is about
    event: Event | None = None  # in the log, as `event_level`, with `event_fields`
    event_level: int = logging.WARNING
    event_fields: Mapping[str, Any] = {}

    def __init_subclass__(cls) -> None:
        if hasattr(cls, "name"):
            cls.type = TYPES[cls.name]
            cls.status = cls.type.status

    def __init__(self, detail: str | None = None, **attributes: Any) -> None:
        vars(self).update(attributes)
        super().__init__(detail or self.detail or self.type.detail)
        if self.field is not None:
            error = {"pointer": f"/{self.field}", "code": self.name, "detail": str(self)}
            self.members = {"errors": [error]}


def problem(name: str, base: type[Problem] = Problem, **attributes: Any) -> type[Problem]:
    """Return the class of a problem of this type that differs from its base in attributes only."""
    return type(name.title().replace("-", ""), (base,), {"name": name, **attributes})


MalformedRequest = problem("malformed-request")
NotFound = problem("not-found")
MethodNotAllowed = problem("method-not-allowed")
ContentTooLarge = problem("content-too-large")
UnsupportedMediaType = problem("unsupported-media-type")
RateLimited = problem("rate-limited", event="rate_limited", headers=RETRY_AFTER)
InternalError = problem("internal-error")
Unavailable = problem("unavailable", headers=RETRY_AFTER)


class InvalidInput(Problem):
    """A field of the body, a query parameter or a header has a wrong value.

    `messages` is marshmallow's tree of messages; `location` is json, query or header. Their order
    does not depend on the order in which the members were sent.
    """

    name = "validation"

    def __init__(self, messages: Any, location: str = "json") -> None:
        if location == "json":
            kind, found = "pointer", list(flatten_messages(messages))
        else:
            kind = "parameter" if location == "query" else "header"
            found = [(name, text) for name, texts in messages.items() for text in texts]
        found.sort(key=itemgetter(0))
        errors = [
            {kind: where, "code": getattr(text, "code", "invalid"), "detail": text}
            for where, text in found
        ]
        (where, text), *more = found
        where = where.removeprefix("/") if kind == "pointer" else where
        detail = f"{where}: {text}" if where else text
        members = {"errors": errors[:ERRORS_MAX]}
        super().__init__(f"{detail} And {len(more)} more." if more else detail, members=members)


def problem_response(problem: Problem) -> Response:
    """Return the problem as application/problem+json, and log what it says of security."""
    if problem.event:
        fields = {"problem": problem.name, "reason": str(problem), **problem.event_fields}
        security_event(problem.event, problem.event_level, **fields)
    body = {
        "type": f"/problems/{problem.name}",
        "title": problem.type.title,
        "status": problem.status,
        "detail": str(problem),
        "instance": quote(request.path),
        "request_id": request_id(),
        **problem.members,
    }
    return Response(
        orjson.dumps(body, option=orjson.OPT_UTC_Z),
        problem.status,
        problem.headers,
        content_type="application/problem+json",
    )


def flatten_messages(tree: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Yield JSON pointers (RFC 6901) and sentences of marshmallow's tree of messages."""
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            step = "/" + str(key).replace("~", "~0").replace("/", "~1")
            yield from flatten_messages(branch, pointer + step)
    else:
        for text in [tree] if isinstance(tree, str) else tree:
            yield pointer, text
