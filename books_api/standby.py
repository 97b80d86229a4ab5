"""Reads that a standby may answer: what is older than LATE_MAX it has, or the primary is asked.

A process learns, while there are such reads, where the primary's log ends. Each statement demands
in its own round trip that whichever server runs it has replayed what the log had LATE_MAX ago. When
it fails, for any reason, the primary answers, from then on to the end of the request: no answer
goes back in time, if there is one standby. A probe in the background finds out when the standby can
be asked again; one that was slow is left alone for longer, for the probe itself asks for little.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg2
from flask import Flask, g
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from books_api.background import Background
from books_api.cli_errors import first_line
from books_api.database import STANDBY, Rows, Statement, pooled_rows
from books_api.extensions import db
from books_api.observability.metrics import LATE_READS

LATE_MAX = 1.0  # seconds
PROBE_SECONDS = 0.25
SLOW_SECONDS, LEFT_ALONE_SECONDS = 1.0, 10.0
POSITION = Statement(text(Path(__file__).with_name("standby_position.sql").read_text("utf-8")))
DEMAND = Path(__file__).with_name("standby_demand.sql").read_text("utf-8")

logger = logging.getLogger("books_api.standby")


class Standby:
    """What this process knows of the primary's log, and of the standby."""

    def __init__(self, app: Flask) -> None:
        self.fault: str | None = None  # "" when it answers; None before it was asked
        self._ends: tuple[tuple[float, dict[str, Any]], ...] = ()  # of the log, and when asked
        self._left_alone_until = 0.0
        self._probing = Background(app, self.probe, pause=PROBE_SECONDS)

    def rows(self, statement: str, parameters: Mapping[str, Any]) -> Rows | None:
        """Return the rows for a request that may be late; None when the primary is to be asked."""
        if not g.get("late"):
            return None
        self._probing.start()
        rows = self._ask(statement, parameters) if self.fault == "" else None
        g.late = rows is not None
        LATE_READS.labels(STANDBY if g.late else "primary").inc()
        return rows

    def probe(self) -> None:
        """Learn where the log ends and, unless it answers, whether the standby does."""
        asked = monotonic()
        with suppress(SQLAlchemyError):  # the primary is away: its own reads log it
            [(lsn, timeline)] = POSITION.rows()
            self._ends = (*self._ends[-4:], (asked, {"end_lsn": lsn, "end_timeline": timeline}))
        if self.fault != "" and asked > self._left_alone_until:
            self._ask("SELECT 1", {})

    def _ask(self, statement: str, parameters: Mapping[str, Any]) -> Rows | None:
        end = next((end for asked, end in self._ends if asked > monotonic() - LATE_MAX), None)
        if end is None:
            return None
        rows, fault, begun = None, "", monotonic()
        try:
            rows = pooled_rows(db.engines[STANDBY], DEMAND + statement, {**parameters, **end})
        except (psycopg2.Error, SQLAlchemyError) as error:
            if (getattr(error, "pgcode", None) or "").startswith("U"):
                raise  # a function of ours refuses, as it would on the primary
            fault = first_line(error) or "no reason given"
            if monotonic() - begun > SLOW_SECONDS:
                self._left_alone_until = begun + LEFT_ALONE_SECONDS
        if fault != self.fault and not (fault and self.fault):
            logger.warning("the standby is %s", f"not read from: {fault}" if fault else "read from")
        self.fault = fault
        return rows
