"""Entity tags: reading what has changed, changing what has not (RFC 9110, 13)."""

from functools import partial

import pytest

from tests.helpers import BOOKS, exceptions, together


def utf8(text):
    """The text as WSGI hands over the bytes of a header."""
    return text.encode().decode("latin-1")


HAVE_IT = ['"1"', 'W/"1"', "*", '"9", "1"', '"9",W/"1"', ' "1" ', '"a,b", "1"']
# The second version, and what is no version at all.
HAVE_IT_NOT = [
    *('"2"', 'W/"2"', '"2", "3"', '"11"', '"01"', '"+1"', '"1.0"', '" 1"', '"1 "', '"-1"'),
    *('"99999999999999999999"', '"2147483648"', '"4294967297"', '"18446744073709551617"'),
    *("garbage", '"', '""', '"1', ",", ",,,", "W/", 'W/"'),
    *(utf8('"²"'), utf8('"\uff11"'), utf8('"\u0661"')),
    *('"\x00"', '"\xff"', "1" * 10_000, ",".join(['"2"'] * 1_000)),
]
WRITES = [("PATCH", {"title": "Momo"}), ("DELETE", None)]


@pytest.fixture
def book(make_book, alice):
    return make_book(alice)


@pytest.fixture
def path(book):
    return f"{BOOKS}/{book['id']}"


@pytest.mark.parametrize("tags", HAVE_IT)
def test_what_the_reader_has_is_not_sent_again(client, alice, path, tags):
    response = client.get(path, headers={**alice.headers, "If-None-Match": tags})

    assert (response.status_code, response.data, response.headers["ETag"]) == (304, b"", '"1"')


def test_what_the_reader_has_not_is_sent(client, alice, book, path):
    def answer_to(tags):
        response = client.get(path, headers={**alice.headers, "If-None-Match": tags})
        return response.status_code, response.json

    assert exceptions((200, book), answer_to, HAVE_IT_NOT) == {}


def test_a_304_has_no_content_headers(client, alice, path):
    response = client.get(path, headers={**alice.headers, "If-None-Match": '"1"'})

    assert not {"Content-Type", "Content-Length"} & set(response.headers.keys())


def test_a_change_makes_the_readers_version_old(client, alice, path):
    client.patch(path, json={"title": "Momo"}, headers=alice.headers)

    response = client.get(path, headers={**alice.headers, "If-None-Match": '"1"'})

    assert (response.status_code, response.headers["ETag"]) == (200, '"2"')


def test_a_reader_whose_if_match_fails_gets_no_error_that_is_not_a_problem(client, alice, path):
    headers = {**alice.headers, "If-None-Match": '"1"', "If-Match": '"7"'}

    response = client.get(path, headers=headers)

    assert response.status_code < 400 or response.mimetype == "application/problem+json"


@pytest.mark.parametrize("tags", HAVE_IT)
@pytest.mark.parametrize(("method", "values"), WRITES)
def test_a_write_on_the_current_version_is_done(client, alice, path, method, values, tags):
    headers = {**alice.headers, "If-Match": tags}

    response = client.open(path, method=method, json=values, headers=headers)

    assert response.status_code == (200 if method == "PATCH" else 204)


@pytest.mark.parametrize(("method", "values"), WRITES)
def test_a_write_on_another_version_is_412(client, alice, path, method, values):
    def status_of(tags):
        headers = {**alice.headers, "If-Match": tags}
        return client.open(path, method=method, json=values, headers=headers).status_code

    assert exceptions(412, status_of, HAVE_IT_NOT) == {}


@pytest.mark.parametrize(("method", "values"), WRITES)
def test_what_is_412_is_not_done_and_shows_the_book_as_it_is(
    client, alice, book, path, method, values
):
    headers = {**alice.headers, "If-Match": '"7"'}

    response = client.open(path, method=method, json=values, headers=headers)

    assert (response.json["current"], response.headers["ETag"]) == (book, '"1"')
    assert client.get(path, headers=alice.headers).json == book


