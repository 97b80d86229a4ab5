"""An import that an operator watches: a bar on a terminal, elsewhere a line now and then."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from typing import IO, Any

import click
from sqlalchemy.exc import DBAPIError

from books_api.catalogues.importer import Report
from books_api.catalogues.rejects import Rejects
from books_api.catalogues.staging import ALREADY_THERE, IMPORTED, REJECTED, UPDATED
from books_api.cli_errors import fail, first_line
from books_api.web.problems import Problem

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


def run(
    run_import: Callable[..., Report], rejects: Rejects, progress: Progress, *, dry_run: bool
) -> Report:
    """Import batch by batch, each committed; say how far it came when it cannot go on."""
    report = Report()
    interrupts: list[int] = []

    def on_batch(so_far: Report) -> None:
        nonlocal report
        rejects.flush()
        report = deepcopy(so_far)
        progress.update(so_far)
        if interrupts:
            raise KeyboardInterrupt

    reason = ""
    with closing(rejects):
        try:
            # Ctrl-C waits for the end of a batch, or one could be committed and not reported.
            default = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
            try:
                run_import(on_outcome=rejects.add, on_batch=on_batch)
            finally:
                signal.signal(signal.SIGINT, default)
        except KeyboardInterrupt:
            reason = "interrupted"
        except (DBAPIError, Problem) as error:
            reason = first_line(error)
        except OSError as error:
            reason = f"{rejects.path}: {error.strerror}"
        progress.finish()
    if reason:
        fail(f"{reason.rstrip('.')}; {stopped(report, dry_run)}")
    return report


def stopped(report: Report, dry_run: bool) -> str:
    if dry_run:
        return "nothing was changed."
    others = [
        f", {report.counts[kind]:,} {kind}"
        for kind in (UPDATED, ALREADY_THERE)
        if report.counts[kind]
    ]
    return (
        f"{report.counts[IMPORTED]:,} imported{''.join(others)}, up to line {report.last_line:,}."
        " Run it again to finish the job."
    )


def summary(report: Report, *, dry_run: bool, with_updates: bool) -> str:
    """Return the counts, which add up, and the repairs."""
    would_be = "would be " * dry_run
    counts = [f"{report.counts[IMPORTED]:,} {would_be}imported"]
    counts += [f"{report.counts[UPDATED]:,} {would_be}updated"] * with_updates
    counts += [f"{report.counts[kind]:,} {kind}" for kind in (ALREADY_THERE, REJECTED)]
    lines = [f"{report.read:,} records: {', '.join(counts)}."]
    lines += [f"Repaired: {count:,} x {repair}." for repair, count in report.repairs.items()]
    return "\n".join(lines)
