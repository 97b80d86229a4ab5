"""The tables of data beside this module, and the form in which their words are compared."""

import tomllib
from pathlib import Path
from typing import Any
from unicodedata import combining, normalize


def load_table(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(name).read_text("utf-8"))


def without_accents(text: str) -> str:
    if text.isascii():
        return text
    return "".join(letter for letter in normalize("NFKD", text) if not combining(letter))


WORDS = load_table("words.toml")
