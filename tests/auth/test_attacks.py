"""Attacks on tokens and routes: each is refused, and changes nothing."""

import base64
import json
from time import time
from uuid import uuid4

import pytest
import time_machine
from flask_jwt_extended import jwt_required

from books_api import PREFIX, create_app
from books_api.auth import identity
from tests.conftest import KEY, bearer
from tests.helpers import (
    AUTH,
    BOOKS,
    CAROL,
    MOMO,
    REFRESH,
    claims_of,
    exceptions,
    forge,
    get_me,
    make_script_token,
    snapshot,
    status_of,
)

WRONG_KEY = "1029384756abcdef1029384756abcdef1029384756abcdef1029384756abcdef"
CLAIMS = ["sub", "jti", "sid", "epoch", "role", "type", "iss", "aud", "iat", "exp"]


def encode(part):
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def with_header(**changes):
    """Another header before the old payload and signature."""

    def attack(token):
        header, payload, signature = token.split(".")
        old = json.loads(base64.urlsafe_b64decode(header + "=="))
        return f"{encode({**old, **changes})}.{payload}.{signature}"

    return attack


def with_payload(payload):
    """Another payload between the old header and signature."""

    def attack(token):
        header, _, signature = token.split(".")
        return f"{header}.{encode(payload)}.{signature}"

    return attack


def unsigned(algorithm):
    def attack(token):
        return f"{encode({'alg': algorithm, 'typ': 'JWT'})}.{token.split('.')[1]}."

    return attack


def signed(key=KEY, algorithm="HS256", **changes):
    return lambda token: forge(token, key, algorithm, **changes)


def promoted(token):
    header, _, signature = token.split(".")
    return f"{header}.{encode({**claims_of(token), 'role': 'admin'})}.{signature}"


def with_other_signature(token):
    signed_part, _, signature = token.rpartition(".")
    return f"{signed_part}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def embedding_its_key(token):
    key = {"kty": "oct", "k": encode(WRONG_KEY.encode())}
    return forge(token, WRONG_KEY, headers={"jwk": key, "kid": "mine"})


def at(seconds, *claims):
    return lambda token: forge(token, **dict.fromkeys(claims, int(time()) + seconds))


