"""What is left of an import: the rejected records, ready to be mended and imported again."""

import csv
from pathlib import Path
from typing import Any

from books_api.catalogues.importer import REJECTED
from books_api.catalogues.readers import Catalogue
from books_api.catalogues.records import Record
from books_api.catalogues.sources import REJECTED_COLUMNS

SHOWN = 20  # of a dry run, which writes no file


class Rejects:
    """Rejected records: line, reason and the record as it was. No file when there are none."""

    def __init__(self, path: Path | None, catalogue: Catalogue) -> None:
        self.path, self.header, self.count = path, catalogue.header, 0
        self.first: list[str] = []
        self._file: Any = None

    def __enter__(self) -> "Rejects":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, record: Record, outcome: str, reason: str) -> None:
        if outcome != REJECTED:
            return
        self.count += 1
        if self.path is None:
            if self.count <= SHOWN:
                self.first.append(f"Line {record.line}: {reason}")
            return
        if self._file is None:
            # What is no text came as lone surrogates, and leaves as them.
            self._file = self.path.open("w", encoding="utf-8", errors="surrogatepass", newline="")
            self._writer = csv.writer(self._file)  # RFC 4180; so it quotes a lone CR too
            self._writer.writerow([*REJECTED_COLUMNS, *self.header])
        self._writer.writerow([record.line, reason, *record.cells])

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def told(self) -> str:
        """Return where they are, or after a dry run the first of them."""
        if self.path is not None:
            return f"Rejected records are in {self.path}."
        rest = self.count - len(self.first)
        return "\n".join(self.first + [f"And {rest:,} more."] * bool(rest))
