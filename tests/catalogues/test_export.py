"""Export: at the command line, and GET /books/export."""

import csv
import json
import os

import pytest

from books_api import PREFIX
from books_api.books import lists
from books_api.catalogues.exporter import EXPORTS_MAX

pytestmark = pytest.mark.long

EXPORT = f"{PREFIX}/books/export"
FIELDS = ["title", "author", "publisher", "published_date", "page_count", "language", "isbn"]


@pytest.fixture
def get(client, alice):
    def get(account=alice, **query):
        return client.get(EXPORT, query_string=query, headers=account.headers)

    return get


def titles(response):
    return [row["title"] for row in csv.DictReader(response.text.splitlines())]


def test_a_stranger_is_401(client):
    assert client.get(EXPORT).status_code == 401


def test_csv_is_the_default(get, alice, make_book):
    make_book(alice, title='The "Hobbit", again', page_count=310)

    response = get()

    assert (response.status_code, response.mimetype) == (200, "text/csv")
    assert response.text.splitlines() == [
        ",".join(FIELDS),
        '"The ""Hobbit"", again",J. R. R. Tolkien,,,310,,',
    ]


def test_ndjson_has_an_object_for_each_book(get, alice, make_book):
    book = make_book(alice, published_date="1937", isbn="9780261102217")

    response = get(format="ndjson")

    assert response.mimetype == "application/x-ndjson"
    assert json.loads(response.data) == {name: book[name] for name in FIELDS}


@pytest.mark.parametrize(("format_", "name"), [("csv", "books.csv"), ("ndjson", "books.jsonl")])
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
    assert get().text == ",".join(FIELDS) + "\r\n"


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


def test_a_deleted_users_token_is_401(client, get, alice):
    answer = client.delete(
        f"{PREFIX}/auth/me",
        json={"current_password": "correct horse battery staple"},
        headers=alice.headers,
    )
    assert answer.status_code == 204

    assert get().status_code == 401


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
def test_more_books_than_a_batch_are_all_exported_once(get, run_import, format_):
    written = [f"{number:05}" for number in range(4001)]
    run_import("title,author\n" + "".join(f"{title},Ende\n" for title in written))

    response = get(format=format_)

    assert len(response.data.splitlines()) == 4001 + (format_ == "csv")
    assert [title for title in written if response.text.count(title) != 1] == []


def test_what_is_exported_is_imported_over_http(client, alice, bob, get, make_book):
    make_book(alice, title="a\r\nb", publisher="ü")

    client.post(
        f"{PREFIX}/books/import",
        data=get().data,
        headers=bob.headers,
        content_type="text/csv",
    )

    assert get(bob).data == get().data


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
