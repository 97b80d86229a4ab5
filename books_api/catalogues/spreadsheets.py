"""CSV for spreadsheet programs, which evaluate formulas and rewrite dates and long numbers.

A cell that one would not leave alone begins with an apostrophe more. The column MARK says that it
was put there, or '=1, a title in another file, would lose its own.
"""

import re

MARK = "escaped"
ENCODING = "utf-8-sig"  # Excel takes CSV without a byte order mark for Windows-1252
_FORMULA = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # the last four in full width
_REWRITTEN = re.compile(rf"'*([{_FORMULA}]|[0-9]{{4}}-[0-9-]+$|97[89][0-9]{{10}}$)")


def escape(cell: str) -> str:
    """Return the cell as a spreadsheet leaves it alone."""
    return f"'{cell}" if _REWRITTEN.match(cell) else cell


def unescape(cell: str) -> str:
    """Return what escape() was given."""
    return cell[1:] if cell[:1] == "'" and _REWRITTEN.match(cell, 1) else cell
