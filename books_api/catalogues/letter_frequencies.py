"""How likely a text is to be written in some languages: by it encodings are compared."""

import re
from collections import Counter
from math import exp, log
from unicodedata import category

from books_api.catalogues.tables import BEYOND_ASCII, WORDS

ROUNDS = 20  # in which the shares of the languages settle
# Natural logarithms of how often a thing is met, where it is no letter of a language.
_CONTROL, _SIGN, _IN_WORD, _PUNCTUATION, _CAPITAL, _MIXED, _LANGUAGE = 14, 10, 9, 5, 6, 6, 1.5
_KANA = re.compile("[\u3041-\u30ff\uff66-\uff9f]")

_frequencies: dict[str, dict[str, float]] = {}
for _language, _letters in WORDS["letters"].items():
    _total = sum(1 / rank for rank in range(2, len(_letters) + 2))  # after Zipf
    for _rank, _letter in enumerate(_letters, 2):
        _frequencies.setdefault(_letter, {})[_language] = 1 / _rank / _total


def likelihood(text: str) -> float:
    """Return the logarithm of the likelihood of a text's characters beyond ASCII."""
    found = 0.0
    letters: Counter[str] = Counter()
    text = f" {text} "
    for match in BEYOND_ASCII.finditer(text):
        letter, before, after = match[0], text[match.start() - 1], text[match.end()]
        kind = category(letter)
        if kind[0] in "LM":
            letters[letter.lower()[0]] += 1
            found -= _CAPITAL * (kind == "Lu" and before.islower())
            scripts = {_script(near) for near in (letter, before, after) if near.isalpha()}
            found -= _MIXED / (3 if "east" in scripts else 1) * (len(scripts) > 1)
        elif kind[0] == "C" and letter != "\u00ad":
            found -= _CONTROL
        elif (
            before.isalpha() and after.isalpha() and letter not in "\u2019\u00b7\u2010\u2011\u30fb"
        ):
            found -= _IN_WORD
        else:
            found -= _PUNCTUATION if kind[0] == "P" else _SIGN
    return found + _mixture(letters)


def _mixture(letters: Counter[str]) -> float:
    items = [
        (_languages(letter), exp(-9) if letter < "\u2e80" else exp(-13), count)
        for letter, count in letters.items()
    ]
    shares = dict.fromkeys({name for languages, _, _ in items for name in languages}, 1.0)
    for _ in range(ROUNDS):
        counts = dict.fromkeys(shares, 1e-3)
        for languages, floor, count in items:
            parts = {name: shares[name] * found for name, found in languages.items()}
            whole = sum(parts.values()) + floor
            for name, part in parts.items():
                counts[name] += count * part / whole
        shares = {name: count / letters.total() for name, count in counts.items()}
    spoken = sum(share > 0.02 for share in shares.values())
    return -_LANGUAGE * spoken + sum(
        count * log(sum(shares[name] * found for name, found in languages.items()) + floor)
        for languages, floor, count in items
    )


def _languages(letter: str) -> dict[str, float]:
    """Return how frequent a letter is in each language that has it."""
    if letter in _frequencies:
        return _frequencies[letter]
    if _KANA.match(letter):
        return {"ja": 0.6 / 90}
    found = {}
    if "\u4e00" <= letter <= "\ud7a3":
        for language, codec, first, last, number, share in WORDS["standards"]:
            code = letter.encode(codec, "replace")
            if len(code) == 2:
                is_frequent = first <= code[0] <= last
                found[language] = share / number / (1 if is_frequent else 50)
    return found


def _script(letter: str) -> str:
    if letter < "\u0250" or "\u1e00" <= letter <= "\u1eff":
        return "latin"
    return "greek" if letter < "\u0400" else "cyrillic" if letter < "\u0530" else "east"