FORGERIES = {
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "alg nOnE": unsigned("nOnE"),
    "alg none with the old signature": with_header(alg="none"),
    "alg RS256": with_header(alg="RS256"),
    "alg ES256": with_header(alg="ES256"),
    "alg HS384 in the header only": with_header(alg="HS384"),
    "alg null": with_header(alg=None),
    "alg a list": with_header(alg=["HS256"]),
    "alg empty": with_header(alg=""),
    "kid a number": with_header(kid=7),
    "kid a path": with_header(kid="../../../../dev/null"),
    "kid SQL": with_header(kid="x' UNION SELECT 'key' --"),
    "kid long": with_header(kid="x" * 1000),
    "kid null": with_header(kid=None),
    "another algorithm, HS384": signed(algorithm="HS384"),
    "another algorithm, HS512": signed(algorithm="HS512"),
    "wrong key": signed(key=WRONG_KEY),
    "wrong key, embedded": embedding_its_key,
    "role changed": promoted,
    "signature changed": with_other_signature,
    "signature empty": lambda t: t.rpartition(".")[0] + ".",
    "signature cut": lambda t: t[:-4],
    "signature missing": lambda t: t.rpartition(".")[0],
    "signature of another token": lambda t: (
        t.rpartition(".")[0] + "." + forge(t, jti=str(uuid4())).rpartition(".")[2]
    ),
    "a fourth part": lambda t: f"{t}.{t.rpartition('.')[2]}",
    "five parts, as encrypted": lambda t: f"{t}.{encode(b'x')}.{encode(b'y')}",
    "only dots": lambda t: "..",
    "payload empty": with_payload(b""),
    "payload not JSON": with_payload(b"nonsense"),
    "payload not UTF-8": with_payload(b"\xff\xfe"),
    "payload a list": with_payload([]),
    "payload a text": with_payload("text"),
    "payload null": with_payload(None),
    "payload nested deep": with_payload(b"[" * 1200),
    "claims nested deep": with_payload(b'{"sub":' * 150 + b"1" + b"}" * 150),
    "exp of 1,000 digits": with_payload(b'{"exp": ' + b"9" * 1000 + b"}"),
    "exp infinite": with_payload(b'{"exp": 1e999}'),
    "claims NaN": with_payload(b'{"exp": NaN, "iat": Infinity}'),
    "a lone surrogate": with_payload(b'{"sub": "\\ud800"}'),
    "10,000 characters": lambda t: t + "A" * 10_000,
    "a million characters": lambda t: "A" * 1_000_000,
    "expired a second ago": at(-1, "exp"),
    "expired long ago": at(-(10**9), "exp"),
    "issued in an hour": at(3600, "iat"),
    "not before an hour": at(3600, "nbf"),
    "exp a text": signed(exp="tomorrow"),
    "exp null": signed(exp=None),
    "iat a text": signed(iat="today"),
    "wrong iss": signed(iss="evil"),
    "iss a list": signed(iss=["books-api"]),
    "wrong aud": signed(aud="another-api"),
    "aud a list of others": signed(aud=["another-api", "third-api"]),
    "aud null": signed(aud=None),
    "type unknown": signed(type="reset"),
    "type a list": signed(type=["access", "refresh"]),
    "type null": signed(type=None),
    "role unknown": signed(role="root"),
    "role a list": signed(role=["admin"]),
    "epoch a text": signed(epoch="0"),
    "epoch a fraction": signed(epoch=0.5),
    "epoch true": signed(epoch=True),
    "epoch null": signed(epoch=None),
    "scope unknown": signed(scope="write"),
    "scope a list": signed(scope=["read", "full"]),
    "sub a number": signed(sub=1),
    "sub no UUID": signed(sub="alice"),
    "sub null": signed(sub=None),
    "sid no UUID": signed(sid="1"),
    "sid a number": signed(sid=1),
    "jti no UUID": signed(jti="*"),
    "jti a list": signed(jti=[]),
    **{f"no {claim}": signed(without=[claim]) for claim in CLAIMS},
}


@pytest.fixture(scope="module")
def library_app(migrated_app, settings):
    """An application with a route that the library's own decorator guards."""
    app = create_app(settings)
    view = jwt_required()(lambda: identity().user_id)
    app.add_url_rule("/theirs", view_func=view, methods=["GET", "POST"])
    return app


@pytest.fixture
def library_client(app, library_app):
    return library_app.test_client()


def test_forged_token_is_refused_and_by_the_librarys_decorator_too(library_client, alice):
    def answers_to(attack):
        access, refresh = (FORGERIES[attack](t) for t in (alice.access_token, alice.refresh_token))
        answers = [
            library_client.get(f"{BOOKS}/", headers=bearer(access)),
            library_client.post(REFRESH, headers=bearer(refresh)),
            library_client.get("/theirs", headers=bearer(access)),
        ]
        return [
            (
                *(answer.status_code, answer.content_type),
                'error="invalid_token"' in answer.headers.get("WWW-Authenticate", ""),
            )
            for answer in answers
        ]

    expected = [(401, "application/problem+json", True)] * 3
    assert exceptions(expected, answers_to, FORGERIES) == {}


def test_the_librarys_decorator_tells_who_sends_the_request(library_client, alice):
    assert library_client.get("/theirs", headers=alice.headers).text == alice.id


def test_a_missing_token_is_refused_by_the_librarys_decorator(library_client):
    response = library_client.get("/theirs")

    assert (response.status_code, response.json["type"]) == (401, "/problems/token-missing")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="books-api"'


def test_a_refresh_token_is_refused_by_the_librarys_decorator(library_client, alice):
    response = library_client.get("/theirs", headers=bearer(alice.refresh_token))

    assert (response.status_code, response.json["type"]) == (401, "/problems/token-invalid")


def test_a_read_only_token_writes_nothing_past_the_librarys_decorator(library_client, alice):
    headers = bearer(make_script_token(library_client, alice).json["access_token"])

    assert library_client.get("/theirs", headers=headers).status_code == 200
    response = library_client.post("/theirs", headers=headers)
    assert (response.status_code, response.json["type"]) == (403, "/problems/token-read-only")


