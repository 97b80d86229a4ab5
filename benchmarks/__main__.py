"""Measure what the application costs, and print it; with --write, into docs/performance.md too."""

import argparse
import importlib

from benchmarks import page, report

SUBJECTS = (
    "ratio",
    "parts",
    "startup",
    "served",
    "tail",
    "sizes",
    "search",
    "transfer",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subject", nargs="*", help=f"{', '.join(SUBJECTS)}; all if none is named")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="be done in seconds: a smoke test")
    how.add_argument("--write", action="store_true", help="write the page")
    arguments = parser.parse_args()
    if unknown := set(arguments.subject) - set(SUBJECTS):
        parser.error(f"no subject {', '.join(sorted(unknown))}")
    for name in arguments.subject or SUBJECTS:
        subject = importlib.import_module(f"benchmarks.{name}")
        result = subject.measure(arguments.quick)
        print(f"\n{name}\n\n{subject.describe(result)}")
        if bounds := subject.bounds(result):
            print(report.promises(bounds))
        if arguments.write:
            page.keep(name, result)
    if arguments.write:
        page.write(SUBJECTS)


if __name__ == "__main__":
    main()
