"""The README: short, and its picture drawn from the text beside it."""

import re

from tests.processes import ROOT

README = (ROOT / "README.md").read_text()


def test_readme_is_read_in_one_go():
    assert len(README.splitlines()) < 120


def test_picture_of_the_architecture_is_drawn_from_its_text():
    (name,) = re.findall(r"!\[.*\]\((docs/.*)\.svg\)", README)
    labels = re.findall(r'label="(.*?)"', (ROOT / f"{name}.dot").read_text())
    drawn = re.findall(r"<text.*?>(.*?)</text>", (ROOT / f"{name}.svg").read_text())

    assert sorted(line for label in labels for line in label.split(r"\n")) == sorted(drawn)


def test_what_the_readme_links_to_is_there():
    links = re.findall(r"\]\(([^)]+)\)", README)

    assert len(links) > 4
    assert [link for link in links if not (ROOT / link).exists()] == []
