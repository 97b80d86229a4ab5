"""The shipped nginx.conf in front of the shipped gunicorn.conf.py, over TLS."""

import itertools
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from os import geteuid
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
from flask import Flask
from sqlalchemy import text

from books_api import PREFIX
from books_api.database import allow_long
from books_api.extensions import db
from books_api.web.problems import TYPES
from tests.conftest import PASSWORD, Account
from tests.deploy.conftest import NAME, SHIPPED, Nginx
from tests.processes import ROOT, TIMEOUT, free_port, gunicorn_config, wait_until
from tests.test_end_to_end import real_books, walk

pytestmark = pytest.mark.deploy

MIB = 1024 * 1024
MEMBERS = {"type", "title", "status", "detail", "instance", "request_id"}
LONG_BOOK = {"title": "Momo", "author": "Michael Ende, " * 70}  # long enough for gzip
LOGIN = {"email": "nobody@example.com", "password": PASSWORD}


def connect(nginx: Nginx, *, source: str = "127.0.0.1") -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", nginx.port), TIMEOUT, (source, 0))
    return nginx.tls().wrap_socket(plain, server_hostname=NAME)


def exchange(nginx: Nginx, request: bytes, **options: str) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes; return the status, the header (names in lower case) and the body."""
    answer = b""
    with connect(nginx, **options) as connection:
        connection.sendall(request)
        with suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    fields = (line.split(": ", 1) for line in lines)
    return int(status_line.split()[1]), {name.lower(): value for name, value in fields}, body


def get(path: str, *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {NAME}", "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode()


def assert_problem(status: int, headers: Any, body: bytes) -> dict[str, Any]:
    """It has the API's shape, and the request id of its header."""
    problem = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert set(problem) == MEMBERS
    kind = TYPES[problem["type"].removeprefix("/problems/")]
    assert (problem["title"], problem["status"]) == (kind.title, status)
    assert problem["detail"]
    assert problem["request_id"] == headers["x-request-id"]
    return dict(problem)


def test_a_client_keeps_books_through_tls(client):
    account = {"email": "zoë@example.com", "password": PASSWORD}
    client.call("POST", "/auth/signup", 201, json=account | {"username": "Zoë"})
    tokens = client.call("POST", "/auth/login", 200, json=account).json()
    client.use(tokens["access_token"])

    sent = real_books()[:30]
    created = [client.call("POST", "/books/", 201, json=book).json() for book in sent]
    listed = [book for page in walk(client, "/books/?limit=20") for book in page]
    assert listed == created[::-1]

    path = f"/books/{created[0]['id']}"
    assert client.call("PATCH", path, 200, json={"title": "三体"}).json()["title"] == "三体"
    assert client.call("GET", path, 200).json()["title"] == "三体"
    client.call("DELETE", path, 204)
    client.call("GET", path, 404)
    exported = client.call("GET", "/books/export?format=csv", 200).text
    assert len(exported.splitlines()) == 30

    client.use(tokens["refresh_token"])
    tokens = client.call("POST", "/auth/refresh-token", 200).json()
    client.use(tokens["access_token"])
    client.call("POST", "/auth/logout", 200)
    client.call("GET", "/books/", 401)


@pytest.mark.parametrize(
    ("title", "q", "pages"),
    [
        ("三" * 300, "三" * 200, 2),
        ("Momo", "Momo" + "—" * 450, 2),
        ("Momo", "Momo" + "," * 7900, 1),  # of Link, which is too long to be followed
    ],
)
def test_a_search_may_be_as_long_as_an_address(client, alice, title, q, pages):
    client.use(alice.access_token)
    for _ in range(2):
        client.call("POST", "/books/", 201, json={"title": title, "author": "Michael Ende"})

    found = itertools.islice(walk(client, f"/books/?limit=1&q={q}"), pages)

    assert [len(page) for page in found] == [1] * pages


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/healthz", "/readyz"])
def test_what_is_outside_the_prefix_is_served(client, path):
    response = client.get(urljoin(client.url, path), timeout=TIMEOUT)

    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_through_nginx_learns_no_version(client, gunicorn, path):
    direct = requests.get(f"{gunicorn.url}{path}", timeout=TIMEOUT)

    response = client.get(urljoin(client.url, path), timeout=TIMEOUT)

    assert re.search('"(version|detail)"', direct.text)  # on the machine itself
    assert not re.search('"(version|detail)"', response.text)


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/%6detrics"])
def test_metrics_are_not_public(nginx, path):
    status, headers, body = exchange(nginx, get(path))

    assert status == 404
    assert_problem(404, headers, body)


