"""The configuration of deploy/, with password hashes that cost next to nothing.

A fuzzer makes hundreds of them, each a quarter of a second of a core.
"""

import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
globals().update(runpy.run_path(str(ROOT / "deploy" / "gunicorn.conf.py")))


def post_worker_init(worker: Any) -> None:
    from books_api.auth import passwords

    passwords.METHOD = "scrypt:1024:8:1"
    passwords.NOBODYS_HASH = passwords.METHOD + "$salt$"
