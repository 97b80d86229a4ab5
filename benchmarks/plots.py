"""The plots of docs/performance.md, as SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pygal
from pygal.style import CleanStyle

COLORS = "#1f77b4 #ff7f0e #2ca02c #d62728 #9467bd #8c564b #e377c2 #7f7f7f #bcbd22 #17becf"
STYLE = CleanStyle(
    font_family="sans-serif",
    legend_font_size=13,
    label_font_size=13,
    major_label_font_size=13,
    stroke_width=2,
    colors=tuple(COLORS.split()),
)
SHOWN = {
    "no_prefix": True,
    "js": (),
    "style": STYLE,
    "width": 900,
    "height": 560,
    "margin_right": 60,
    "legend_at_bottom": True,
    "legend_at_bottom_columns": 3,
    "truncate_legend": -1,
}


def draw_parts(result: Mapping[str, Any], folder: Path) -> None:
    """Draw the CPU of each request, part by part."""
    chart = pygal.HorizontalStackedBar(
        title="CPU of a request by part", x_title="microseconds", y_title="request", **SHOWN
    )
    chart.x_labels = list(result)
    for part in next(iter(result.values())):
        chart.add(part, [round(sum(values[part])) for values in result.values()])
    save(chart, folder / "performance-parts.svg")


def draw_sizes(result: Mapping[str, Any], folder: Path) -> None:
    """Draw cost against size: a plot for each kind of case, of the pages their medians."""
    kinds: dict[str, dict[str, Sequence[float]]] = {}
    pages: dict[str, list[Sequence[float]]] = {}
    for name, values in result["medians"].items():
        kind, _, case = name.partition(": ")
        if kind == "page":
            pages.setdefault(case.partition(",")[0], []).append(values)
        else:
            kinds.setdefault(kind, {})[case] = values
    for place, lines in pages.items():
        middle = [median(column) for column in zip(*lines, strict=True)]
        kinds["filter"] = {f"no filter, {place} page": middle, **kinds["filter"]}
    for kind, title in TITLES.items():
        chart = pygal.XY(
            title=title, x_title="books", y_title="milliseconds", logarithmic=True, **SHOWN
        )
        chart.x_labels = result["sizes"]
        chart.x_value_formatter = lambda value: f"{value:,.0f}"
        chart.value_formatter = lambda value: f"{value:,g}"
        every = [value for values in kinds[kind].values() for value in values]
        steps = [step * 10.0**power for power in range(-3, 5) for step in (1, 2, 5)]
        chart.y_labels = [y for y in steps if min(every) / 2.5 < y < max(every) * 2.5]
        for case, values in kinds[kind].items():
            chart.add(case, list(zip(result["sizes"], values, strict=True)))
        save(chart, folder / f"performance-{kind}.svg")


TITLES = {"filter": "A page of 20", "search": "A search's first page", "count": "count=true"}


def save(chart: Any, path: Path) -> None:
    """Write the chart without what changes each time: its script and its comments."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or child.tag.endswith("script"):
                parent.remove(child)
    path.write_text(pygal.etree.etree.tostring(root, encoding="unicode") + "\n")
