"""From the bytes of a catalogue to lines of text: the encoding is recognised, lines are bounded."""

import codecs
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from encodings.aliases import aliases
from io import TextIOWrapper
from itertools import islice
from operator import itemgetter
from typing import IO, NamedTuple
from unicodedata import category

from charset_normalizer import from_bytes

from books_api.catalogues.exceptions import UnreadableCatalogue
from books_api.catalogues.letter_frequencies import likelihood
from books_api.catalogues.tables import BEYOND_ASCII, BROKEN, WORDS, load_table

LINE_MAX = 1024 * 1024  # characters: a file of one endless line costs no memory
SAMPLE = 1024 * 1024  # bytes
WORDS_MAX = 1_000  # beyond ASCII, from all over the file, by which its encoding is recognised
WORD_MAX = 1_000  # bytes
LINES_MAX, EXAMPLE_MAX = 50, 80  # lines looked at for one that tells candidates apart, their bytes
EXAMPLES_MAX = 4
NAME_IT = "Name it, as --encoding or in the parameter encoding."
CLEAR = 6.0  # by how much a reading must be likelier than the next; in trials 5 was too little
CONTROLS = bytes([*range(9), *range(14, 27), *range(28, 32)])  # that no text has
FOREIGN_MAX = 64 * 1024  # bytes by which a file that is no table is known
_FOREIGN = [
    (re.compile(pattern.encode("latin-1"), re.IGNORECASE | re.DOTALL), name, remedy)
    for pattern, name, remedy in load_table("foreign.toml")["formats"]
]
_BETWEEN_WORDS = re.compile(rb"[\0-/:;]+")  # no encoding has these as part of a letter
_TEXT_CODECS = {name for name in aliases.values() if not name.endswith("_codec")} - {
    "rot_13",
    "mbcs",
}


class Encoding(NamedTuple):
    """An encoding and its error handler. What it shows as lone surrogates is refused later."""

    name: str
    codec: str
    errors: str = "strict"


# The bytes of another encoding make sense as UTF-8 next to never, so the order decides.
UTF_8 = Encoding("UTF-8", "utf-8", "surrogatepass")
BROKEN_UTF_8 = Encoding("UTF-8 with broken bytes", "utf-8", "surrogateescape")
UTF_8_BOM = Encoding("UTF-8 with BOM", "utf-8-sig", "surrogateescape")
UTF_16 = Encoding("UTF-16", "utf-16", "surrogatepass")
ISO_2022_JP = Encoding("ISO-2022-JP", "iso2022_jp")  # ASCII, too


def open_text(raw: IO[bytes], name: str | None = None) -> tuple[TextIOWrapper, str]:
    """Return the text of a seekable file and its encoding. Raises UnreadableCatalogue."""
    try:
        raw.seek(0)
        start = raw.read(SAMPLE)
        _refuse_foreign(start)
        encoding = _recognise(raw, start) if name is None else _named(raw, name)
        raw.seek(0)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableCatalogue(f"The file cannot be read: {error}.") from None
    return TextIOWrapper(raw, encoding.codec, encoding.errors, newline=""), encoding.name


def read_lines(text: TextIOWrapper) -> Iterator[str]:
    """Yield the lines with their ends. Raises UnreadableCatalogue."""
    number = 0
    try:
        while line := text.readline(LINE_MAX + 1):
            number += 1
            if len(line) > LINE_MAX:
                raise UnreadableCatalogue(f"Line {number} is longer than {LINE_MAX:,} characters.")
            yield line
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        detail = f"The file cannot be read after line {number}: {error}."
        raise UnreadableCatalogue(detail) from None


def _refuse_foreign(start: bytes) -> None:
    start = start.removeprefix(codecs.BOM_UTF8)[:FOREIGN_MAX]
    for pattern, name, remedy in _FOREIGN:
        if pattern.match(start):
            raise UnreadableCatalogue(f"The file is {name}, not a table or JSON. {remedy}.")


def _recognise(raw: IO[bytes], start: bytes) -> Encoding:
    if start.startswith(codecs.BOM_UTF8):
        return UTF_8_BOM
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        if _decodes(raw, UTF_16):
            return UTF_16
        raise UnreadableCatalogue("The file begins like UTF-16 but is not.")
    if b"\0" in start and (encoding := _unmarked_utf_16(raw, start)):
        return encoding
    # A single NUL further on is a cell's: its record is refused, and the file is not.
    controls = len(start) - len(start.translate(None, CONTROLS))
    if b"\0" in start.partition(b"\n")[0] or controls * 20 > len(start):
        raise UnreadableCatalogue("The file is binary, neither CSV nor JSON.")
    if b"\x1b$" in start and _decodes(raw, ISO_2022_JP):
        return ISO_2022_JP
    is_json = start.lstrip()[:1] in (b"[", b"{")
    if len(start) == SAMPLE and not is_json and b"\n" not in start and b"\r" not in start:
        raise UnreadableCatalogue(f"Line 1 is longer than {SAMPLE:,} bytes.")
    for encoding in (UTF_8, BROKEN_UTF_8):
        if _decodes(raw, encoding):
            return encoding
    return _by_letters(raw)