def test_forger_of_this_table_can_sign(client, alice):
    assert status_of(client, forge(alice.access_token)) == 200
    assert status_of(client, forge(alice.refresh_token)) == 200


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_longer_algorithm_that_is_set_is_the_only_one(make_app, alice, algorithm):
    client = make_app(jwt_algorithm=algorithm).test_client()

    assert status_of(client, forge(alice.access_token, algorithm=algorithm)) == 200
    assert status_of(client, alice.access_token) == 401


def test_clock_that_is_a_few_seconds_ahead_is_forgiven(client, alice):
    assert status_of(client, at(5, "iat")(alice.access_token)) == 200


def test_token_that_was_seen_before_is_refused_once_it_has_expired(client, alice):
    assert status_of(client, alice.access_token) == 200

    with time_machine.travel(claims_of(alice.access_token)["exp"]):
        assert status_of(client, alice.access_token) == 401


def test_what_is_wrong_with_a_token_is_not_told_but_that_it_expired(client, alice):
    answers = [
        get_me(client, FORGERIES[name](alice.access_token)).json["detail"]
        for name in ("wrong key", "signature changed", "alg none", "wrong aud", "no jti")
    ]

    assert len(set(answers)) == 1


def test_token_of_a_user_that_never_was_is_refused_where_it_would_write(app, client, alice):
    token = forge(alice.access_token, sub=str(uuid4()))

    response = client.post(f"{BOOKS}/", json=MOMO, headers=bearer(token))

    assert response.status_code == 401


# The Authorization header.


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_scheme_is_taken_in_any_case(client, alice, scheme):
    headers = {"Authorization": f"{scheme} {alice.access_token}"}

    assert client.get(f"{BOOKS}/", headers=headers).status_code == 200


@pytest.mark.parametrize("form", ["Bearer  {}", " Bearer {} "])
def test_spaces_around_the_token_are_forgiven(client, alice, form):
    environ = {"HTTP_AUTHORIZATION": form.format(alice.access_token)}

    assert client.get(f"{BOOKS}/", environ_overrides=environ).status_code == 200


BROKEN = [
    *("Bearer", "Bearer ", "{0}", "Bearer{0}", "Bearer:{0}", "Bearer={0}", "Bearer,{0}"),
    *("Bearer\t{0}", "Bearer\u00a0{0}", 'Bearer "{0}"', "Bearer <{0}>", "Bearer {0} {0}"),
    *("Bearer {0},{0}", "Bearer {0}, Bearer {0}", "Bearer token={0}", "Bearer {0}\n.x"),
    *("Bearer {0}\u00ff", "Bearer \u00e9", "B\u00e9arer {0}", "\u00ff\u00fe", "\x00"),
    *("Bearer \x00{0}", "Bearer Bearer {0}", "Token {0}", "JWT {0}", "Basic {0}"),
    *("Basic YWxpY2U6cGFzc3dvcmQ=", "Digest username=alice", "null", "Bearer null"),
    *("Bearer undefined", "Bearer ={0}", "Bearer %00", "Bearer ../../etc/passwd"),
]


def test_broken_authorization_header_is_refused(client, alice):
    def answer_to(form):
        environ = {"HTTP_AUTHORIZATION": form.format(alice.access_token)}
        response = client.get(f"{BOOKS}/", environ_overrides=environ)
        return response.status_code, response.headers["WWW-Authenticate"][:7]

    assert exceptions((401, "Bearer "), answer_to, BROKEN) == {}


def test_token_is_taken_from_nowhere_else(client, alice):
    token = alice.access_token
    client.set_cookie("access_token_cookie", token)
    client.set_cookie("access_token", token)

    answers = [
        client.get(f"{BOOKS}/"),
        client.get(f"{BOOKS}/?access_token={token}&jwt={token}"),
        client.get(f"{BOOKS}/", headers={"X-Access-Token": token, "X-Authorization": token}),
        client.post(f"{BOOKS}/", json={"title": "x", "author": "y", "access_token": token}),
    ]

    assert [answer.status_code for answer in answers] == [401] * 4


# Every route there is.

