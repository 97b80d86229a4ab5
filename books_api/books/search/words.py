"""What the words of a query may mean."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import log
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, select, text

from books_api.books.models import Book
from books_api.database import Statement

SAMPLE = 300  # of the newest books: what is common there is common
COMMON = SAMPLE // 40
NEWEST = (Book.created_at.desc(), Book.id.desc())
TELLING = 4  # words, the rarest, that decide which books are looked at
OTHER = 0.8  # how near another meaning is to what was typed, which is 1

_COUNTED = text("""(
    SELECT word, parts, n, (SELECT count(*) FROM sample WHERE search @@ typed) AS books
    FROM (
        SELECT word, parts, n, to_tsquery('simple', array_to_string(parts, ' <-> ')
            || CASE WHEN n = max(n) OVER () THEN ':*' ELSE '' END) AS typed
        FROM (
            SELECT word, row_number() OVER (ORDER BY min(place)) AS n,
                string_to_array(regexp_replace(btrim(books_words(word)), ' +', ' ', 'g'), ' ')
                    AS parts
            FROM unnest(string_to_array(books_fold(left(:q, 200)), ' '))
                WITH ORDINALITY AS t (word, place)
            WHERE word <> '' GROUP BY word ORDER BY min(place) LIMIT 16
        ) AS words OFFSET 0
    ) AS queries OFFSET 0
) AS counted""")
_IS_WHOLE = text(f"(SELECT count(*) FROM sample) < {SAMPLE}")  # noqa: S608  # of our own
# Both halves are words of some book, the most even first; a letter may have been typed for the
# space.
_HALVES = """ARRAY(
    SELECT first || ' ' || second
    FROM generate_series(1, length(word) - 1) AS cut, unnest(ARRAY[1, 2]) AS gap,
        LATERAL (SELECT left(word, cut), substr(word, cut + gap)) AS h (first, second)
    WHERE books = 0 AND cardinality(parts) = 1 AND length(word) <= 40
        AND EXISTS (SELECT FROM {words} b WHERE b.word = first{of} OFFSET 0)
        AND EXISTS (SELECT FROM {words} b WHERE b.word = second{of} OFFSET 0)
    ORDER BY abs(2 * cut - length(word)), gap LIMIT 4
)"""
_HALVES_OF_ALL = text(_HALVES.format(words="book_words", of=""))
_HALVES_OF_OWNER = text(_HALVES.format(words="owner_words", of=" AND b.user_uid = :user_uid"))
_ROMAN = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
_ROMAN_TENS = ("", "x", "xx", "xxx", "xl", "l", "lx", "lxx", "lxxx", "xc")
_ENGLISH = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


class Meaning(NamedTuple):
    """Words next to each other that a book may have, the last perhaps only begun."""

    lexemes: Sequence[str]
    nearness: float = 1.0
    is_unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A typed word: it is telling when few books have it."""

    typed: str
    books: int  # of the sample
    is_last: bool
    meanings: list[Meaning] = field(default_factory=list)

    @property
    def weight(self) -> float:
        return log((SAMPLE + 1) / (self.books + 0.5))

    @property
    def nearest(self) -> list[Meaning]:
        return sorted(self.meanings, key=lambda meaning: -meaning.nearness)

    @property
    def can_be_misspelt(self) -> bool:
        return (
            self.books < COMMON
            and len(self.meanings[0].lexemes) == 1
            and (3 <= len(self.typed) <= 40)
        )


def sample(conditions: Iterable[ColumnElement[bool]]) -> Select[Any]:
    """Return the statement of the newest books that the filters let through."""
    return select(Book.search).where(*conditions).order_by(*NEWEST).limit(SAMPLE)


def reading(conditions: Iterable[ColumnElement[bool]], *, of_owner: bool) -> Statement:
    """Return the statement that parts :q into words, and says whether all books are counted."""
    halves = _HALVES_OF_OWNER if of_owner else _HALVES_OF_ALL
    of = sample(conditions).cte("sample").prefix_with("MATERIALIZED")
    columns = (text("word"), text("parts"), text("books"), halves, _IS_WHOLE)
    return Statement(select(*columns).select_from(_COUNTED).add_cte(of).order_by(text("n")))


def understand(rows: Sequence[Sequence[Any]]) -> list[Word]:
    """Return the words of what reading() has read, with all meanings but typos."""
    words = [
        Word(word, books, is_last=n == len(rows), meanings=[Meaning(parts)])
        for n, (word, parts, books, *_) in enumerate(rows, 1)
    ]
    for word, (typed, parts, _, halves, *_) in zip(words, rows, strict=True):
        word.meanings.extend(Meaning(half.split(" "), OTHER) for half in halves)
        if word.is_last:
            word.meanings.append(Meaning(parts, OTHER, is_unfinished=True))
        if len(parts) == 1:
            word.meanings.extend(Meaning([other], OTHER) for other in other_forms(typed))
            if not word.books and 3 <= len(typed) <= 4:
                word.meanings.append(Meaning(list(typed), OTHER))  # initials
    for joined in runs(words):
        together = Meaning(["".join(word.typed for word in joined)], OTHER)
        for word in joined:
            word.meanings.append(together)
    return words


def runs(words: Sequence[Word]) -> list[Sequence[Word]]:
    """Return the words that may be one word: any two neighbours, and all of a row of initials."""
    found = [words[n : n + 2] for n in range(len(words) - 1)]
    first = 0
    for n in range(len(words) + 1):
        if n == len(words) or len(words[n].typed) > 1:
            if n - first > 2:
                found.append(words[first:n])
            first = n + 1
    return found


def other_forms(word: str) -> set[str]:
    """Return the number in other numerals, the word in the other number and without ae, oe, ue."""
    forms = set(_numerals().get(word, ()))
    if len(word) > 3:
        forms.add(re.sub("([aou])e", r"\1", word))
        forms.add(word[:-1] if word.endswith("s") else f"{word}s")
    return forms - {word}


@lru_cache
def _numerals() -> dict[str, set[str]]:
    numerals: dict[str, set[str]] = {}
    for number in range(1, 100):
        roman = _ROMAN_TENS[number // 10] + _ROMAN[number % 10]
        forms = {str(number), f"{number:02}", roman}
        if number < len(_ENGLISH):
            forms.add(_ENGLISH[number])
        elif not number % 10:
            forms.add(_TENS[number // 10])
        numerals.update(dict.fromkeys(forms, forms))
    return numerals


def telling(words: Sequence[Word]) -> list[Word]:
    """Return the rarest words: of those that are not common, if there are any."""
    rare = [word for word in words if word.books < COMMON] or words
    return sorted(rare, key=lambda word: word.books)[:TELLING]