def test_metrics_are_let_out_to_the_address_that_is_named(start_nginx, gunicorn):
    with start_nginx(gunicorn.port, allowed="127.0.0.7") as nginx:
        statuses = [
            exchange(nginx, get("/metrics"), source=source)[0]
            for source in ("127.0.0.7", "127.0.0.8")
        ]

    assert statuses == [200, 404]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_a_mebibyte_reaches_the_application(client, alice, chunked):
    client.use(alice.access_token)
    body = b'{"title": "' + b"a" * (MIB - 13) + b'"}'
    data = iter([body]) if chunked else body

    response = client.post(
        f"{client.url}/books/",
        data=data,
        headers={"Content-Type": "application/json"},
        timeout=TIMEOUT,
    )

    assert len(body) == MIB
    assert response.status_code == 422


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/books/", MIB),
        ("/books/import", 16 * MIB),
        ("/auth/sessions", 16 * 1024),
        ("/auth/login", 16 * 1024),
    ],
)
def test_a_body_over_its_limit_is_refused_by_nginx(
    nginx, gunicorn, client, alice, path, limit, chunked
):
    client.use(alice.access_token)
    body = b"a" * (limit + 1)
    asked = gunicorn.access_log.read_text()

    response = client.post(
        client.url + path, data=iter([body]) if chunked else body, timeout=TIMEOUT
    )

    assert response.status_code == 413
    problem = assert_problem(413, response.headers, response.content)
    assert problem["instance"] == PREFIX + path
    assert gunicorn.access_log.read_text() == asked


def test_an_import_over_a_mebibyte_is_let_through(client, alice):
    client.use(alice.access_token)
    rows = ["title,author", *(f"{number:04},{'a' * 990}" for number in range(1100))]
    body = "\n".join(rows)

    response = client.call(
        "POST", "/books/import?dry_run=true", 200, data=body, headers={"Content-Type": "text/csv"}
    )

    assert len(body) > MIB
    assert response.json()["imported"] == 1100


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, b"GET\r\n\r\n"),
        (400, get("/", "Content-Length: many")),
        (400, get(f"{PREFIX}/books/?q=Zafón")),
        (400, get("/Zafón")),
        (400, get("/metrics/Zafón")),
        (400, get("/").replace(b"GET", b"GE")),
        (400, get("/").replace(b"GET", b"A" * 21)),
        (405, get("/").replace(b"GET", b"TRACE")),
        (414, get("/" + "a" * 9000)),
        (431, get("/", "X-Long: " + "a" * 9000)),
        (501, get("/", "Transfer-Encoding: gzip")),
        (505, get("/").replace(b"HTTP/1.1", b"HTTP/3.0")),
    ],
)
def test_what_nginx_refuses_is_a_problem(nginx, status, request_):
    found, headers, body = exchange(nginx, request_)

    assert found == status
    assert_problem(status, headers, body)


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (get("/?q=Zafón"), "percent-encoded"),
        (get("/nginx-problem%20é"), "percent-encoded"),
        (get("/").replace(b"GET", b"G"), "method"),
        (b"GET\r\n\r\n", "HTTP"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(nginx, request_, word):
    status, headers, body = exchange(nginx, request_)

    assert word in assert_problem(status, headers, body)["detail"]


@pytest.mark.parametrize(
    "fields",
    [["a:"] * 990, ["X-Long:" + "a" * 8183], ["X: é"]],
    ids=["many", "long", "beyond ASCII"],
)
def test_what_nginx_takes_for_a_header_gunicorn_does_too(nginx, fields):
    status, headers, body = exchange(nginx, get("/nothing", *fields))

    assert status == 404
    assert_problem(404, headers, body)


@pytest.mark.parametrize(
    ("path", "instance"),
    [
        ("/metrics/caf%C3%A9?q=1", "/metrics/caf%C3%A9"),
        ('/metrics/"quoted"', "/"),
        ("/metrics/back\\slash", "/"),
    ],
)
def test_the_instance_of_a_problem_never_breaks_its_json(nginx, path, instance):
    status, headers, body = exchange(nginx, get(path))

    assert assert_problem(status, headers, body)["instance"] == instance


def test_a_gunicorn_that_is_away_is_a_problem_with_retry_after(start_nginx):
    with start_nginx(free_port()) as nginx, nginx.client() as client:
        response = client.get(f"{client.url}/books/", timeout=TIMEOUT)

    assert response.status_code == 502
    assert response.headers["Retry-After"] == "1"
    assert_problem(502, response.headers, response.content)


def test_a_forged_address_does_not_make_another_client(client):
    statuses = [
        client.post(
            f"{client.url}/auth/login",
            json={"email": f"{number}@example.com", "password": "x"},
            headers={"X-Forwarded-For": f"192.0.2.{number}", "X-Real-IP": f"192.0.2.{number}"},
            timeout=TIMEOUT,
        ).status_code
        for number in range(11)
    ]

    assert statuses == [401] * 10 + [429]  # LOGIN_LIMIT is 10 per minute


def test_a_forged_address_is_not_logged(client, gunicorn):
    response = client.post(
        f"{client.url}/auth/login",
        json=LOGIN,
        headers={"X-Forwarded-For": "192.0.2.1"},
        timeout=TIMEOUT,
    )

    request_id = response.headers["X-Request-ID"]
    lines = [line for line in gunicorn.log.read_text().splitlines() if request_id in line]
    assert {json.loads(line)["address"] for line in lines if "address" in line} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Protocol", "ssl"),
        ("X-Forwarded-Ssl", "off"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Prefix", "/evil"),
        ("Script-Name", "/evil"),
        ("SCRIPT_NAME", "/evil"),
        ("Forwarded", "for=192.0.2.1;host=evil.example"),
    ],
)
def test_what_a_client_says_of_itself_changes_nothing(client, alice, name, value):
    client.use(alice.access_token)

    response = client.call("POST", "/books/", 201, json=LONG_BOOK, headers={name: value})

    assert response.headers["Location"].startswith(f"https://{NAME}{PREFIX}/books/")


