"""The tables of data beside this module, and the form in which their words are compared."""

import re
import tomllib
from pathlib import Path
from typing import Any
from unicodedata import combining, normalize

BEYOND_ASCII = re.compile("[^\0-\x7f]")
BROKEN = re.compile("[\udc80-\udcff]")  # how surrogateescape shows a byte that is no text


def load_table(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(name).read_text("utf-8"))


def without_accents(text: str) -> str:
    if text.isascii():
        return text
    return "".join(letter for letter in normalize("NFKD", text) if not combining(letter))


WORDS = load_table("import_words.toml")
