"""How results are shown: tables and bounds."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Bound(NamedTuple):
    """What is promised of a figure: to be at most, or at least, so much; and the aim beyond."""

    promise: str
    figure: float
    most: float | None = None
    aim: str = ""
    least: float = 0

    @property
    def is_met(self) -> bool:
        return self.least <= self.figure and (self.most is None or self.figure <= self.most)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table of Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *([shown(c) for c in r] for r in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def shown(cell: Any) -> str:
    """Return a text as it is, and a number with three digits that mean something."""
    if isinstance(cell, str):
        return cell
    return f"{cell:,.0f}" if cell >= 100 else f"{cell:.1f}" if cell >= 10 else f"{cell:.2f}"


def promises(bounds: Iterable[Bound]) -> str:
    """Return what is promised, what was measured, and whether it holds."""
    return table(
        ("promise", "measured", "bound", "aim", "holds"),
        [
            (
                bound.promise,
                bound.figure,
                f"at least {bound.least:,g}" if bound.most is None else f"at most {bound.most:,g}",
                bound.aim,
                "yes" if bound.is_met else "**no**",
            )
            for bound in bounds
        ],
    )
