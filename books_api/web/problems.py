"""Problem details (RFC 9457): a class for each type of problem."""

import logging
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any, ClassVar, Self
from urllib.parse import quote
from uuid import UUID

import orjson
from flask import Response, request

from books_api.observability.logs import Event, request_id, security_event

ERRORS_MAX = 100  # or a small request has a large answer
RETRY_AFTER = {"Retry-After": "1"}
TYPES: dict[str, type["Problem"]] = {}


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

    A subclass with a name is a type of problem: its docstring (what it means) and `remedy` (what
    a client can do) are its page. The text of an instance is the `detail` of the answer.
    """

    name: ClassVar[str]
    status: int
    title: ClassVar[str]
    remedy: ClassVar[str] = ""
    detail: ClassVar[str] = ""
    event: ClassVar[Event | None] = None  # in the log, as `event_level`
    event_level: ClassVar[int] = logging.WARNING
    field: str | None = None  # the member of the request's body that it is about

    def __init_subclass__(cls) -> None:
        if "name" in vars(cls):
            TYPES[cls.name] = cls

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.detail)

    @classmethod
    def meaning(cls) -> str:
        """Return the first paragraph of the docstring, in one line."""
        return " ".join((cls.__doc__ or "").partition("\n\n")[0].split())

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    @property
    def event_fields(self) -> dict[str, Any]:
        return {}

    @property
    def members(self) -> dict[str, Any]:
        """Further members of the document."""
        if self.field is None:
            return {}
        error = {"pointer": f"/{self.field}", "code": self.name, "detail": str(self)}
        return {"errors": [error]}


class MalformedRequest(Problem):
    """The request is not valid HTTP or its body is not valid JSON, is empty or is cut off."""

    name, status, title = "malformed-request", 400, "Malformed request"
    remedy = "Correct the form of the request; `detail` says what is wrong with it."


class HTTPSRequired(Problem):
    """The request came in clear text; nginx answers so where it would redirect a browser."""

    name, status, title = "https-required", 403, "HTTPS required"
    remedy = "Use https://, and replace a password or token that was sent in clear text."


class NotFound(Problem):
    """There is nothing at this address: no such resource, or it has been deleted."""

    name, status, title = "not-found", 404, "Not found"
    remedy = "Check the path and the id."
    detail = "There is nothing at this address."


class MethodNotAllowed(Problem):
    """The resource does not have this method."""

    name, status, title = "method-not-allowed", 405, "Method not allowed"
    remedy = "Use one of the methods in the Allow header."


class ContentTooLarge(Problem):
    """The body is larger than this operation accepts."""

    name, status, title = "content-too-large", 413, "Content too large"
    remedy = "Send less at once: 16 KiB to /auth/, 16 MiB to /books/import, otherwise 1 MiB."


class UnsupportedMediaType(Problem):
    """The body is sent in a media type or an encoding that this operation does not read."""

    name, status, title = "unsupported-media-type", 415, "Unsupported media type"
    remedy = (
        "Send the Content-Type that the operation documents, without a Content-Encoding; only"
        " /books/import reads gzip."
    )


class InvalidInput(Problem):
    """A field of the body, a query parameter or a header has a wrong value.

    `messages` is marshmallow's tree of messages; `location` is json, query or header. Their order
    does not depend on the order in which the members were sent.
    """

    name, status, title = "validation", 422, "Invalid input"
    remedy = "Correct what `errors` points at."

    def __init__(self, messages: Any, location: str) -> None:
        if location == "json":
            kind, found = "pointer", list(flatten_messages(messages))
        else:
            kind = "parameter" if location == "query" else "header"
            found = [(name, text) for name, texts in messages.items() for text in texts]
        found.sort(key=itemgetter(0))
        self.errors = [
            {kind: where, "code": getattr(text, "code", "invalid"), "detail": text}
            for where, text in found
        ]
        (where, text), *more = found
        where = where.removeprefix("/") if kind == "pointer" else where
        detail = f"{where}: {text}" if where else text
        super().__init__(f"{detail} And {len(more)} more." if more else detail)

    @property
    def members(self) -> dict[str, Any]:
        return {"errors": self.errors[:ERRORS_MAX]}


class RateLimited(Problem):
    """There were too many requests of this kind."""

    name, status, title = "rate-limited", 429, "Too many requests"
    remedy = "Wait for as many seconds as the Retry-After header says."
    event = "rate_limited"
    user_id: UUID | None = None  # of the account, where a login is refused

    def __init__(
        self, detail: str | None = None, *, retry_after: int = 1, limit: str | None = None
    ) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        self.limit = limit

    @property
    def event_fields(self) -> dict[str, Any]:
        fields = {"limit": self.limit, "user_id": self.user_id}
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after)}


class InternalError(Problem):
    """The service failed in a way that nobody foresaw."""

    name, status, title = "internal-error", 500, "Internal error"
    remedy = "Give the operator the `request_id`."
    detail = "Something went wrong here. The request id helps the operator to find it."


class Unavailable(Problem):
    """Postgres or Redis does not answer, or too much is asked of the service at once."""

    name, status, title = "unavailable", 503, "Temporarily unavailable"
    remedy = "Send the request again after as many seconds as the Retry-After header says."
    detail = "The service is briefly unavailable; try again in a moment."
    headers = RETRY_AFTER


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the problem as application/problem+json, and log what it says of security."""
    if problem.event:
        fields = {"problem": problem.name, "reason": str(problem), **problem.event_fields}
        security_event(problem.event, problem.event_level, **fields)
    body = {
        "type": f"/problems/{problem.name}",
        "title": problem.title,
        "status": problem.status,
        "detail": str(problem),
        "instance": quote(request.path),
        "request_id": request_id(),
        **problem.members,
    }
    return Response(
        orjson.dumps(body, option=orjson.OPT_UTC_Z),
        problem.status,
        {**problem.headers, **(headers or {})},
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