def _unmarked_utf_16(raw: IO[bytes], start: bytes) -> Encoding | None:
    start = start[: len(start) // 2 * 2]
    is_little = start[1::2].count(0) > start[::2].count(0)
    name = "UTF-16-LE" if is_little else "UTF-16-BE"
    text = start.decode(name, "replace")
    kinds = {category(letter) for letter in text[:10_000] if letter not in "\t\r\n"}
    is_text = "\n" in text and kinds.isdisjoint(("Cc", "Cn", "Co", "Cs"))
    encoding = Encoding(name, name, "surrogatepass")
    return encoding if is_text and _decodes(raw, encoding) else None


def _by_letters(raw: IO[bytes]) -> Encoding:
    """Return the encoding in which the words of a file are clearly most likely.

    charset-normalizer must find it likely, too: alone it takes short Windows-1250 for
    Windows-1252. Raises UnreadableCatalogue with the most likely ones.
    """
    words, lines = _beyond_ascii(raw)
    sample = b"\n".join(words)
    readings: dict[str, tuple[float, str]] = {}
    for codec, prior in WORDS["encodings"].items():
        with suppress(UnicodeDecodeError):
            text = sample.decode(codec)
            reading = likelihood(text) + prior, codec
            # Of those that read the same, the first that is listed gives the name.
            readings[text] = max(readings.get(text, reading), reading, key=itemgetter(0))
    ranked = sorted(readings.items(), key=lambda reading: reading[1], reverse=True)
    fit = ((text, *found) for text, found in ranked if _decodes(raw, Encoding("", found[1])))
    found = list(islice(fit, EXAMPLES_MAX))
    if not words or not found:
        raise UnreadableCatalogue(f"The file is not text in any encoding known here. {NAME_IT}")
    text, likely, codec = found[0]
    is_clear = len(found) == 1 or likely - found[1][1] >= CLEAR
    if is_clear and text in map(
        str, from_bytes(sample, cp_isolation=[*WORDS["encodings"]], threshold=0.3)
    ):
        name = codec.upper().replace("CP125", "Windows-125").replace("_", "-")
        return Encoding(name, codec)
    candidates = [codec for _, _, codec in found]
    read = [[line.decode(codec, "replace") for codec in candidates] for line in lines]
    texts = next((texts for texts in read if len({*texts}) == len(texts)), read[0])
    shown = (f"{codec} ({_printable(text)})" for codec, text in zip(candidates, texts, strict=True))
    raise UnreadableCatalogue(f"The encoding may be {', or '.join(shown)}. {NAME_IT}")


def _beyond_ascii(raw: IO[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return different words that are not ASCII, from all over a file, and its first such lines."""
    words: dict[bytes, None] = {}
    lines: list[bytes] = []
    raw.seek(0)
    while chunk := raw.read(SAMPLE):
        for line in (chunk + raw.readline(SAMPLE)).splitlines():
            if line.isascii():
                continue
            if len(lines) < LINES_MAX:
                lines.append(line[:EXAMPLE_MAX])
            found = (word for word in _BETWEEN_WORDS.split(line) if not word.isascii())
            words.update(dict.fromkeys(word for word in found if len(word) <= WORD_MAX))
            if len(words) > 2 * WORDS_MAX:
                words = dict.fromkeys([*words][::2])
    return [*words], lines


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _named(raw: IO[bytes], name: str) -> Encoding:
    try:
        codec = codecs.lookup(name).name.replace("-", "_")
    except (LookupError, ValueError):
        codec = ""
    if codec == "iso8859_1":  # in it, people's files have the quotation marks of Windows
        codec = "cp1252"
    if codec not in _TEXT_CODECS:  # others take quadratic time, or lead to no text
        raise UnreadableCatalogue(f"No encoding is called {name[:40]!a}.")
    is_wide = codec.startswith("utf_") and codec != "utf_8"
    errors = "surrogatepass" if is_wide else "surrogateescape"
    encoding = Encoding(name, "utf-8-sig" if codec == "utf_8" else codec, errors)
    if not _decodes(raw, encoding):
        raise UnreadableCatalogue(f"The file is not {name}.")
    return encoding


def _decodes(raw: IO[bytes], encoding: Encoding) -> bool:
    # All of it: a letter that tells two encodings apart may stand on the last line.
    decoder = codecs.getincrementaldecoder(encoding.codec)(encoding.errors)
    broken = letters = 0
    raw.seek(0)
    try:
        chunk = b"?"
        while chunk:
            chunk = raw.read(SAMPLE)
            text = decoder.decode(chunk, final=not chunk)
            if encoding.errors == "surrogateescape":
                broken += len(BROKEN.findall(text))
                letters += len(BEYOND_ASCII.findall(text))
    except UnicodeError:
        return False
    return letters >= 2 * broken  # more good letters than broken bytes, which count as both
