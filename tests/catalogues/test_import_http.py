"""POST /books/import."""

import gzip
import io
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import requests
from sqlalchemy import text

from books_api import PREFIX
from books_api.database import autocommit
from books_api.extensions import db
from tests.helpers import locked, together, within
from tests.processes import ROOT, running_gunicorn

pytestmark = pytest.mark.long

IMPORT = f"{PREFIX}/books/import"
CSV = "title,author,page_count\n"
MOMO = CSV + "Momo,Michael Ende,304\n"
MOMO_JSON = '{"title": "Momo", "author": "Michael Ende"}\n'
DEFECTS = ROOT / "tests" / "data" / "defects.csv"


@pytest.fixture
def send(client, alice):
    def send(body=MOMO, content_type="text/csv", account=alice, key=None, coding=None, **query):
        headers = {**account.headers, **({"Idempotency-Key": key} if key else {})}
        headers |= {"Content-Encoding": coding} if coding else {}
        return client.post(
            IMPORT, data=body, content_type=content_type, headers=headers, query_string=query
        )

    return send


# The answer


OUTCOME = {"line": 2, "outcome": "imported", "id": None, "reason": "", "notes": []}
THERE = {"line": 3, "outcome": "already there", "reason": "You have this book."}
REJECTED = {"line": 4, "outcome": "rejected", "reason": "author: Must not be empty."}


def test_the_answer_has_the_counts_and_what_was_recognised(send, stored):
    report = send(MOMO + MOMO.splitlines()[1] + "\nJim,,5\n").json

    assert report == {
        "dry_run": False,
        "recognised": "CSV, comma, UTF-8; title from 'title', author from 'author',"
        " page_count from 'page_count'",
        "read": 3,
        "imported": 1,
        "updated": 0,
        "already_there": 1,
        "rejected": 1,
        "repairs": {},
        "records": [
            {**OUTCOME, "id": str(stored("id")[0])},
            {**OUTCOME, **THERE, "id": str(stored("id")[0])},
            {**OUTCOME, **REJECTED},
        ],
        "records_not_listed": 0,
    }


def test_defects_are_reported_by_line(send):
    report = send(DEFECTS.read_bytes()).json

    assert (report["read"], report["imported"], report["rejected"]) == (36, 32, 4)
    lines = [found["line"] for found in report["records"] if found["outcome"] == "rejected"]
    assert lines == [18, 21, 25, 29]
    notes = [found["notes"] for found in report["records"] if found["line"] == 27]
    assert notes == [["published_date: '11/31/2000' is not a date that exists."]]
    assert report["repairs"]["published_date that cannot be read left out"] == 2
    assert report["repairs"]["page count 0 taken as unknown"] == 5


def test_of_very_many_bad_records_the_first_1000_are_listed(send):
    rows = "".join(f"Book {number},{'Ende' if number % 2 else ''},5\n" for number in range(5_000))

    report = send(CSV + 2 * rows).json

    assert [record["line"] for record in report["records"]] == [*range(2, 2_002, 2)]
    counts = [report[name] for name in ("imported", "already_there", "rejected")]
    assert (counts, report["records_not_listed"]) == ([2_500, 2_500, 5_000], 9_000)


def test_the_report_of_200_000_bad_records_is_small(send):
    response = send(MOMO_JSON + "{}\n" * 199_999, "application/x-ndjson")

    assert response.json["rejected"] == 199_999
    assert len(response.data) < 200_000


def test_a_file_is_given_up_when_its_first_10_000_records_are_no_books(send):
    response = send("{}\n" * 200_000, "application/x-ndjson")

    assert response.status_code == 422
    assert response.json["detail"] == (
        "None of the first 10,000 records is a book."
        " Line 10,000: title: Is required. author: Is required."
    )


def test_a_file_is_given_up_without_repeating_a_cell_of_any_length(send):
    number = f'{{"title": "Momo", "author": "{"9" * 100_000}"}}\n'

    response = send("{}\n" * 9_999 + number, "application/x-ndjson")

    assert response.status_code == 422
    assert len(response.data) < 1_500


def test_a_small_file_without_a_book_is_reported(send):
    response = send("{}\n" * 9_999, "application/x-ndjson")

    assert (response.status_code, response.json["rejected"]) == (200, 9_999)


def test_a_reason_does_not_repeat_a_cell_of_any_length(send):
    response = send(f"title,author\nMomo,{'9' * 100_000}\n")

    assert response.json["rejected"] == 1
    assert len(response.data) < 1_000


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/jsonl"])
def test_json_lines_are_taken(send, stored, content_type):
    response = send(MOMO_JSON, content_type)

    assert (response.status_code, stored("title")) == (200, ["Momo"])


