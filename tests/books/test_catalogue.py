"""Search on the real catalogue, as people know it and as they type."""

import random
import string

import pytest
from sqlalchemy import select

from books_api.books.counts import count_books
from books_api.books.lists import list_books
from books_api.books.models import Book
from books_api.books.schemas import BookSchema
from books_api.database import autocommit
from books_api.extensions import db
from tests.books.catalogue import catalogue, walk_through

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def titles(settings, servers):
    """The different titles of the catalogue, which is the application's meanwhile."""
    with catalogue(settings, "catalogue"):
        with autocommit() as connection:
            found = connection.execute(select(Book.title).distinct()).scalars().all()
        yield sorted(found)


def with_a_typo(rng, title):
    """The title with one letter left out, put in, replaced, or swapped with the next."""
    place, letter = rng.randrange(len(title)), rng.choice(string.ascii_lowercase)
    before, here, after = title[:place], title[place], title[place + 1 :]
    return before + rng.choice(
        [after, letter + here + after, letter + after, after[:1] + here + after[1:]]
    )


def find(q, **query):
    return list_books(limit=20, filters={"q": q}, **query).rows


def test_95_of_100_titles_are_found_in_spite_of_a_typo(titles):
    rng = random.Random(1)
    typed = [(title, with_a_typo(rng, title)) for title in rng.sample(titles, 200)]

    missed = [(t, q) for t, q in typed if t not in {book["title"] for book in find(q)}]

    assert len(missed) <= 10, missed


def test_all_of_the_catalogue_is_answered_as_the_schema_dumps_it(titles):
    newest = select(Book).order_by(Book.created_at.desc(), Book.id.desc())
    books = db.session.scalars(newest).all()
    db.session.remove()  # its transaction, too, before it is idle for too long

    answered = walk_through()

    assert len(answered) > 11_000
    assert answered == BookSchema(many=True).dump(books)


def test_98_of_100_titles_are_found_as_they_are(titles):
    some = random.Random(2).sample(titles, 200)

    missed = [title for title in some if title not in {book["title"] for book in find(title)}]

    assert len(missed) <= 4, missed


def test_most_titles_are_found_before_their_last_word_is_finished(titles):
    some = random.Random(3).sample(titles, 200)
    long = [title for title in some if title.count(" ") > 1 and title[-1].isalpha()]

    missed = [title for title in long if title not in {book["title"] for book in find(title[:-1])}]

    assert len(missed) <= len(long) / 20, missed


@pytest.mark.parametrize("q", ["the", "a", "t", "of the", "teh", "harry potter", "hary poter"])
@pytest.mark.parametrize("sort", [None, "title", "-created_at"])
def test_a_walk_through_many_matches_shows_each_once(titles, q, sort):
    rows = walk_through(filters={"q": q}, sort=sort)

    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids)) == count_books({"q": q}).books


def test_of_too_many_to_be_ranked_the_newest_are_first(titles):
    ids = [row["id"] for row in walk_through(filters={"q": "the"})]

    assert ids == sorted(ids, reverse=True)
