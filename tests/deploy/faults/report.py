"""docs/reliability.md, whose figures are written by the tests when asked for by REPORT=1."""

import os
import re
from collections.abc import Collection

from tests.processes import ROOT

PAGE = ROOT / "docs" / "reliability.md"


def section_report(name: str, rows: Collection[str]) -> None:
    """Put the rows into the section when asked for by REPORT=1, in place of those of their name."""
    if not os.environ.get("REPORT"):
        return
    page = PAGE.read_text()
    found = re.search(rf"(?s)(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", page)
    assert found
    named = {row.split("|")[1]: row for row in [*found[0].splitlines(), *rows]}
    text = "".join(f"{row}\n" for row in named.values())
    PAGE.write_text(page[: found.start()] + text + page[found.end() :])