TSV = MOMO.replace(",", "\t")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (TSV, "text/tab-separated-values"),
        (MOMO.replace(",", ";"), "application/vnd.ms-excel"),
        (MOMO_JSON, "application/octet-stream"),
        (MOMO_JSON, "application/json"),
    ],
)
def test_the_format_of_other_media_types_is_recognised(send, stored, body, content_type):
    assert send(body, content_type).status_code == 200
    assert stored("title") == ["Momo"]


@pytest.mark.parametrize("content_type", ["text/csv", "application/x-unknown"])
def test_a_form_brings_a_file(send, stored, content_type):
    form = {"file": (io.BytesIO(MOMO.encode()), "books.csv", content_type)}

    assert send(form, "multipart/form-data").status_code == 200
    assert stored("title") == ["Momo"]


def test_a_form_sent_again_may_have_another_boundary(send, stored):
    def form(boundary):
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="b"'
        return f"{part}\r\nContent-Type: text/csv\r\n\r\n{MOMO}\r\n--{boundary}--\r\n"

    for boundary in "ab":
        response = send(form(boundary), f"multipart/form-data; boundary={boundary}", key="k")
        assert response.status_code == 200

    assert len(stored("id")) == 1


FILE = 'Content-Disposition: form-data; name="file"; filename="b"\r\n\r\ntitle,author\nMomo,Ende'


@pytest.mark.parametrize(
    ("parts", "boundary"),
    [
        ([], "x"),
        ([FILE, FILE], "x"),
        ([FILE, 'Content-Disposition: form-data; name="strict"\r\n\r\ntrue'], "x"),
        ([FILE], "y"),
        ([FILE], ""),
        (["\r\n\r\nx"], "x"),
        (["Content-Disposition: \udcff\r\n\r\nx"], "x"),
        ([f"X: {'x; a=' * 100_000}\r\n{FILE}", FILE], "x"),
        ([f"X: {'x' * 2_000_000}\r\n{FILE}"], "x"),
        ([FILE] * 1_000, "x"),
    ],
    ids=[
        *("empty", "two files", "a field", "another boundary", "no boundary", "no header"),
        *("no text", "long header", "longer header", "very many"),
    ],
)
def test_a_form_without_one_file_is_refused(send, stored, parts, boundary):
    body = "".join(f"--x\r\n{part}\r\n" for part in parts) + "--x--\r\n"

    with within(2):
        response = send(
            body.encode(errors="surrogateescape"), f"multipart/form-data; boundary={boundary}"
        )

    assert (response.status_code in (400, 413), stored("id")) == (True, [])
    assert response.mimetype == "application/problem+json"


def test_a_form_that_is_cut_off_is_400(send, stored):
    response = send(f"--x\r\n{FILE}\r\n", "multipart/form-data; boundary=x")

    assert (response.status_code, stored("id")) == (400, [])


@pytest.mark.parametrize("coding", ["gzip", "GZIP"])
def test_a_body_may_have_gzip(send, stored, coding):
    body = gzip.compress(MOMO[:20].encode()) + gzip.compress(MOMO[20:].encode())

    response = send(body, coding=coding)

    assert (response.status_code, stored("title")) == (200, ["Momo"])


@pytest.mark.parametrize(
    ("make", "status"),  # not made by every run that collects this file: half a second
    [
        (lambda: b"", 400),
        (lambda: gzip.compress(b""), 422),
        (lambda: gzip.compress(b"") * 100_000, 400),
        (lambda: MOMO.encode(), 400),
        (lambda: gzip.compress(MOMO.encode())[:-9], 400),
        (lambda: gzip.compress(MOMO.encode()) + b"x", 400),
        (lambda: gzip.compress(b"\n" * (16 * 1024**2 + 1)), 413),
        (lambda: gzip.compress(b"\0" * 256 * 1024**2), 413),
    ],
    ids=["nothing", "empty", "members", "none", "cut off", "more", "long", "bomb"],
)
def test_a_body_that_gzip_cannot_read_or_that_is_too_long_is_refused(send, stored, make, status):
    body = make()

    with within(2):
        response = send(body, coding="gzip")

    assert (response.status_code, stored("id")) == (status, [])


@pytest.mark.parametrize("coding", ["br", "gzip, gzip"])
def test_another_coding_is_415_and_named(send, coding):
    response = send(coding=coding)

    assert (response.status_code, response.headers["Accept-Encoding"]) == (415, "gzip, identity")