PUBLIC = {
    ("POST", f"{AUTH}/signup"),
    ("POST", f"{AUTH}/login"),
    ("POST", f"{AUTH}/password-reset"),
}
REFRESHING = {("GET", REFRESH), ("POST", REFRESH)}
BOTH = {("POST", f"{AUTH}/logout")}


def routes(app):
    """Return every method and path of the API, the paths with ids that are nobody's."""
    found = []
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(f"{PREFIX}/"):
            path = app.url_map.bind("").build(rule.endpoint, dict.fromkeys(rule.arguments, uuid4()))
            found += [(method, path) for method in rule.methods - {"HEAD", "OPTIONS"}]
    return found


def protected(app):
    return [route for route in routes(app) if route not in PUBLIC]


def send(client, route, token=None, **kwargs):
    method, path = route
    headers = bearer(token) if token else {}
    return client.open(path, method=method, headers=headers, **kwargs)


def test_only_these_routes_are_public(app, client):
    answers = {route: send(client, route).status_code for route in routes(app)}

    assert {route for route, status in answers.items() if status != 401} == PUBLIC


def test_every_route_asks_for_a_token_before_it_reads_the_body(app, client):
    bodies = {
        route: send(client, route, data=b"{", content_type="text/plain").status_code
        for route in protected(app)
    }

    assert set(bodies.values()) == {401}


def test_request_without_token_is_told_how_and_given_no_error_code(app, client):
    challenges = {send(client, route).headers["WWW-Authenticate"] for route in protected(app)}

    assert challenges == {'Bearer realm="books-api"'}


def test_revoked_token_is_refused_on_every_route(app, client, alice):
    client.post(f"{AUTH}/logout", headers=alice.headers)

    answers = {
        route: send(
            client, route, alice.refresh_token if route in REFRESHING else alice.access_token
        ).status_code
        for route in protected(app)
    }

    assert set(answers.values()) == {401}


def test_refresh_token_is_no_access_token_on_any_route(app, client, admin):
    answers = {
        route: send(client, route, admin.refresh_token).status_code
        for route in protected(app)
        if route not in REFRESHING | BOTH
    }

    assert {route for route, status in answers.items() if status != 401} == set()


def test_access_token_is_no_refresh_token(app, client, admin):
    answers = {route: send(client, route, admin.access_token).status_code for route in REFRESHING}

    assert set(answers.values()) == {401}


@pytest.fixture
def read_only_token(client, admin):
    """What may read all that an admin may but other users, and change nothing."""
    return make_script_token(client, admin).json["access_token"]


def test_read_only_token_is_refused_on_every_write(app, client, read_only_token):
    writes = [route for route in protected(app) if route[0] != "GET" and route not in REFRESHING]
    before = snapshot(app)

    answers = {route: send(client, route, read_only_token, json={}) for route in writes}

    assert {route for route, answer in answers.items() if answer.status_code != 403} == set()
    assert all(
        'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
        for answer in answers.values()
    )
    assert snapshot(app) == before


def test_read_only_token_may_be_sent_to_every_read_but_of_users(app, client, read_only_token):
    reads = [route for route in protected(app) if route[0] == "GET" and route not in REFRESHING]

    answers = {route: send(client, route, read_only_token).status_code for route in reads}

    refused = {path for (_, path), status in answers.items() if status not in (200, 404)}
    assert refused == {path for _, path in reads if path.startswith(f"{AUTH}/users")}


def test_somebody_elses_id_is_refused_on_every_write(app, client, alice, bob, make_book):
    ids = {
        "user_id": alice.id,
        "book_id": make_book(alice)["id"],
        "session_id": claims_of(alice.access_token)["sid"],
    }
    bodies = {"user_id": {"role": "admin"}, "book_id": {"title": "Stolen"}}
    before = snapshot(app)

    answers = {}
    for rule in app.url_map.iter_rules():
        for method in rule.methods - {"GET", "HEAD", "OPTIONS"} if rule.arguments else ():
            (name,) = rule.arguments
            path = app.url_map.bind("").build(rule.endpoint, {name: ids[name]})
            answers[method, rule.rule] = send(
                client, (method, path), bob.access_token, json=bodies.get(name, {})
            ).status_code

    assert len(answers) >= 4
    assert {route for route, status in answers.items() if status not in (403, 404)} == set()
    assert snapshot(app) == before


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/users/{id}"), ("PATCH", "/users/{id}"), ("GET", "/users")]
)
def test_admin_routes_tell_a_user_nothing_and_change_nothing(app, client, alice, bob, method, path):
    before = snapshot(app)
    known, unknown = (
        client.open(
            f"{AUTH}{path.format(id=user_id)}",
            method=method,
            json={"role": "admin"},
            headers=bob.headers,
        ).json
        for user_id in (alice.id, uuid4())
    )

    assert known["detail"] == unknown["detail"]
    assert known["status"] == unknown["status"] == 403
    assert snapshot(app) == before


