"""How far an import is: a bar on a terminal, a line every few seconds elsewhere."""

import os
import sys
import time
from typing import IO, Any

import click

from books_api.catalogues.importer import Report

EVERY = 5.0  # seconds between two lines


class Progress:
    """Progress on stderr, by the position in the file as it lies on the disk; silence if quiet."""

    def __init__(self, raw: IO[bytes], quiet: bool) -> None:
        self.file, self.quiet = raw.fileno(), quiet
        self.size = os.fstat(self.file).st_size
        self.started = self.told = time.monotonic()
        self.bar: Any = None
        if not quiet and sys.stderr.isatty():
            self.bar = click.progressbar(length=self.size, label="Importing", file=sys.stderr)
            self.bar.__enter__()

    def update(self, report: Report) -> None:
        now = time.monotonic()
        rate = report.read / max(now - self.started, 0.001)
        position = min(os.lseek(self.file, 0, os.SEEK_CUR), self.size)
        if self.bar is not None:
            self.bar.label = f"Importing {rate:,.0f} records/s"
            self.bar.update(max(0, position - self.bar.pos))
        elif not self.quiet and now - self.told >= EVERY:
            self.told = now
            done = position / max(self.size, 1)
            click.echo(f"{report.read:,} records, {done:.0%}, {rate:,.0f} records/s", err=True)

    def finish(self) -> None:
        """Leave the line of the bar."""
        if self.bar is not None:
            self.bar.__exit__(None, None, None)
            self.bar = None