def test_gunicorn_is_told_what_nginx_knows_and_nothing_else(start_nginx):
    forged = dict.fromkeys(("X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID"), "forged")
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(TIMEOUT)
        with start_nginx(upstream.getsockname()[1]) as nginx, connect(nginx) as connection:
            connection.sendall(get("/", *(f"{name}: {forged[name]}" for name in forged)))
            accepted, _ = upstream.accept()
            with accepted:
                lines = accepted.recv(65536).decode().split("\r\n")

    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
    assert re.fullmatch("[0-9a-f]{32}", fields.pop("X-Request-ID"))
    assert fields == {
        "Host": NAME,
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": NAME,
    }


def test_the_request_id_of_nginxs_log_is_the_answers(client, alice, nginx, certificate):
    client.use(alice.access_token)

    response = client.call("GET", "/books/?q=secret", 200)

    log = certificate.parent / f"nginx-{nginx.port}" / "books-api.log"
    wait_until(lambda: response.headers["X-Request-ID"] in log.read_text())
    assert "secret" not in log.read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (line,) = [line for line in lines if line["request_id"] == response.headers["X-Request-ID"]]
    assert (line["path"], line["status"]) == (f"{PREFIX}/books/", 200)


def test_a_books_etag_survives_compression(client, alice):
    client.use(alice.access_token)
    path = f"/books/{client.call('POST', '/books/', 201, json=LONG_BOOK).json()['id']}"

    read = client.call("GET", path, 200)

    etag = read.headers["ETag"]
    assert (read.headers["Content-Encoding"], etag[:2]) == ("gzip", "W/")
    client.call("GET", path, 304, headers={"If-None-Match": etag})
    client.call("PATCH", path, 200, json={"title": "Momo!"}, headers={"If-Match": etag})
    client.call("PATCH", path, 412, json={"title": "Momo?"}, headers={"If-Match": etag})


def test_a_list_is_compressed(client, alice):
    client.use(alice.access_token)
    client.call("POST", "/books/", 201, json=LONG_BOOK)

    response = client.call("GET", "/books/", 200)

    assert response.headers["Content-Encoding"] == "gzip"


def test_answers_with_tokens_are_not_compressed(client, make_user):
    account = make_user(username="ada")

    response = client.call(
        "POST", "/auth/login", 200, json={"email": account.email, "password": PASSWORD}
    )

    assert len(response.content) > 1000
    assert "Content-Encoding" not in response.headers


