"""How many books there are: counted, or estimated and said so."""

import pytest

from books_api.books import counts
from tests.helpers import BOOKS

COUNTED = 3
TOTAL, ESTIMATED = "X-Total-Count", "X-Total-Count-Estimated"


@pytest.fixture
def library(monkeypatch, alice, make_book):
    """One more book than are counted one by one."""
    monkeypatch.setattr(counts, "COUNTED", COUNTED)
    for _ in range(COUNTED + 1):
        make_book(alice, title="Emma", author="Jane Austen")


@pytest.mark.parametrize("path", ["/?", "/?q=emma&", "/user/{alice.id}?author=austen&"])
def test_a_count_of_more_is_an_estimate_and_says_so_unless_it_is_exact(
    client, alice, library, path
):
    def count(how):
        url = f"{BOOKS}{path.format(alice=alice)}limit=1&count={how}"
        headers = client.get(url, headers=alice.headers).headers
        return headers[TOTAL], headers.get(ESTIMATED)

    estimated, exact = count("true"), count("exact")

    assert int(estimated[0]) > COUNTED
    assert (estimated[1], exact) == ("true", (str(COUNTED + 1), None))


def test_what_can_be_counted_is_exact(client, alice, bob, make_book, library):
    make_book(bob)

    headers = client.get(f"{BOOKS}/user/{bob.id}?count=true", headers=alice.headers).headers

    assert (headers[TOTAL], headers.get(ESTIMATED)) == ("1", None)
