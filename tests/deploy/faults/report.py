"""docs/reliability.md, whose figures are written by the tests when asked for by REPORT=1."""

import re

from tests.processes import ROOT

PAGE = ROOT / "docs" / "reliability.md"


def write_section(name: str, rows: str) -> None:
    """Replace what stands between the markers of the section."""
    pattern = rf"(?s)(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
    page, found = re.subn(pattern, lambda match: f"{match[1]}{rows}\n{match[2]}", PAGE.read_text())
    assert found == 1
    PAGE.write_text(page)