def test_connections_to_gunicorn_are_kept(client, alice, gunicorn):
    client.use(alice.access_token)
    before = len(gunicorn.access_log.read_text().splitlines())

    for _ in range(100):
        client.call("GET", "/books/", 200)

    wait_until(lambda: len(gunicorn.access_log.read_text().splitlines()) >= before + 100)
    lines = gunicorn.access_log.read_text().splitlines()[before:]
    ports = {line.split()[0] for line in lines}
    assert len(lines) == 100
    assert len(ports) <= 4  # each process of nginx keeps its own


def test_nginx_lets_go_of_an_idle_connection_before_gunicorn_does():
    (seconds,) = re.findall(r"(?m)^    keepalive_timeout (\d+)s;", SHIPPED.read_text())

    assert int(seconds) < gunicorn_config()["keepalive"]


class SlowClients:
    """Connections that send a byte a second each, half of them of a header, half of a body."""

    def __init__(self, nginx: Nginx, account: Account, number: int) -> None:
        self.stack = ExitStack()
        self.headers, self.bodies = [], []
        for index in range(number):
            source = "127.0.0.3" if index % 2 else "127.0.0.2"  # of 127.0.0.0/8, all ours
            connection = self.stack.enter_context(closing(connect(nginx, source=source)))
            (self.bodies if index % 2 else self.headers).append(connection)
            head = f"POST {PREFIX}/books/ HTTP/1.1\r\nHost: {NAME}\r\n"
            head += f"Authorization: Bearer {account.access_token}\r\n"  # or 401, without the body
            if index % 2:
                head += "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
            connection.sendall(head.encode())
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._trickle)
        self.thread.start()

    def _trickle(self) -> None:
        while not self.stop.wait(1):
            for connection in (*self.headers, *self.bodies):
                with suppress(OSError):
                    connection.sendall(b"a")

    def close(self) -> None:
        self.stop.set()
        self.thread.join(TIMEOUT)
        self.stack.close()


@pytest.fixture
def slow_clients(nginx: Nginx, alice: Account) -> Iterator[SlowClients]:
    with closing(SlowClients(nginx, alice, 200)) as clients:
        yield clients


def test_200_slow_clients_do_not_stop_the_others(client, alice, slow_clients):
    client.use(alice.access_token)
    seconds = []
    for _ in range(50):
        begin = time.monotonic()
        client.call("GET", "/books/", 200, headers={"Connection": "close"})
        seconds.append(time.monotonic() - begin)

    assert sorted(seconds)[25] < 0.5
    assert max(seconds) < 5  # the slow ones take longer than any of these bounds


def test_a_header_that_does_not_end_is_cut_off(slow_clients):
    connection = slow_clients.headers[0]
    connection.settimeout(15)  # client_header_timeout is 10 s

    with suppress(ConnectionResetError, ssl.SSLError):
        assert connection.recv(1) == b""


def test_1700_half_sent_headers_of_one_address_do_not_stop_the_others(client, alice, nginx):
    client.use(alice.access_token)
    with ExitStack() as stack:
        for _ in range(1_700):
            connection = socket.create_connection(
                ("127.0.0.1", nginx.plain_port), TIMEOUT, ("127.0.0.2", 0)
            )
            stack.enter_context(closing(connection))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        begin = time.monotonic()
        client.call("GET", "/books/", 200, headers={"Connection": "close"})

    assert time.monotonic() - begin < 2  # client_header_timeout is 10 s


CONNECTIONS = """
import contextlib, socket
server = socket.create_server(("0.0.0.0", 443), backlog=1000)
for source, number in (("127.0.0.2", 110), ("127.0.0.3", 1)):
    with contextlib.ExitStack() as stack:
        made = 0
        for _ in range(number):
            with contextlib.suppress(ConnectionRefusedError):
                stack.enter_context(socket.create_connection(("127.0.0.1", 443), 5, (source, 0)))
                made += 1
        print(made)
"""


def test_the_kernel_bounds_the_connections_of_one_address():
    if geteuid() != 0 or not (shutil.which("nft") and shutil.which("unshare")):
        pytest.skip("nftables in a network of its own needs root, nft and unshare")
    script = 'ip link set lo up; nft -f deploy/nftables.conf; exec $0 -c "$1"'
    command = ["unshare", "--net", "sh", "-ec", script, sys.executable, CONNECTIONS]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout.split() == ["100", "1"]