def test_columns_can_be_mapped(send, stored):
    body = 'Titel,"Autor, zuerst"\nMomo,Ende\n'

    response = send(body, map="title=Titel,author=Autor, zuerst")

    assert (response.status_code, stored("title", "author")) == (200, [("Momo", "Ende")])


@pytest.mark.parametrize("mapping", ["title", "title=a,title=b", "=a", "x=a", "title=a,author=a"])
def test_a_wrong_mapping_is_422(send, mapping):
    assert send("a,b,author\n1,2,3\n", map=mapping).status_code == 422


def test_the_encoding_can_be_named(send, stored):
    send("title,author\nŽlutý kůň,Čapek\n".encode("cp1250"), encoding="cp1250")

    assert stored("title", "author") == [("Žlutý kůň", "Čapek")]


def test_strict_rejects_what_is_left_out_otherwise(send):
    body = "title,author,page_count\nMomo,Ende,many\n"

    assert send(body, dry_run="true").json["imported"] == 1
    assert send(body, strict="true").json["rejected"] == 1


def test_the_books_are_the_callers(send, bob, stored):
    send(account=bob)

    assert [str(owner) for owner in stored("user_uid")] == [bob.id]


def test_a_dry_run_changes_nothing(send, stored):
    report = send(dry_run="true").json

    assert (report["dry_run"], report["imported"], stored("id")) == (True, 1, [])


def test_duplicates_are_imported_when_asked_for(send, stored):
    send()

    send(duplicates="true")

    assert len(stored("id")) == 2


# Refused


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", "multipart/mixed", ""])
def test_another_media_type_is_415(send, content_type):
    assert send(content_type=content_type).status_code == 415


@pytest.mark.parametrize(
    "body",
    [b"", "a,b\n1,2\n", gzip.compress(MOMO.encode())],
    ids=["empty", "unknown columns", "gzip"],
)
def test_a_body_that_cannot_be_read_is_422(send, stored, body):
    response = send(body)

    assert (response.status_code, stored("id")) == (422, [])
    assert response.mimetype == "application/problem+json"


# `mapping` is the name of `map` in Python.
@pytest.mark.parametrize(
    "query", [{"dry_run": "yes"}, {"format": "csv"}, {"mapping": "title=title"}], ids=str
)
def test_a_wrong_parameter_is_422(send, query):
    assert send(**query).status_code == 422


def test_what_is_unreadable_far_behind_imports_nothing(send, stored):
    many = "".join(f"Book {number},Somebody,5\n" for number in range(2500))

    response = send(CSV + many + "x" * 1_100_000)

    assert (response.status_code, stored("id")) == (422, [])


