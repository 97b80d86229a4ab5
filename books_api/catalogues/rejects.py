"""What is left of an import: the rejected records, ready to be mended and imported again."""

import csv
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from books_api.catalogues.readers import Catalogue
from books_api.catalogues.records import Record
from books_api.catalogues.sources import REJECTED_COLUMNS
from books_api.catalogues.staging import REJECTED, Outcome

SHOWN = 20  # of a dry run, which writes no file
# What is no text came as lone surrogates, and leaves as them.
_open_text = partial(open, encoding="utf-8", errors="surrogatepass", newline="")


class Rejects:
    """Rejected records: line, reason and the record as it was. No file when there are none.

    The file is `path`; where that cannot be written it is in the current folder, else in the
    temporary one: an import does not end half-way for it. A dry run has no path.
    """

    def __init__(self, path: Path | None, catalogue: Catalogue) -> None:
        self.path, self.header, self.count = path, catalogue.header, 0
        self.first: list[str] = []
        self._file: Any = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, record: Record, outcome: Outcome) -> None:
        if outcome.kind != REJECTED:
            return
        self.count += 1
        if self.path is None:
            if self.count <= SHOWN:
                self.first.append(f"Line {record.line}: {outcome.reason}")
            return
        if self._file is None:
            self._file = self._open(self.path)
            self._writer = csv.writer(self._file)  # RFC 4180; so it quotes a lone CR too
            self._writer.writerow([*REJECTED_COLUMNS, *self.header])
        self._writer.writerow([record.line, outcome.reason, *record.cells])

    def _open(self, path: Path) -> Any:
        # Elsewhere no file is replaced: one of the name may be what is imported.
        for self.path, mode in ((path, "w"), (Path(path.name), "x")):
            with suppress(OSError):
                return _open_text(self.path, mode=mode)
        number, name = tempfile.mkstemp(f".{path.name}"[-200:])
        self.path = Path(name)
        return _open_text(number, mode="w")

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def told(self) -> str:
        """Return where they are, or after a dry run the first of them."""
        if self.path is not None:
            return f"Rejected records are in {self.path}."
        rest = self.count - len(self.first)
        return "\n".join(self.first + [f"And {rest:,} more."] * bool(rest))
