"""Filters, search and sorts of the lists of books."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from books_api.books.search import candidates
from books_api.extensions import db
from books_api.model_base import new_id
from books_api.web.pagination import encode_cursor
from tests.helpers import BOOKS, EXAMPLES, exceptions, ids_of, next_link, walk
from tests.statements import statements

SORTS = ["created_at", "updated_at", "title", "author", "published_date", "page_count"]
BOTH_WAYS = [sign + name for name in SORTS for sign in ("", "-")]
# Title, author, what is known besides. Gaps and ties are on purpose.
SHELF = [
    ("La sombra del viento", "Carlos Ruiz Zafón", {"published_date": "2001", "language": "es"}),
    ("L'Étranger", "Albert Camus", {"published_date": "1942-05", "publisher": "Gallimard"}),
    ("Murder on the Orient-Express", "Agatha Christie", {"page_count": 256, "language": "en"}),
    (
        "Преступление и наказание",
        "Фёдор Достоевский",
        {"published_date": "1866", "page_count": 671},
    ),
    ("三体问题", "刘慈欣", {"published_date": "2008-01-01", "language": "zh", "page_count": 302}),
    ("Good Omens", "Terry Pratchett, Neil Gaiman", {"isbn": "9780060853983", "page_count": 302}),
    ("The Hobbit", "J. R. R. Tolkien", {"publisher": "Allen & Unwin", "published_date": "1937"}),
    ("The hobbit", "J. R. R. Tolkien", {"publisher": "HarperCollins", "language": "EN"}),
]


@pytest.fixture
def shelf(alice, make_book):
    return [make_book(alice, title=t, author=a, **more) for t, a, more in SHELF]


@pytest.fixture
def titles(client, alice):
    """The titles that a query finds, in their order."""

    def titles(**query):
        response = client.get(BOOKS, query_string=query, headers=alice.headers)
        assert response.status_code == 200, response.text
        return [book["title"] for book in response.json]

    return titles


FINDS = {
    "La sombra del viento": ["zafon", "ZAFÓN", "Zafo\u0301n"],
    "L'Étranger": [
        *("l'etranger", "L\u2019Étranger", "letranger", "gallimard", "ETRANGER CAMUS", "entranger"),
    ],
    "Murder on the Orient-Express": [
        *("orient express", "orient-express", "christie murder", "orient expres"),
        "orietn-express",
    ],
    "Преступление и наказание": [
        *("Достоевский", "достоевск", "преступление", "Достоевкий", "Федор"),
    ],
    "三体问题": ["三体", "刘慈欣", "问题", "体问", "问", "三体 刘", "刘慈欣 问题"],
    "Good Omens": [
        *("good om", "pratchet", "gaimann", "godo omens pratchet", "978-0-06-085398-3"),
        *("978 0 06 085398 3", " 9780060853983 ", "0-06-085398-0", "0060853980"),
    ],
    "The hobbit": ["tolkein", "the hobit"],
    "The Hobbit": [
        *("teh hobbit", "thehobbit", "th ehobbit", "thexhobbit", "the hob bit", "hobbt"),
        *("teh hobbit tolk", "fo the hobbit", "hobbit xyzzy", "hobbbit", "hobbti"),
    ],
}


@pytest.mark.parametrize("title", FINDS)
def test_a_search_finds(shelf, titles, title):
    missed = {q: found for q in FINDS[title] if title not in (found := titles(q=q))}

    assert missed == {}


def test_a_search_does_not_find_what_is_not_there(shelf, titles):
    for q in ("体三", "三问", "xyzzy", "9780306406157"):
        assert titles(q=q) == []


@pytest.mark.parametrize(
    ("title", "q"),
    [
        ("我读三体", "三体"),
        ("ハリー・ポッターと賢者の石", "賢者"),
        ("ハリー・ポッターと賢者の石", "ポッター"),
        ("«Мастер и Маргарита»", "мастер маргарита"),
        ("해리 포터와 마법사의 돌", "포터"),
        ("شازده کوچولو", "کوچولو"),
        ("हिन्दी की कहानियाँ", "कहानियाँ"),
        ("Øresund", "oresund"),
        ("Weiße Nächte", "weisse nachte"),
        ("Żywot człowieka", "zywot czlowieka"),
        ("Œuvres complètes de Þórbergur Ævar Ħal", "oeuvres thorbergur aevar hal"),
        ("Łódź", "lodz"),
        ("Law & Order", "law and order"),
        ("แฮร์รี่ พอตเตอร์กับศิลาอาถรรพ์", "ศิลา"),
        ("마법사의 돌", "마법"),
        ("\uff26\uff55\uff4c\uff4c\u3000\uff37\uff49\uff44\uff54\uff48", "full width"),
    ],
)
def test_a_search_finds_in_any_script(alice, make_book, titles, title, q):
    make_book(alice, title=title)

    assert titles(q=q) == [title]


def test_a_search_finds_a_typographic_apostrophe(alice, make_book, titles):
    make_book(alice, title="L\u2019Étranger")

    for q in ("l'etranger", "L\u2019Étranger", "letranger"):
        assert titles(q=q) == ["L\u2019Étranger"]


def test_what_is_typed_exactly_hides_what_is_like_it(alice, make_book, titles):
    make_book(alice, title="Dune")
    make_book(alice, title="June")

    assert titles(q="dune") == ["Dune"]


def test_the_nearest_of_what_is_like_the_search_is_first(alice, make_book, titles):
    for title in ("Harvey Peter", "Hairy Porter", "Harry Potter"):
        make_book(alice, title=title, author="x")

    assert titles(q="harry poter")[0] == "Harry Potter"


def test_a_typo_is_forgiven_in_a_word_that_has_just_come_and_in_one_just_changed(
    client, alice, make_book, titles
):
    book = make_book(alice, title="Quixotry")

    assert titles(q="quixtory") == ["Quixotry"]

    client.patch(f"{BOOKS}/{book['id']}", json={"title": "Zugzwang"}, headers=alice.headers)

    assert titles(q="zugzwagn") == ["Zugzwang"]


@pytest.mark.parametrize("word", ["Lama", "Seite", "Montaigne"])
def test_a_typo_at_any_place_is_forgiven_in_the_books_of_an_owner(alice, make_book, titles, word):
    make_book(alice, title=word, author="Somebody")
    cuts = [(word[:n], word[n : n + 1], word[n + 1 :]) for n in range(len(word))]
    typos = [before + letter + after for before, _, after in cuts for letter in ("", "x")]
    typos += [f"{before}x{letter}{after}" for before, letter, after in cuts]
    typos += [before + after[:1] + letter + after[1:] for before, letter, after in cuts]

    assert exceptions([word], lambda q: titles(q=q, user_uid=alice.id), typos) == {}


def test_a_word_that_is_in_some_book_may_be_a_typo_too(alice, make_book, titles):
    make_book(alice, title="From Here to Eternity")
    make_book(alice, title="The Form of Things")

    assert titles(q="form here to eternity") == ["From Here to Eternity"]


def test_two_transactions_that_bring_the_same_new_word_do_not_wait(app, alice):
    insert = text(
        "INSERT INTO books (id, title, author, user_uid) VALUES (:id, 'Floccinaucinihil', 'x', :of)"
    )
    with app.app_context(), db.engine.connect() as one, db.engine.connect() as other:
        for connection in (one, other):
            connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
            connection.execute(insert, {"id": new_id(), "of": alice.id})
        one.commit()
        other.commit()

        learned = text("SELECT count(*) FROM book_words WHERE word = 'floccinaucinihil'")
        assert one.execute(learned).scalar() == 2


MEANT = {
    "Unix by O\u2019Reilly": ["o'reilly", "oreilly", "O\u2019REILLY"],
    "Made in the U.S.A.": ["usa", "u.s.a."],
    "Shadow Lover": ["shadow lover pdf"],
    "Manshape": ["the manshape"],
    "Insects & Spiders": ["insects spiders", "insects and spiders"],
    "Monday Night Class": ["monday night cls"],
    "Montaigne": ["motnaiugne"],
    "The Twelve Kingdoms": ["12 kingdoms", "xii kingdoms", "kingdom"],
    "Book by J. E. Bright": ["je bright"],
    "Letters of J.R.R. Tolkien": ["jrr", "j. r. r."],
    "Tagebücher": ["tagebuecher"],
}


def test_a_search_finds_what_was_meant(alice, make_book, titles):
    for title in MEANT:
        make_book(alice, title=title, author="Somebody")

    for title, queries in MEANT.items():
        assert exceptions([title], lambda q: titles(q=q)[:1], queries) == {}


def test_books_of_others_change_nothing_that_i_find_in_mine(alice, bob, make_book, titles):
    queries = ["tolkein", "the hobit", "hobbit tolkein pdf", "dwarvs", "hob bit"]
    for title in ("The Hobbit", "Letters of Tolkien", "The Dwarves"):
        make_book(alice, title=title, author="J. R. R. Tolkien")
    mine = [titles(q=q, user_uid=alice.id) for q in queries]
    for title in ("Tolkein for Beginners", "The Hobit", "Dwarvs and pdf", "Hob", "Bit", "Hob bit"):
        make_book(bob, title=title, author="Tolkein")

    assert all(mine)
    assert [titles(q=q, user_uid=alice.id) for q in queries] == mine


def test_a_search_that_all_words_match_finds_nothing_else(shelf, titles):
    assert titles(q="orient express") == ["Murder on the Orient-Express"]


def test_a_title_counts_more_than_an_author_and_a_publisher(alice, make_book, titles):
    make_book(alice, title="A", author="B", publisher="Hobbit")
    make_book(alice, title="Hobbit", author="B")
    make_book(alice, title="C", author="Hobbit")

    assert titles(q="hobbit") == ["Hobbit", "C", "A"]


def test_a_search_is_paged(client, alice, make_book):
    ids = {make_book(alice)["id"] for _ in range(7)}

    assert sorted(ids_of(walk(client, alice, f"{BOOKS}/?q=hobbit&limit=2"))) == sorted(ids)


def test_a_search_may_be_sorted(shelf, titles):
    assert titles(q="tolkien", sort="-created_at") == ["The hobbit", "The Hobbit"]


FILTERS = [
    ({"author": "gaiman"}, ["Good Omens"]),
    ({"author": "zafon"}, ["La sombra del viento"]),
    ({"author": "хём"}, []),
    ({"author": "慈"}, ["三体问题"]),
    ({"publisher": "allen and unwin"}, ["The Hobbit"]),
    ({"publisher": "ALLEN & UNWIN"}, ["The Hobbit"]),
    ({"publisher": "Allen"}, []),
    ({"language": "en"}, ["The hobbit", "Murder on the Orient-Express"]),
    ({"isbn": "9780060853983"}, ["Good Omens"]),
    ({"isbn": "0-06-085398-0"}, ["Good Omens"]),
    ({"isbn": "9780306406157"}, []),
    ({"published_from": "2001"}, ["三体问题", "La sombra del viento"]),
    ({"published_from": "2001-01-02"}, ["三体问题"]),
    ({"published_to": "1937"}, ["The Hobbit", "Преступление и наказание"]),
    ({"published_from": "1937", "published_to": "1942-05-01"}, ["The Hobbit", "L'Étranger"]),
    ({"published_from": "1942", "published_to": "1937"}, []),
    ({"language": "en", "author": "tolkien"}, ["The hobbit"]),
    ({"q": "hobbit", "language": "en"}, ["The hobbit"]),
    ({"q": "9780060853983", "isbn": "9780306406157"}, []),
]


def test_a_filter_lets_through(shelf, titles):
    assert [titles(**query) for query, _ in FILTERS] == [found for _, found in FILTERS]


@pytest.mark.parametrize(
    ("author", "part", "found"),
    [
        ("Bob Marsh", "ma", True),
        ("Bob Marsh", "ar", False),  # in the title a word begins so
        ("김철수", "철수", True),
        ("陈三毛", "三毛", True),
        ("Ёжи Лец", "л", True),
        ("Bob Marsh", "mar", True),
        ("Bob Marsh", "ars", True),
    ],
)
def test_a_short_part_of_an_author_is_found(alice, make_book, titles, author, part, found):
    make_book(alice, title="Arden", author=author)

    assert titles(author=part) == (["Arden"] if found else [])


def test_a_filter_is_text_and_no_pattern(shelf, titles):
    for name in ("author", "publisher", "language", "q"):
        for value in ("%", "!!!", "w%q"):
            assert titles(**{name: value}) == []


LANGUAGES = ["en", "ENG", "en-US", "en-GB", "English", "enm", "de", "ger", "Greek", "gre", "Elvish"]
ENGLISH = LANGUAGES[:5]


SPELLINGS = [
    (("en", "eng", "english", "EN"), ENGLISH),
    (("de", "deu", "ger", "German"), ["de", "ger"]),
    (("el", "greek", "Modern Greek (1453-)"), ["Greek", "gre"]),
    (("en-gb",), ["en-GB"]),
    (("en-AU", "xx"), []),
    (("enm",), ["enm"]),
    (("elvish",), ["Elvish"]),
]


def test_a_language_is_found_in_every_spelling(alice, make_book, titles):
    for written in LANGUAGES:
        make_book(alice, title=written, language=written)

    for languages, found in SPELLINGS:
        for language in languages:
            assert sorted(titles(language=language)) == sorted(found)


def test_the_filter_of_an_owner_lets_its_books_through(alice, bob, make_book, titles):
    make_book(alice, title="Mine")
    make_book(bob, title="Bob's")

    assert titles(user_uid=bob.id) == ["Bob's"]


WRONG = {
    "sort": ["", "isbn", "--title", "+title", "title,author", "Title"],
    "count": ["", "1", "yes", "True", "truee"],
    "author": ["", " ", "x" * 1_001, "\0"],
    "publisher": ["", "x" * 501, "a\0b"],
    "language": ["", "x" * 36, "\0"],
    "isbn": ["", "0306406153", "0000000000", "\0", "x" * 1_000],
    "user_uid": ["", "alice", "\0", "1" * 5_000],
    "published_from": ["", "0000", "10000", "2021-02-29", "1937-1", "\0"],
    "published_to": ["", "0000", "10000", "2021-02-29", "today"],
    "page_count": ["5"],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_parameter_that_is_wrong_is_422(client, alice, name):
    def answer_to(value):
        response = client.get(BOOKS, query_string={name: value}, headers=alice.headers)
        return response.status_code, response.json["errors"][0]["parameter"]

    assert exceptions((422, name), answer_to, WRONG[name]) == {}


def test_the_owner_of_a_users_books_is_no_parameter(client, alice):
    path = f"{BOOKS}/user/{alice.id}"

    response = client.get(path, query_string={"user_uid": alice.id}, headers=alice.headers)

    assert response.status_code == 422


@pytest.mark.parametrize(
    ("query", "total"),
    [("", 8), ("&limit=3", 8), ("&language=en", 2), ("&q=hobbit", 2), ("&q=nothing+like+it", 0)],
)
def test_a_count_is_of_all_that_is_found(client, alice, shelf, query, total):
    response = client.get(f"{BOOKS}/?count=true{query}", headers=alice.headers)

    assert response.headers["X-Total-Count"] == str(total)


@pytest.mark.parametrize("query", ["", "?count=false"])
def test_nothing_is_counted_unless_asked_for(client, alice, query):
    response = client.get(f"{BOOKS}/{query}", headers=alice.headers)

    assert "X-Total-Count" not in response.headers


def test_a_count_on_a_later_page_is_of_what_the_first_has_found(client, alice, bob, make_book):
    for _ in range(5):
        make_book(alice, title="Dune", author="Duenna")
    first = client.get(f"{BOOKS}/?q=duen+xyzzy&limit=2&count=true", headers=alice.headers)
    make_book(bob, title="Duen xyzzy")  # what was typed: a search of now finds it alone
    client.delete(f"{BOOKS}/{first.json[0]['id']}", headers=alice.headers)
    second = client.get(next_link(first), headers=alice.headers)

    assert [page.headers["X-Total-Count"] for page in (first, second)] == ["5", "5"]


@pytest.mark.parametrize("query", ["", "q=hobbit", "q=nothing+like+it"])
def test_a_page_that_shows_all_is_counted_without_another_statement(
    folder, logged_client, alice, shelf, query
):
    def count_statements(path):
        with statements(folder) as sent:
            logged_client.get(path, headers=alice.headers)
        return len(sent)

    count_statements(BOOKS)  # not on a new connection

    assert count_statements(f"{BOOKS}/?{query}&count=true") == count_statements(f"{BOOKS}/?{query}")


def test_a_word_that_no_other_is_near_to_is_looked_for_once(folder, logged_client, alice, shelf):
    logged_client.get(f"{BOOKS}/?q=wvjqkzmf", headers=alice.headers)
    with statements(folder) as sent:
        logged_client.get(f"{BOOKS}/?q=wvjqkzmf", headers=alice.headers)

    assert sum("every AS" in statement for statement in sent) == 1


def test_link_keeps_the_filters(client, alice, shelf):
    response = client.get(f"{BOOKS}/?author=J.+R.+R.+Tolki%C3%A9n&limit=1", headers=alice.headers)

    assert client.get(next_link(response), headers=alice.headers).json[0]["title"] == "The Hobbit"


@EXAMPLES
@given(q=st.text(max_size=30))
def test_any_text_is_a_legal_search(client, alice, shelf, q):
    response = client.get(BOOKS, query_string={"q": q, "count": "true"}, headers=alice.headers)

    assert response.status_code == 200


@EXAMPLES
@given(
    q=st.text("&|!<->:*()'\"\\ %_\0\n\tABabé三\u0301\U00020000\u200d", max_size=1_200),
    sort=st.sampled_from([None, *BOTH_WAYS]),
)
def test_what_is_syntax_elsewhere_is_a_legal_search(client, alice, shelf, q, sort):
    query = {"q": q} | ({"sort": sort} if sort else {})

    response = client.get(BOOKS, query_string=query, headers=alice.headers)

    assert response.status_code == 200


def test_a_search_of_any_length_is_legal(client, alice, shelf):
    letters = ["a", "я", "三", "😀", "\ufdfa", "\u0301", "\U0001d518"]
    characters = [*letters, " ", "&", "a ", "é三", "\0"]

    def status_of(character):
        query = {"q": character * 3_000}
        return client.get(BOOKS, query_string=query, headers=alice.headers).status_code

    assert exceptions(200, status_of, characters) == {}


def insert_between_pages(client, alice, make_book, q, title):
    """The ids of a walk during which a book of the title is added after the first page."""
    first = client.get(f"{BOOKS}/?{q}&limit=2", headers=alice.headers)
    make_book(alice, title=title, author="x")
    return ids_of(first.json + walk(client, alice, next_link(first)))


@pytest.mark.parametrize("q", ["q=duen", "q=duen&sort=title", "q=duen&sort=-created_at"])
def test_a_walk_through_what_is_like_the_search_goes_on_when_an_exact_match_is_added(
    client, alice, make_book, q
):
    ids = {make_book(alice, title="Dune")["id"] for _ in range(5)}

    found = insert_between_pages(client, alice, make_book, q, "Duen")

    assert sorted(found) == sorted(ids)


@pytest.mark.parametrize("q", ["q=dune", "q=dune&sort=title"])
def test_a_walk_through_exact_matches_shows_nothing_else_when_they_are_deleted(
    client, alice, make_book, q
):
    ids = [make_book(alice, title="Dune")["id"] for _ in range(5)]
    make_book(alice, title="June")
    first = client.get(f"{BOOKS}/?{q}&limit=2", headers=alice.headers)
    for book_id in ids:
        client.delete(f"{BOOKS}/{book_id}", headers=alice.headers)

    assert walk(client, alice, next_link(first)) == []


@pytest.mark.parametrize("q", ["Emma", "EMMA", " emma "])
def test_a_book_whose_title_is_typed_comes_first(alice, make_book, titles, q):
    make_book(alice, title="Emma", author="Jane Austen")
    make_book(alice, title="Emma Emma Emma", author="Emma Emma")

    assert titles(q=q) == ["Emma", "Emma Emma Emma"]


def test_the_link_of_a_long_search_can_be_followed(client, alice, make_book):
    for _ in range(2):
        make_book(alice, title="三" * 150)
    first = client.get(BOOKS, query_string={"q": "三" * 150, "limit": 1}, headers=alice.headers)

    second = client.get(next_link(first), headers=alice.headers)

    assert (second.status_code, len(second.json)) == (200, 1)


def letters(length):
    return "".join(random.Random(length).choices("абвгдежзиклмнопрстуфхцчшщэюя", k=length))


@pytest.mark.parametrize("sort", [{}, {"sort": "title"}])
@pytest.mark.parametrize(("count", "length"), [(16, 11), (2, 39)])
def test_the_links_of_a_search_that_may_mean_very_much_can_be_followed(
    client, alice, make_book, count, length, sort
):
    text = letters(count * length)
    words = [text[start : start + length] for start in range(0, len(text), length)]
    torn = [f"{word[: length // 2]} {word[length // 2 :]}" for word in words]
    for word in words:  # torn in two anywhere, both parts are words
        make_book(alice, title="x", author=" ".join(word[:cut] for cut in range(1, length)))
        make_book(alice, title="x", author=" ".join(word[cut:] for cut in range(1, length)))
    for _ in range(3):
        make_book(alice, title=" ".join(torn), author="x")
    query = {"q": " ".join(words), "limit": 1, **sort}

    first = client.get(BOOKS, query_string=query, headers=alice.headers)

    assert len(walk(client, alice, next_link(first))) == 2


@pytest.mark.parametrize(
    ("query", "scope"),
    [("q=hobbit", "books  [('q', 'hobbit')]"), ("sort=-page_count", "books -page_count []")],
)
def test_a_cursor_of_a_walk_from_before_the_upgrade_is_refused(app, client, alice, query, scope):
    with app.app_context():
        cursor = encode_cursor((1, str(new_id()), "'hobbit'"), scope)

    response = client.get(f"{BOOKS}/?{query}&cursor={cursor}", headers=alice.headers)

    assert (response.status_code, response.json["errors"][0]["code"]) == (422, "not-a-cursor")


@pytest.fixture
def short_walk(monkeypatch):
    """Let a search read two books one by one at most."""
    candidates._by_walk.cache_clear()
    monkeypatch.setattr(candidates, "WALKED", 2)
    yield
    candidates._by_walk.cache_clear()


@pytest.mark.usefixtures("short_walk")
def test_what_all_of_ones_books_have_is_found_beyond_those_that_are_read_one_by_one(
    client, alice, make_book
):
    mine = {make_book(alice, title=f"The {title}")["id"] for title in "abcde"}

    found = client.get(f"{BOOKS}/?q=the&user_uid={alice.id}", headers=alice.headers)

    assert set(ids_of(found.json)) == mine