@pytest.mark.parametrize(("size", "status"), [(16 * 1024**2, 200), (16 * 1024**2 + 1, 413)])
def test_a_body_has_at_most_16_mib(send, size, status):
    line = MOMO.splitlines()[1]
    body = (CSV + f"{line},{'x' * 99_000}\n" * (size // 99_000)).encode()[:size].ljust(size, b"\n")

    assert send(body).status_code == status


def test_more_records_than_can_be_answered_are_422(send):
    response = send(MOMO_JSON + "{}\n" * 200_000, "application/x-ndjson")

    assert response.status_code == 422
    assert "More than 200,000 records" in response.json["detail"]


@pytest.mark.parametrize("line", ["\n", "\r", '"\n', "\r\n"], ids=repr)
def test_a_million_lines_of_no_record_are_read_by_nobody(send, line):
    response = send(MOMO + line * 1_000_001)

    assert response.status_code == 422
    assert response.json["detail"] == "More than 1,000,000 lines; send fewer at once."


# Sent again


def test_a_body_sent_again_with_its_key_has_the_first_answer(send, stored):
    first = send(key="k")

    again = send(key="k")

    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    assert len(stored("id")) == 1


@pytest.mark.parametrize(
    "other",
    [{"body": MOMO + "Jim,Ende,5\n"}, {"duplicates": "true"}],
    ids=["body", "query"],
)
def test_a_key_with_another_request_is_422(send, stored, other):
    send(key="k")

    response = send(key="k", **other)

    assert (response.status_code, len(stored("id"))) == (422, 1)


def test_a_dry_run_does_not_use_the_key(send, stored):
    send(key="k", dry_run="true")

    assert (send(key="k").status_code, len(stored("id"))) == (200, 1)


def test_a_request_while_the_first_is_running_is_409(app, servers, alice, send, stored):
    def post():
        headers = {**alice.headers, "Idempotency-Key": "k"}
        options = {"data": MOMO, "content_type": "text/csv", "headers": headers}
        return app.test_client().post(IMPORT, **options)

    lock = "LOCK TABLE books IN EXCLUSIVE MODE"
    with ThreadPoolExecutor(1) as pool, locked(servers, lock) as held:
        first = pool.submit(post)
        held.wait_for(1)
        second = send(key="k")
        held.release()

    assert (first.result().status_code, second.status_code) == (200, 409)
    assert len(stored("id")) == 1


def test_imports_at_once_make_no_duplicates(app, alice, stored):
    body = CSV + "".join(f"Book {number},Somebody,5\n" for number in range(200))

    def post():
        options = {"data": body, "content_type": "text/csv", "headers": alice.headers}
        return app.test_client().post(IMPORT, **options).status_code

    statuses = set(together(*[post] * 4))

    assert statuses <= {200, 409}
    assert len(stored("id")) == 200


def test_postgres_gone_in_the_middle_is_503(app, alice, send, stored):
    """The connection is ended while COPY's successor waits for a lock."""

    def end():
        with app.app_context(), autocommit() as connection:
            ended = text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock'"
            )
            while not connection.execute(ended).all():
                time.sleep(0.01)

    with ThreadPoolExecutor(1) as pool, app.app_context(), db.engine.connect() as connection:
        connection.execute(text("LOCK TABLE books IN EXCLUSIVE MODE"))
        pool.submit(end)
        response = send()
        connection.rollback()

    assert (response.status_code, stored("id")) == (503, [])


# Cut off


@pytest.fixture(scope="module")
def gunicorn(migrated_app, settings, folder):
    with running_gunicorn(folder, settings, WEB_CONCURRENCY="1") as gunicorn:
        yield gunicorn


def post(port, account, rest, path="books/import", content_type="text/csv"):
    """Send a request and close the sending side; return the answer's status line."""
    head = (
        f"POST {PREFIX}/{path} HTTP/1.1\r\nHost: test\r\nContent-Type: {content_type}\r\n"
        f"Authorization: Bearer {account.access_token}\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall((head + rest).encode())
        with suppress(OSError):  # answered already, and closed
            connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").readline()


def test_a_request_that_is_cut_off_imports_nothing(gunicorn, alice, stored):
    chunk = f"Transfer-Encoding: chunked\r\n\r\n{len(MOMO):x}\r\n{MOMO}\r\n"
    for rest in (
        f"Content-Length: {len(MOMO) + 9}\r\n\r\n{MOMO}",
        chunk,
        f"{chunk}{len(MOMO) + 9:x}\r\n{MOMO}",
    ):
        assert b" 200 " not in post(gunicorn.port, alice, rest)

    assert stored("id") == []


@pytest.mark.parametrize(
    ("path", "content_type", "most"),
    [
        ("books/import", "text/csv", 2**20),
        ("books/", "application/json", 2**20),
        ("auth/sessions", "application/json", 2**14),
    ],
)
def test_a_body_whose_chunks_are_none_is_400_and_no_error(
    gunicorn, alice, path, content_type, most
):
    full = f"{most:x}\r\n{' ' * most}\r\n"  # a chunk as long as a body may be
    for body in (
        "zz\r\n",
        "-5\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcdeXX",
        "5\r\nabcde",
        "5;=\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcde\r\n0\r\nX : y\r\n\r\n",
        "5\r\nabcde\r\n0\r\n",
        "5\r\nab",
        "",
        f"{full}zz\r\n",
        f"{full}5\r\nab",
    ):
        rest = f"Transfer-Encoding: chunked\r\n\r\n{body}"
        status = post(gunicorn.port, alice, rest, path, content_type)
        assert b" 400 " in status, (body[:40], status)

    assert gunicorn.errors() == []


def test_a_chunked_body_has_at_most_16_mib(gunicorn, alice, stored):
    size = 17 * 1024**2
    body = (MOMO + f"Momo,Ende,{'5' * 99_980}\n" * 180)[:size]

    response = requests.post(
        gunicorn.url + IMPORT,
        data=iter([body.encode()]),
        headers={**alice.headers, "Content-Type": "text/csv"},
        timeout=20,
    )

    assert (response.status_code, stored("id")) == (413, [])


def test_a_chunked_request_is_taken(gunicorn, alice, stored):
    response = requests.post(
        gunicorn.url + IMPORT,
        data=iter([MOMO.encode()[:9], MOMO.encode()[9:]]),
        headers={**alice.headers, "Content-Type": "text/csv"},
        timeout=20,
    )

    assert (response.status_code, stored("title")) == (200, ["Momo"])
