"""What the words of a query may mean if they are misspelt."""

from collections.abc import Sequence
from dataclasses import replace

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract
from sqlalchemy import text

from books_api.books.search.words import OTHER, Meaning, Word, telling
from books_api.database import Statement

NEAR_MAX = 12  # words that a typo makes of one

# By what is left of their beginnings without one letter, which a typo further on leaves alone, too.
# One look into an index for all: what an attacker has filled it with is read once.
_NEAR = Statement(
    text("""
    SELECT word FROM book_words WHERE books_deletions(left(word, 5)) && ARRAY(
        SELECT unnest(books_deletions(left(typed, 5))) FROM unnest(CAST(:words AS text[])) AS typed
    ) LIMIT 2000
    """)
)
# Among the owner's own, which others cannot crowd: a typo spares the first two letters and one of
# the next two, which it may move; or it moves the third, or spares three letters after the second.
_NEAR_OF_OWNER = Statement(
    text(r"""
    WITH typed AS (
        SELECT typed, substr(typed, 3, 2) AS next FROM unnest(CAST(:words AS text[])) AS typed
    )
    SELECT word FROM typed CROSS JOIN LATERAL unnest(ARRAY[
        left(typed, 2), left(typed, 1) || next,
        left(typed, 1) || left(next, 1) || substr(typed, 2, 1)
    ]) AS beginning CROSS JOIN LATERAL (
        SELECT word FROM owner_words WHERE user_uid = :user_uid
            AND word >= beginning AND word < beginning || U&'\+10FFFF' LIMIT 20000
    ) AS begun WHERE strpos(next, substr(word, 3, 1)) > 0 OR strpos(next, substr(word, 4, 1)) > 0
    UNION ALL (
        SELECT word FROM owner_words WHERE user_uid = :user_uid AND substr(word, 3, 3) = ANY(
            ARRAY(SELECT substr(typed, place, 3) FROM typed, generate_series(2, 4) AS place)
        ) LIMIT 20000
    )
    """)
)


def with_typos(words: Sequence[Word], owner: str | None = None) -> list[Word]:
    """Return the words, the telling ones also with what they mean if they are misspelt.

    In the books of one owner that is what the owner's books have.
    """
    misspelt = [word for word in telling(words) if word.can_be_misspelt]
    if not misspelt:
        return list(words)
    typed = [each for word in misspelt for each in {word.typed, *swapped(word)}]
    rows = _NEAR_OF_OWNER.rows(words=typed, user_uid=owner) if owner else _NEAR.rows(words=typed)
    found = list(dict.fromkeys(word for (word,) in rows))
    return [
        replace(word, meanings=word.meanings + near(word, found)) if word in misspelt else word
        for word in words
    ]


def swapped(word: Word) -> set[str]:
    """Return how four letters may begin a word in which two of them are swapped."""
    typed = word.typed
    if not word.is_last or len(typed) != 4:
        return set()
    return {typed[:n] + typed[n + 1] + typed[n] + typed[n + 2 :] for n in range(3)}


def near(word: Word, found: Sequence[str]) -> list[Meaning]:
    """Return those of the words found that the word may mean, the nearest first."""
    # All are compared in one loop in C; few are looked at one by one.
    compared = [(found, 2)]
    if word.is_last:
        lengths = range(len(word.typed) - 1, len(word.typed) + 2)
        compared += [([other[:length] for other in found], 1) for length in lengths]
    close = {
        place
        for texts, most in compared
        for *_, place in extract(
            word.typed, texts, scorer=OSA.distance, score_cutoff=most, limit=None
        )
    }
    # Of equals what was found first: among all words the commonest, as a rule.
    typos = [
        (misspelling(word.typed, found[place], is_last=word.is_last), place) for place in close
    ]
    meant = [found[place] for count, place in sorted(typos) if count]
    return [Meaning([other], OTHER) for other in meant[:NEAR_MAX]]


def misspelling(typed: str, word: str, *, is_last: bool) -> int:
    """Return how many typos, 1 or 2, make what was typed of the word; 0 if it was not meant.

    A letter left out, put in, replaced, or swapped with the next is one typo. That the last word is
    unfinished is one more.
    """
    length = len(typed)
    typos = OSA.distance(typed, word, score_cutoff=2)
    if typos == 1 or (typos == 2 and length > 5):
        return int(typos)
    if is_last and length > 3 and typos:
        beginnings = (word[: length + more] for more in (-1, 0, 1))
        if any(OSA.distance(typed, each, score_cutoff=1) == 1 for each in beginnings):
            return 2
    return 0
