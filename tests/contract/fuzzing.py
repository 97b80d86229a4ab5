"""Runs Schemathesis against a live server, and reads what it reports."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.processes import ROOT, Gunicorn

CONFIG = Path(__file__).with_name("schemathesis.toml")
TIMEOUT = 1_800  # seconds, for the longest of `make fuzz`


@dataclass
class Report:
    """What a run has found, and how far it has come."""

    succeeded: bool
    text: str
    path: Path
    operations: dict[str, str]  # ids, by method and path

    def count(self) -> int:
        """Return how many requests were sent."""
        return sum(len(scenario["cases"]) for scenario in self._scenarios())

    def accepted(self) -> set[str]:
        """Return the operations that have answered with 2xx."""
        return {
            self._operation(scenario, case)
            for scenario in self._scenarios()
            for case in scenario["cases"]
            if _is_accepted(scenario, case)
        } - {""}

    def chains(self) -> set[tuple[str, ...]]:
        """Return the chains of operations that links led through, each answered with 2xx."""
        return {
            chain
            for scenario in self._scenarios("stateful")
            for case in scenario["cases"]
            if (chain := self._follow(scenario, case))
        }

    def depth(self) -> int:
        """Return the length of the longest chain."""
        return max(map(len, self.chains()), default=0)

    def _scenarios(self, phase: str | None = None) -> Iterator[dict[str, Any]]:
        with self.path.open() as lines:
            for line in lines:
                event = json.loads(line).get("ScenarioFinished")
                if event and phase in (None, event["phase"]) and "cases" in event["recorder"]:
                    yield event["recorder"]

    def _operation(self, scenario: dict[str, Any], case: str) -> str:
        request = scenario["cases"][case]["value"]
        return self.operations.get(f"{request['method']} {request['path']}", "")

    def _follow(self, scenario: dict[str, Any], case: str) -> tuple[str, ...]:
        """Return the chain that ends with the case; nothing when one of it was not accepted."""
        about = scenario["cases"][case]
        last = (self._operation(scenario, case),)
        if not _is_accepted(scenario, case):
            return ()
        if about.get("parent_id") is None:
            return last
        before = self._follow(scenario, about["parent_id"])
        return before + last if before and about["is_transition_applied"] else ()


def _is_accepted(scenario: dict[str, Any], case: str) -> bool:
    response = scenario["interactions"].get(case, {}).get("response")
    return bool(response) and 200 <= response["status_code"] < 300


def operation_ids(document: dict[str, Any]) -> dict[str, str]:
    """Return the ids of the operations, by method and path."""
    return {
        f"{method.upper()} {path}": operation["operationId"]
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }


def fuzz(
    server: Gunicorn,
    document: dict[str, Any],
    *operations: str,
    role: str,
    seed: int,
    max_examples: int,
    folder: Path,
) -> Report:
    """Run all checks and phases of Schemathesis on the operations, or on all.

    `max_examples` is for each operation when it is fuzzed, and for chains of them.
    """
    path = folder / f"{role}-{seed}.ndjson"
    options = ["--seed", str(seed), "--max-examples", str(max_examples)]
    options += [f"--include-operation-id={operation}" for operation in sorted(operations)]
    result = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "--no-color"),
            *("run", f"{server.url}/openapi.json", "--report-ndjson-path", str(path), *options),
        ],
        cwd=ROOT,
        env={
            **server.environ,
            "CONTRACT_ROLE": role,
            "HYPOTHESIS_STORAGE_DIRECTORY": str(folder),
            "SCHEMATHESIS_HOOKS": "tests.contract.hooks",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Report(result.returncode == 0, result.stdout, path, operation_ids(document))
