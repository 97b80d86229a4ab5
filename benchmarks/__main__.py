"""`python -m benchmarks [SUBJECT ...]`: measure, and print what was measured."""

import argparse
import importlib
import json

SUBJECTS = ("ratio",)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subject", nargs="*", choices=[*SUBJECTS, []], help="all if none is named")
    parser.add_argument("--quick", action="store_true", help="too short to mean anything")
    arguments = parser.parse_args()
    for subject in arguments.subject or SUBJECTS:
        result = importlib.import_module(f"benchmarks.{subject}").measure(arguments.quick)
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
