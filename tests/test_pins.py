"""The pins: compiled from their inputs by `make pins`, each with the hashes of its files."""

import re
from importlib.metadata import requires

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.processes import ROOT

FILES = ["requirements", "requirements-dev"]


def inputs(name: str) -> list[Requirement]:
    """Return what an input asks for, with what it includes."""
    found = []
    for line in (ROOT / f"{name}.in").read_text().splitlines():
        if line.startswith("-r "):
            found += inputs(line.removeprefix("-r ").removesuffix(".in"))
        elif line and not line.startswith("#"):
            found.append(Requirement(line))
    return found


def pins(name: str) -> dict[str, Requirement]:
    text = (ROOT / f"{name}.txt").read_text()
    found = [Requirement(line) for line in re.findall(r"(?m)^(\w[^\\\n]*?) *\\?$", text)]
    return {canonicalize_name(pin.name): pin for pin in found}


def applies(requirement: Requirement, extras: set[str]) -> bool:
    if requirement.marker is None:
        return True
    environment = {str(name): str(value) for name, value in default_environment().items()}
    return any(requirement.marker.evaluate({**environment, "extra": e}) for e in extras or {""})


def closure(wanted: list[Requirement]) -> set[str]:
    """Return the packages that these need here, by what is installed."""
    found: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        requirement = wanted.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key not in found:
            found.add(key)
            for line in requires(requirement.name) or []:
                needed = Requirement(line)
                if applies(needed, requirement.extras):
                    wanted.append(needed)
    return {name for name, _ in found}


@pytest.mark.parametrize("name", FILES)
def test_the_pins_are_what_the_input_needs_and_nothing_else(name):
    here = {pin for pin, requirement in pins(name).items() if applies(requirement, set())}

    assert here == closure([wanted for wanted in inputs(name) if applies(wanted, set())])


@pytest.mark.parametrize("name", FILES)
def test_each_pin_is_one_release_with_the_hashes_of_its_files(name):
    text = (ROOT / f"{name}.txt").read_text()
    blocks = re.findall(r"(?m)^\w.*(?:\\\n +--hash=sha256:[0-9a-f]{64} *)+$", text)

    assert len(blocks) == len(pins(name))
    assert all(str(pin.specifier).startswith("==") for pin in pins(name).values())


def test_development_has_the_releases_of_production():
    production, development = pins("requirements"), pins("requirements-dev")

    assert {name: str(development[name].specifier) for name in production} == {
        name: str(pin.specifier) for name, pin in production.items()
    }


@pytest.mark.parametrize("name", FILES)
def test_no_pin_names_a_package_index(name):
    assert not re.search(r"://|--(extra-)?index|--find-links", (ROOT / f"{name}.txt").read_text())
