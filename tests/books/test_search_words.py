"""What the words of a query may mean, and how well a book fits them."""

import pytest

from books_api.books.search.candidates import tsquery
from books_api.books.search.rank import Ranking, likeness, plain
from books_api.books.search.typos import misspelling, near, swapped
from books_api.books.search.words import (
    COMMON,
    OTHER,
    Meaning,
    Word,
    other_forms,
    runs,
    telling,
    understand,
)

HOBBIT = "'allen':6C 'hobbit':2A 'j':3B 'tolkien':5B 'the':1A"


def word(typed, books=0, *, is_last=False):
    return Word(typed, books, is_last, [Meaning([typed])])


@pytest.mark.parametrize(
    ("typed", "meant", "typos"),
    [
        ("tolkein", "tolkien", 1),
        ("tolkie", "tolkien", 1),
        ("tolkienn", "tolkien", 1),
        ("dolkien", "tolkien", 1),
        ("motnaiugne", "montaigne", 2),
        ("tolkien", "tolkien", 0),
        ("dune", "tune", 1),
        ("dune", "tunes", 0),
        ("ocean", "dancing", 0),
    ],
)
def test_a_misspelling_is_one_typo_or_two_in_a_long_word(typed, meant, typos):
    assert misspelling(typed, meant, is_last=False) == typos


def test_only_the_last_word_may_be_unfinished_and_misspelt():
    assert misspelling("hobti", "hobbits", is_last=True) == 2
    assert misspelling("hobti", "hobbits", is_last=False) == 0


def test_two_letters_of_an_unfinished_word_may_be_swapped():
    assert swapped(word("mnor", is_last=True)) == {"nmor", "monr", "mnro"}
    assert swapped(word("mnor")) == set()


def test_the_nearest_words_are_meant_and_of_equals_those_that_were_learned_first():
    found = ["tolxxen", "tolkiem", "tolkie", "tolkxxn", "hobbit"]

    meant = near(word("tolkien"), found)

    assert [meaning.lexemes for meaning in meant] == [
        ["tolkiem"],
        ["tolkie"],
        ["tolxxen"],
        ["tolkxxn"],
    ]


@pytest.mark.parametrize(
    ("typed", "forms"),
    [
        ("12", {"twelve", "xii"}),
        ("xii", {"12", "twelve"}),
        ("twenty", {"20", "xx", "twentys"}),
        ("7", {"07", "seven", "vii"}),
        ("book", {"books"}),
        ("books", {"book"}),
        ("tagebuecher", {"tagebucher", "tagebuechers"}),
        ("gas", set()),
    ],
)
def test_a_word_has_other_forms(typed, forms):
    assert other_forms(typed) == forms


def test_neighbours_and_initials_in_a_row_may_be_one_word():
    words = [word(typed) for typed in ("ink", "heart", "j", "r", "r")]

    joined = ["".join(each.typed for each in run) for run in runs(words)]

    assert joined == ["inkheart", "heartj", "jr", "rr", "jrr"]


def test_what_was_read_is_understood():
    rows = [("oreilly", ["oreilly"], 0, ["o reilly"]), ("三体", ["三", "体"], 0, [])]

    first, second = understand(rows)

    assert Meaning(["o", "reilly"], OTHER) in first.meanings
    assert Meaning(["三", "体"], OTHER, is_unfinished=True) in second.meanings


def test_rare_words_tell_what_is_meant_and_common_ones_only_if_there_are_no_others():
    the, of, rings = word("the", COMMON * 9), word("of", COMMON), word("rings", COMMON - 1)

    assert telling([the, of, rings]) == [rings]
    assert telling([the, of]) == [of, the]


def test_any_meaning_of_so_many_words_is_asked_for():
    words = [Word("a", 0, is_last=False, meanings=[Meaning(["a"]), Meaning(["b", "c"])])]
    words.append(Word("d", 0, is_last=True, meanings=[Meaning(["d"], 1, is_unfinished=True)]))

    assert tsquery(words, 2) == "(('a') | ('b' <-> 'c')) & (('d':*))"
    assert tsquery(words, 1) == "(('a') | ('b' <-> 'c')) | (('d':*))"


def rank(*words, title="The Hobbit", author="J. Tolkien", search=HOBBIT):
    q = " ".join(word.typed for word in words)
    return Ranking(q, words).rank(title, author, search)


def test_a_rare_word_counts_more_than_a_common_one():
    missing = word("xyzzy")

    assert rank(word("hobbit"), word("xyzzy", 200)) > rank(word("the", 200), missing)


def test_the_nearer_of_two_meanings_counts():
    near = Word("hobit", 0, is_last=False, meanings=[Meaning(["hobbit"], OTHER)])
    both = Word("hobit", 0, is_last=False, meanings=[*near.meanings, Meaning(["the"], OTHER / 2)])

    assert rank(both) == rank(near)


def test_an_unfinished_word_is_begun_by_one_of_the_book():
    begun = Word("hob", 0, is_last=True, meanings=[Meaning(["hob"], OTHER, is_unfinished=True)])
    other = Word("hob", 0, is_last=True, meanings=[Meaning(["hob"])])

    assert rank(begun) > rank(other)


def test_a_title_without_subtitle_and_series_is_as_good_as_the_whole():
    plainly = rank(word("hobbit"), title="Hobbit")

    assert rank(word("hobbit"), title="Hobbit: There and Back Again") == plainly
    assert rank(word("hobbit"), title="Hobbit (Middle-earth #1)") == plainly


@pytest.mark.parametrize("q", ["tolkien", "christopher tolkien", "c. s. lewis", "lewis"])
def test_any_name_and_surname_of_the_author_is_as_good_as_the_title(q):
    authors = "J. R. R. Tolkien/Christopher Tolkien; C. S. Lewis"

    assert likeness(plain(q), "The Book", authors) == 1


@pytest.mark.parametrize(
    ("text", "folded"),
    [("L\u2019Étranger", "l etranger"), ("Law & Order", "law and order"), ("三体", "三体")],
)
def test_a_plain_text_has_no_accents_and_signs(text, folded):
    assert plain(text) == folded
