"""The benchmarks run: what nobody runs for months does not work when it is needed."""

import re
from pathlib import Path

import pytest

from tests.processes import ROOT, clean_environ, run

pytestmark = pytest.mark.long


def test_the_ratio_to_the_floor_is_measured_for_each_request(tmp_path: Path) -> None:
    result = run(
        ["-m", "benchmarks", "ratio", "--quick"],
        cwd=ROOT,
        env=clean_environ(tmp_path, TMPDIR=str(tmp_path)),
    )

    assert result.returncode == 0, result.stderr
    rows = re.findall(r"^\| (GET|POST) .*\| +([\d.]+) \|$", result.stdout, re.MULTILINE)
    assert [method for method, _ in rows] == ["GET", "GET", "POST"]
    assert all(0.5 < float(ratio) < 5 for _, ratio in rows)


def test_a_subject_that_there_is_not_is_refused(tmp_path: Path) -> None:
    result = run(["-m", "benchmarks", "speed"], cwd=ROOT, env=clean_environ(tmp_path))

    assert (result.returncode, result.stdout) == (2, "")
    assert "no subject speed" in result.stderr
