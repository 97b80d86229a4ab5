"""Production entry: `gunicorn wsgi:app`, and `flask` with FLASK_APP=wsgi."""

import os
import sys
from pathlib import Path

from books_api import create_app
from books_api.cli import is_help_wanted, make_help_app, read_env_file
from books_api.cli_errors import FAILED
from books_api.config import ConfigError

try:
    read_env_file(Path(__file__).with_name(".env"))
    app = make_help_app() if is_help_wanted() else create_app()
except ConfigError as error:
    print(f"Error: {error}", file=sys.stderr)
    # 3 is gunicorn's own status for "failed to boot": any other makes it try for ever.
    sys.exit(FAILED if "FLASK_RUN_FROM_CLI" in os.environ else 3)
