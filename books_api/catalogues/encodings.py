"""From the bytes of a catalogue to lines of text: the encoding is recognised, lines are bounded."""

import codecs
import re
import zlib
from collections.abc import Iterator
from io import TextIOWrapper
from typing import IO, NamedTuple

from books_api.catalogues.exceptions import UnreadableCatalogue

LINE_MAX = 1024 * 1024  # characters: a file of one endless line costs no memory
SAMPLE = 1024 * 1024  # bytes
BROKEN = re.compile("[\udc80-\udcff]")  # how surrogateescape shows a byte that is no UTF-8
BEYOND_ASCII = re.compile("[^\0-\x7f]")


class Encoding(NamedTuple):
    """An encoding, and what becomes of what is none: a lone surrogate, which is refused later."""

    name: str
    codec: str
    errors: str


# Bytes of Windows-1252 make sense as UTF-8 next to never, so the order decides.
UTF_8 = Encoding("UTF-8", "utf-8", "surrogatepass")
BROKEN_UTF_8 = Encoding("UTF-8 with broken bytes", "utf-8", "surrogateescape")
UTF_8_BOM = Encoding("UTF-8 with BOM", "utf-8-sig", "surrogateescape")
UTF_16 = Encoding("UTF-16", "utf-16", "surrogatepass")
WINDOWS_1252 = Encoding("Windows-1252", "cp1252", "strict")


def open_text(raw: IO[bytes], name: str | None = None) -> tuple[TextIOWrapper, str]:
    """Return the text of a seekable binary file, and the name of its encoding.

    It is recognised when no name of a codec is given. Raises UnreadableCatalogue.
    """
    try:
        encoding = _recognise(raw) if name is None else _named(raw, name)
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
        raise UnreadableCatalogue(
            f"The file cannot be read behind line {number}: {error}."
        ) from None


def _recognise(raw: IO[bytes]) -> Encoding:
    raw.seek(0)
    start = raw.read(SAMPLE)
    if start.startswith(codecs.BOM_UTF8):
        return UTF_8_BOM
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        if _decodes(raw, UTF_16):
            return UTF_16
        raise UnreadableCatalogue("The file begins as UTF-16 and is not.")
    # A single NUL further on is a cell's: its record is refused, and the file is not.
    if b"\0" in start.partition(b"\n")[0] or start.count(0) * 20 > len(start):
        raise UnreadableCatalogue("The file is binary, neither CSV nor JSON Lines.")
    if len(start) == SAMPLE and b"\n" not in start and b"\r" not in start:
        raise UnreadableCatalogue(f"Line 1 is longer than {SAMPLE:,} bytes.")
    for encoding in (UTF_8, BROKEN_UTF_8, WINDOWS_1252):
        if _decodes(raw, encoding):
            return encoding
    raise UnreadableCatalogue("The file is neither UTF-8, UTF-16 nor Windows-1252.")


def _named(raw: IO[bytes], name: str) -> Encoding:
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):
        raise UnreadableCatalogue(f"No encoding is called {name!a}.") from None
    encoding = Encoding(name, codec.name, "strict")
    if not codec._is_text_encoding or not _decodes(raw, encoding):
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
            if encoding is BROKEN_UTF_8:
                broken += len(BROKEN.findall(text))
                letters += len(BEYOND_ASCII.findall(text))
    except UnicodeDecodeError:
        return False
    return letters >= 2 * broken  # more good letters than broken bytes, which count as both