@pytest.mark.parametrize(("method", "values"), WRITES)
def test_a_stranger_to_the_book_is_403_whatever_the_version(client, bob, path, method, values):
    headers = {**bob.headers, "If-Match": '"7"'}

    response = client.open(path, method=method, json=values, headers=headers)

    assert response.status_code == 403


@pytest.mark.parametrize(
    "values",
    [
        {"title": "Momo"},
        {"title": " Momo "},
        {"title": "Momo", "isbn": "3-522-11940-1"},
        {"title": "Momo", "publisher": None, "page_count": None},
    ],
)
def test_a_change_sent_again_is_not_a_conflict(client, alice, path, values):
    headers = {**alice.headers, "If-Match": '"1"'}
    first = client.patch(path, json=values, headers=headers)

    response = client.patch(path, json=values, headers=headers)

    assert (response.status_code, response.json) == (200, first.json)
    assert response.headers["ETag"] == '"2"'


@pytest.mark.parametrize("headers", [{}, {"If-Match": '"1"'}])
def test_a_book_may_be_sent_back_whole_and_again(client, alice, book, path, headers):
    headers = {**alice.headers, **headers}
    first = client.patch(path, json={**book, "title": "Momo"}, headers=headers)

    again = client.patch(path, json={**book, "title": "Momo"}, headers=headers)

    assert (first.status_code, first.json["version"]) == (200, 2)
    assert (again.status_code, again.json) == (200, first.json)


def test_what_the_server_decides_may_be_written_in_another_way(client, alice, book, path):
    same = {
        "id": book["id"].upper(),
        "version": 1.0,
        "created_at": book["created_at"].replace("Z", "+00:00"),
    }

    response = client.patch(path, json=same, headers=alice.headers)

    assert (response.status_code, response.json) == (200, book)


OTHER = "01890a5d-ac96-774b-bcce-b302099a8057"
DIFFERENT = {"id": OTHER, "user_uid": OTHER, "version": 2, "updated_at": "2024-01-01T00:00:00Z"}


@pytest.mark.parametrize("change", [{}, {"title": "Momo"}, {"title": "The Hobbit"}])
@pytest.mark.parametrize("name", DIFFERENT)
def test_what_the_server_decides_is_not_changed(client, alice, book, path, name, change):
    response = client.patch(path, json={**change, name: DIFFERENT[name]}, headers=alice.headers)

    [error] = response.json["errors"]
    assert response.status_code == 422
    assert (error["pointer"], error["code"]) == (f"/{name}", "read-only")
    assert client.get(path, headers=alice.headers).json == book


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 422), ({"If-Match": '"1"'}, 412)], ids=["alone", "if-match"]
)
def test_a_whole_book_of_an_older_version_overwrites_nothing(
    client, alice, book, path, headers, status
):
    other = client.patch(path, json={"publisher": "Unwin"}, headers=alice.headers).json

    response = client.patch(
        path, json={**book, "title": "Momo"}, headers={**alice.headers, **headers}
    )

    assert response.status_code == status
    assert client.get(path, headers=alice.headers).json == other


def test_a_change_of_which_a_part_is_there_is_412(client, alice, path):
    headers = {**alice.headers, "If-Match": '"1"'}
    client.patch(path, json={"title": "Momo"}, headers=headers)

    response = client.patch(path, json={"title": "Momo", "page_count": 304}, headers=headers)

    assert response.status_code == 412


def test_of_simultaneous_changes_of_one_version_one_wins_and_is_stored(app, client, alice, path):
    headers = {**alice.headers, "If-Match": '"1"'}

    def send(number):
        return app.test_client().patch(path, json={"title": str(number)}, headers=headers)

    answers = together(*(partial(send, number) for number in range(8)))

    [winner] = [answer.json for answer in answers if answer.status_code == 200]
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert client.get(path, headers=alice.headers).json == winner


def test_simultaneous_changes_without_if_match_are_all_counted(app, client, alice, path):
    def send(number):
        app.test_client().patch(path, json={"page_count": number + 1}, headers=alice.headers)

    together(*(partial(send, number) for number in range(8)))

    assert client.get(path, headers=alice.headers).headers["ETag"] == '"9"'
