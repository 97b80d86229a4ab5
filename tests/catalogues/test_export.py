"""Export: at the command line, and GET /books/export."""

import csv
import io
import json
import os
import re

import pytest

from books_api import PREFIX
from books_api.books import lists
from books_api.books.models import FIELDS
from books_api.catalogues.exporter import EXPORTS_MAX

pytestmark = pytest.mark.long

EXPORT = f"{PREFIX}/books/export"
COLUMNS = ["id", *FIELDS]


@pytest.fixture
def get(client, alice):
    def get(account=alice, **query):
        return client.get(EXPORT, query_string=query, headers=account.headers)

    return get


def titles(response):
    return [row["title"] for row in csv.DictReader(response.text.splitlines())]


def test_csv_is_the_default(get, alice, make_book):
    book = make_book(alice, title='The "Hobbit", again', page_count=310)

    response = get()

    assert (response.status_code, response.mimetype) == (200, "text/csv")
    assert response.text.splitlines() == [
        ",".join(COLUMNS),
        f'{book["id"]},"The ""Hobbit"", again",J. R. R. Tolkien,,,310,,',
    ]


@pytest.mark.parametrize("format_", ["ndjson", "jsonl"])
def test_ndjson_has_every_member_of_each_book(get, alice, make_book, format_):
    book = make_book(alice, published_date="1937", isbn="9780261102217")

    response = get(format=format_)

    assert response.mimetype == "application/x-ndjson"
    assert json.loads(response.data) == book


@pytest.mark.parametrize(
    ("accepted", "media_type", "begins"),
    [
        ("application/x-ndjson", "application/x-ndjson", '{"id":'),
        ("text/csv, application/jsonl;q=0.5", "text/csv", "id,"),
        ("application/json;q=0.9, application/jsonl;q=0.5", "application/x-ndjson", '{"id":'),
        ("application/vnd.ms-excel", "text/csv", "\ufeffid,"),
        ("*/*", "text/csv", "id,"),
        ("image/png", "text/csv", "id,"),
    ],
)
def test_without_a_format_the_accept_header_chooses(
    client, alice, make_book, accepted, media_type, begins
):
    make_book(alice)

    response = client.get(EXPORT, headers={**alice.headers, "Accept": accepted})

    assert (response.mimetype, response.headers["Vary"]) == (media_type, "Accept")
    assert response.data.decode().startswith(begins)


def test_the_format_goes_before_the_accept_header(client, alice):
    headers = {**alice.headers, "Accept": "application/x-ndjson"}

    assert client.get(f"{EXPORT}?format=csv", headers=headers).mimetype == "text/csv"


FORMULAS = ["=1+1", "+1", "-1", "@a", "'=1", "''=1", "'a", "1984-06-08", "1984", "＝1", "a=1"]  # noqa: RUF001


def test_a_spreadsheet_finds_neither_formulas_nor_what_it_rewrites(get, alice, make_book):
    for title in FORMULAS:
        make_book(alice, title=title, published_date="1937-09", isbn="9780261102217")

    response = get(format="excel")

    text = response.data.decode("utf-8-sig")
    cells = [cell for row in csv.reader(text.splitlines()[1:]) for cell in row]
    assert response.data[:3] == b"\xef\xbb\xbf"
    assert not [cell for cell in cells if re.match("[=+@＝-]|1937-|97802", cell)]  # noqa: RUF001


@pytest.mark.parametrize("format_", ["csv", "ndjson", "excel"])
def test_an_export_comes_back_as_it_was(client, get, alice, bob, make_book, format_):
    for title in FORMULAS:
        make_book(alice, title=title, published_date="1937-09", isbn="9780261102217")
    media_type = "application/x-ndjson" if format_ == "ndjson" else "text/csv"

    client.post(
        f"{PREFIX}/books/import?on_duplicate=add",
        data=get(format=format_).data,
        headers=bob.headers,
        content_type=media_type,
    )

    rows = [list(csv.reader(io.StringIO(get(owner).text))) for owner in (alice, bob)]
    assert [row[1:] for row in rows[0]] == [row[1:] for row in rows[1]]


@pytest.mark.parametrize(
    ("format_", "name"),
    [("csv", "books.csv"), ("excel", "books.csv"), ("ndjson", "books.jsonl")],
)
def test_the_answer_names_a_file(get, format_, name):
    header = get(format=format_).headers["Content-Disposition"]

    assert header == f'attachment; filename="{name}"'


def test_ones_own_books_are_exported_oldest_first(get, alice, bob, make_book):
    for owner, title in [(alice, "B"), (bob, "X"), (alice, "A")]:
        make_book(owner, title=title)

    assert titles(get()) == ["B", "A"]