def test_an_upload_that_is_cut_off_never_reaches_the_application(client, alice, nginx, gunicorn):
    asked = gunicorn.access_log.read_text()
    with connect(nginx) as connection:
        head = f"POST {PREFIX}/books/ HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"a" * 500)
        time.sleep(0.5)  # what does not wait for the rest has passed it on by now
    client.use(alice.access_token)
    client.call("GET", "/books/", 200)

    wait_until(lambda: gunicorn.access_log.read_text() != asked)
    new = gunicorn.access_log.read_text().removeprefix(asked)
    assert [line.split()[1] for line in new.splitlines()] == ["200"]


@pytest.fixture
def long_exports(app: Flask, alice: Account, bob: Account) -> list[bytes]:
    """Four requests of two users, who may export twice at once, for exports of 80 MB.

    That is more than sockets and small buffers take.
    """
    with app.app_context():
        allow_long(db.session.connection())
        db.session.execute(text("ALTER TABLE books DISABLE TRIGGER USER"))
        insert = """
            INSERT INTO books (id, title, author, publisher, user_uid)
            SELECT gen_random_uuid(), 'Momo', repeat(chr(1), 1000), repeat(chr(1), 500), :user
            FROM generate_series(1, 9000)"""  # each of these characters is 6 bytes of JSON
        db.session.execute(text(insert), {"user": alice.id})
        db.session.execute(text("ALTER TABLE books ENABLE TRIGGER USER"))
        db.session.commit()
    path = f"{PREFIX}/books/export?format=ndjson&user_uid={alice.id}"
    tokens = [account.access_token for account in (alice, bob)] * 2
    return [get(path, f"Authorization: Bearer {token}") for token in tokens]


def test_who_reads_an_export_slowly_holds_no_thread(nginx, gunicorn, long_exports):
    asked = gunicorn.access_log.read_text()
    with ExitStack() as stack:
        for request in long_exports:
            connection = stack.enter_context(connect(nginx))
            connection.sendall(request)
            connection.recv(1)
        status, headers, body = exchange(nginx, long_exports[0])

        def served() -> list[str]:
            lines = gunicorn.access_log.read_text().removeprefix(asked).splitlines()
            return [line.split()[1] for line in lines]

        wait_until(lambda: served() == ["200"] * 4)  # by gunicorn; nginx has most of it

    assert status == 429
    assert_problem(429, headers, body)


def statuses_of_logins(nginx: Nginx, addresses: list[str]) -> list[int]:
    with nginx.client() as client:
        return [
            client.post(
                f"{client.url}/auth/login",
                json=LOGIN,
                headers={"X-Test-Address": address},
                timeout=TIMEOUT,
            ).status_code
            for address in addresses
        ]


# For these the address is the test's word; without an upstream, what is let through is a 502.
ADDRESS = "set_real_ip_from 127.0.0.1; real_ip_header X-Test-Address;"


@pytest.mark.parametrize(
    "addresses",
    [["192.0.2.1"] * 40, [f"2001:db8:0:a::{number:x}" for number in range(40)]],
    ids=["IPv4", "IPv6 /64"],
)
def test_a_flood_of_logins_is_cut_off_by_nginx(start_nginx, addresses):
    with start_nginx(free_port(), ADDRESS) as nginx:
        statuses = statuses_of_logins(nginx, addresses)

    assert statuses[:21] == [502] * 21
    assert statuses.count(429) > 10


@pytest.mark.parametrize(
    "addresses",
    [[f"192.0.2.{number}" for number in range(40)], [f"2001:db8:0:{n:x}::1" for n in range(40)]],
    ids=["IPv4", "IPv6"],
)
def test_logins_of_many_clients_are_let_through(start_nginx, addresses):
    with start_nginx(free_port(), ADDRESS) as nginx:
        statuses = statuses_of_logins(nginx, addresses)

    assert set(statuses) == {502}


@pytest.mark.parametrize("path", ["login", "login/", "signup", "password-reset", "%6cogin"])
def test_each_address_that_hashes_a_password_is_limited(start_nginx, path):
    with start_nginx(free_port()) as nginx:
        answers = [exchange(nginx, get(f"{PREFIX}/auth/{path}")) for _ in range(60)]

    refused = [answer for answer in answers if answer[0] == 429]
    assert len(refused) > 20  # each second lets one in
    _, headers, body = refused[-1]
    assert headers["retry-after"] == "1"
    assert_problem(429, headers, body)