# Mass assignment.

NOT_FOR_CLIENTS = {
    "id": str(uuid4()),
    "uid": str(uuid4()),
    "user_id": str(uuid4()),
    "user_uid": str(uuid4()),
    "owner": str(uuid4()),
    "role": "admin",
    "is_admin": True,
    "is_active": True,
    "is_verified": True,
    "token_epoch": 99,
    "password_hash": "scrypt:32768:8:3$salt$",
    "refresh_jti": str(uuid4()),
    "ended_at": None,
    "expires_at": "2999-01-01T00:00:00Z",
    "created_at": "1999-01-01T00:00:00Z",
    "updated_at": "1999-01-01T00:00:00Z",
    "version": 7,
    "scope": "full",
    "__class__": "User",
    "__init__": {"__globals__": {}},
    "constructor": {"prototype": {}},
}


def json_bodies(app, client):
    """Return each route that takes JSON, but no file, with the names of its documented fields."""
    document = client.get("/openapi.json").json
    found = {}
    for path, item in document["paths"].items():
        for method in item.keys() & {"post", "put", "patch", "delete"}:
            content = item[method].get("requestBody", {}).get("content", {})
            reference = content.get("application/json", {}).get("schema", {}).get("$ref")
            if reference:
                name = reference.rpartition("/")[2]
                found[method.upper(), path] = document["components"]["schemas"][name]["properties"]
    return found


def test_no_write_takes_what_the_server_decides(app, client, admin, alice, make_book):
    ids = {
        "user_id": alice.id,
        "book_id": make_book(admin)["id"],
        "session_id": claims_of(admin.access_token)["sid"],
    }
    before = snapshot(app)

    let_in = {}
    for (method, path), documented in json_bodies(app, client).items():
        body = {name: value for name, value in NOT_FOR_CLIENTS.items() if name not in documented}
        response = send(client, (method, path.format(**ids)), admin.access_token, json=body)
        refused = {error["pointer"].removeprefix("/") for error in response.json["errors"]}
        let_in[method, path] = body.keys() - refused

    assert len(let_in) >= 9
    assert {route: names for route, names in let_in.items() if names} == {}
    assert snapshot(app) == before


@pytest.mark.parametrize("field", ["role", "is_admin", "is_verified", "password_hash", "id"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"{AUTH}/signup", CAROL),
        ("PATCH", f"{AUTH}/me", {"first_name": "Mallory"}),
        ("POST", f"{BOOKS}/", MOMO),
    ],
)
def test_good_write_with_one_field_too_many_is_refused_whole(
    app, client, alice, method, path, body, field
):
    before = snapshot(app)

    response = client.open(
        path, method=method, json={**body, field: NOT_FOR_CLIENTS[field]}, headers=alice.headers
    )

    assert response.status_code == 422
    assert [error["pointer"] for error in response.json["errors"]] == [f"/{field}"]
    assert snapshot(app) == before


@pytest.mark.parametrize(
    "body",
    [
        b'{"first_name": "a", "role": "user", "role": "admin"}',
        b'{"first_name": "a", "Role": "admin"}',
        b'{"first_name": "a", "role\\u0000": "admin"}',
        b'[{"role": "admin"}]',
    ],
)
def test_role_hidden_in_the_body_is_refused(app, client, alice, body):
    before = snapshot(app)

    response = client.patch(
        f"{AUTH}/me", data=body, content_type="application/json", headers=alice.headers
    )

    assert response.status_code == 422
    assert snapshot(app) == before
