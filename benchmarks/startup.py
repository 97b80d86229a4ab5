"""How soon a worker answers, and the memory that it takes."""

import re
import subprocess
import sys
import time
from dataclasses import replace
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.report import Bound, table
from benchmarks.servers import (
    ROOT,
    Deployment,
    catalogue,
    deployment,
    gunicorn,
    import_file,
    megabytes,
    requests,
    tree,
)

IMPORT = "import time; begun = time.perf_counter(); import wsgi; print(time.perf_counter() - begun)"


def measure(quick: bool) -> dict[str, float]:
    """Return seconds, and the megabytes of a worker that has answered some requests."""
    times, count = (2, 50) if quick else (9, 500)
    with TemporaryDirectory() as folder, deployment() as place:
        import_file(catalogue(), place.user_id)
        place = replace(place, python=production_python(folder))
        imports = median(import_wsgi(place) for _ in range(times))
        answers = []
        for _ in range(times):
            begun = time.perf_counter()
            with gunicorn(place, "--workers", "1") as served:
                answers.append(time.perf_counter() - begun)
                if len(answers) == times:
                    for _ in range(count):
                        for _, method, path, _ in requests():
                            if method == "GET":
                                served.get(path, place.token)
                    _, worker = tree(served.pid)
                    resident, own = megabytes(worker, "VmRSS"), megabytes(worker, "Pss")
        return {"import": imports, "answer": median(answers), "rss": resident, "pss": own}


def production_python(folder: str) -> str:
    """Return a Python with the packages of production: some load those of tests if they can."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = f"{folder}/bin/python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", ROOT / "requirements.txt"], check=True)
    return python


def import_wsgi(place: Deployment) -> float:
    result = subprocess.run(
        [place.python, "-c", IMPORT], cwd=ROOT, env=place.environ, capture_output=True, check=True
    )
    return float(re.findall(rb"[\d.]+", result.stdout)[-1])


def describe(result: dict[str, float]) -> str:
    return table(
        ("what", "value"),
        [
            ("import of wsgi, s", result["import"]),
            ("from the start of gunicorn to the first answer, s", result["answer"]),
            ("a worker's resident memory, MB", result["rss"]),
            ("its proportional share (PSS) beside the master, MB", result["pss"]),
        ],
    )


def bounds(result: dict[str, float]) -> list[Bound]:
    return [
        Bound("import of wsgi, s", result["import"], 0.6),
        Bound("a worker's resident memory, MB", result["rss"], 80),
    ]