def test_other_addresses_are_not_limited(start_nginx):
    with start_nginx(free_port()) as nginx, nginx.client() as client:
        statuses = {
            client.get(f"{client.url}/auth/me", timeout=TIMEOUT).status_code for _ in range(40)
        }

    assert statuses == {502}


@pytest.mark.parametrize("path", ["/", "/?a=b", "/docs", "/docs?a=b", "/docs/start.js"])
def test_people_are_led_from_plain_http_to_https(nginx, path):
    response = requests.get(
        f"http://127.0.0.1:{nginx.plain_port}{path}", allow_redirects=False, timeout=TIMEOUT
    )

    assert response.status_code == 308
    assert response.headers["Location"] == f"https://{NAME}{path}"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/api/v1.0.0/auth/login", "/API", "/api", "/healthz", "/docsx"])
def test_a_program_that_uses_plain_http_learns_of_it(nginx, method, path):
    response = requests.request(
        method, f"http://127.0.0.1:{nginx.plain_port}{path}", json=LOGIN, timeout=TIMEOUT
    )

    assert response.history == []
    problem = assert_problem(403, response.headers, response.content)
    assert "https://" in problem["detail"]
    assert problem["instance"] == path


def test_plain_http_on_the_port_of_https_is_a_problem(nginx):
    response = requests.get(f"http://127.0.0.1:{nginx.port}/", timeout=TIMEOUT)

    assert response.status_code == 400


def test_another_name_gets_no_handshake(nginx):
    with (
        socket.create_connection(("127.0.0.1", nginx.port), TIMEOUT) as plain,
        pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"),
    ):
        nginx.tls().wrap_socket(plain, server_hostname="other.example")


def test_another_host_gets_no_answer(nginx):
    with connect(nginx) as connection:
        connection.sendall(get("/healthz").replace(NAME.encode(), b"other.example"))

        assert connection.recv(1) == b""


def test_a_cipher_without_authentication_of_each_record_is_refused(nginx):
    context = nginx.tls()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AES:!AESGCM:!AESCCM")
    with (
        socket.create_connection(("127.0.0.1", nginx.port), TIMEOUT) as plain,
        pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"),
    ):
        context.wrap_socket(plain, server_hostname=NAME)


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_every_answer_asks_for_https_and_hides_the_version(nginx, path):
    _, headers, _ = exchange(nginx, get(path))

    assert headers["strict-transport-security"] == "max-age=31536000"
    assert not re.search(r"\d", headers["server"])


@pytest.fixture
def dropping(start_nginx: Any) -> Iterator[tuple[Nginx, list[str]]]:
    """nginx in front of two hosts that drop what they have read; the lines that they read."""
    seen: list[str] = []

    def drop(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                with server.accept()[0] as connection:
                    seen.append(connection.recv(65536).decode().partition("\r\n")[0])

    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        for server in servers:
            threading.Thread(target=drop, args=(server,), daemon=True).start()
            stack.callback(server.shutdown, socket.SHUT_RDWR)
        first, second = (server.getsockname()[1] for server in servers)
        yield stack.enter_context(start_nginx(f"{first}; server 127.0.0.1:{second}")), seen


@pytest.mark.parametrize(
    ("method", "header", "times"),
    [
        ("GET", {}, 2),
        ("DELETE", {}, 2),
        ("POST", {}, 1),
        ("POST", {"If-Match": '"1"'}, 1),
        ("POST", {"Idempotency-Key": "k"}, 2),
        ("PATCH", {}, 1),
        ("PATCH", {"Idempotency-Key": "a b"}, 1),
        ("PATCH", {"If-Match": '"1"'}, 2),
    ],
)
def test_only_what_may_be_repeated_is_sent_to_another_host(
    dropping: tuple[Nginx, list[str]], method: str, header: dict[str, str], times: int
) -> None:
    nginx, seen = dropping
    with nginx.client() as client:
        answer = client.request(method, f"{client.url}/books/", json={}, headers=header)

    assert seen == [f"{method} {PREFIX}/books/ HTTP/1.1"] * times
    assert (answer.status_code, answer.json()["type"]) == (502, "/problems/unavailable")