def test_another_users_books_are_exported_when_asked_for(get, bob, make_book):
    make_book(bob, title="X")

    assert titles(get(user_uid=bob.id)) == ["X"]


def test_without_books_there_is_a_header_only(get):
    assert get().text == ",".join(COLUMNS) + "\r\n"


@pytest.mark.parametrize(
    "filters",
    [
        *({"q": "momo"}, {"author": "ende"}, {"publisher": "Thienemann"}, {"language": "DE"}),
        *({"isbn": "3-522-11940-1"}, {"published_from": "1970", "published_to": "1973"}),
    ],
    ids=lambda filters: next(iter(filters)),
)
def test_the_filters_of_the_list_hold(get, alice, make_book, filters):
    make_book(alice)
    make_book(
        alice,
        title="Momo",
        author="Michael Ende",
        publisher="Thienemann",
        language="de",
        published_date="1973",
        isbn="9783522119405",
    )

    assert titles(get(**filters)) == ["Momo"]


@pytest.mark.parametrize(
    "query",
    [{"format": "xml"}, {"limit": "5"}, {"isbn": "1"}, {"user_uid": "x"}, {"published_from": "x"}],
    ids=str,
)
def test_a_wrong_parameter_is_422(get, query):
    assert get(**query).status_code == 422


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
def test_more_books_than_a_batch_are_all_exported_once(get, run_import, format_):
    written = [f"{number:05}" for number in range(4001)]
    run_import("title,author\n" + "".join(f"{title},Ende\n" for title in written))

    response = get(format=format_)

    if format_ == "csv":
        exported = titles(response)
    else:
        exported = [json.loads(line)["title"] for line in response.data.splitlines()]
    assert exported == written


def test_all_users_books_are_exported_without_an_owner(run_export, alice, bob, make_book):
    make_book(alice, title="A")
    make_book(bob, title="B")

    exported = run_export("--format", "jsonl")

    assert [json.loads(line)["title"] for line in exported.splitlines()] == ["A", "B"]


def test_a_file_is_written_whole_or_not_at_all(app, tmp_path, alice, make_book):
    make_book(alice)
    file = tmp_path / "books.csv"

    result = app.test_cli_runner().invoke(args=["books", "export", "-o", str(file)])

    assert (result.output, os.listdir(tmp_path)) == ("", ["books.csv"])
    assert len(file.read_text().splitlines()) == 2


def test_what_is_no_file_is_written_to_and_not_replaced(app, tmp_path, alice, make_book):
    make_book(alice)
    link = tmp_path / "null"
    link.symlink_to("/dev/null")

    app.test_cli_runner().invoke(args=["books", "export", "-o", str(link)])

    assert link.is_char_device()


@pytest.mark.parametrize("arguments", [["-o", "/nowhere/books.csv"], ["--owner", "x@y.zz"]])
def test_an_export_that_fails_is_told_in_one_line(app, arguments):
    result = app.test_cli_runner().invoke(args=["books", "export", *arguments])

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_what_is_added_meanwhile_does_not_change_what_is_searched_for(
    app, alice, make_book, monkeypatch
):
    monkeypatch.setattr(lists, "ITERATED", 1)
    for _ in range(3):
        make_book(alice, title="The Hobbit")
    with app.app_context():
        batches = lists.iterate_books({"q": "hobit"}, ("title",))
        exported = [next(batches)]
        make_book(alice, title="hobit")
        exported += batches

    assert [title for batch in exported for title, *_ in batch][:3] == ["The Hobbit"] * 3


@pytest.fixture
def begin_export(client):
    """Begin exports whose answers are not read yet."""
    begun = []

    def begin(account):
        response = client.get(f"{PREFIX}/books/export", headers=account.headers)
        begun.append(response)
        return response

    yield begin
    for response in reversed(begun):  # their contexts are a stack
        response.close()


def test_one_export_more_than_may_run_at_once_is_429(begin_export, alice):
    for _ in range(EXPORTS_MAX):
        assert begin_export(alice).status_code == 200

    response = begin_export(alice)

    assert (response.status_code, response.headers["Retry-After"]) == (429, "1")


def test_the_exports_of_one_user_keep_no_other_from_exporting(begin_export, alice, bob):
    for _ in range(EXPORTS_MAX):
        begin_export(alice)

    assert begin_export(bob).status_code == 200


@pytest.mark.parametrize("end", ["close", "get_data"])
def test_an_export_that_is_read_or_given_up_leaves_no_slot_taken(begin_export, alice, end):
    for _ in range(3 * EXPORTS_MAX):
        response = begin_export(alice)
        assert response.status_code == 200
        getattr(response, end)()
