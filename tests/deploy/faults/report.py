"""docs/reliability.md, whose figures are written by the tests when asked for by REPORT=1."""

import os
import re
from collections.abc import Collection

from tests.processes import ROOT

PAGE = ROOT / "docs" / "reliability.md"


def section_report(name: str, rows: Collection[str]) -> None:
    """Put the rows, if any, between the markers of the section when asked for by REPORT=1."""
    if not os.environ.get("REPORT") or not rows:
        return
    text = "\n".join(rows)
    pattern = rf"(?s)(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
    page, found = re.subn(pattern, lambda match: f"{match[1]}{text}\n{match[2]}", PAGE.read_text())
    assert found == 1
    PAGE.write_text(page)
