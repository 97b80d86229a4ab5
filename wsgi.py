"""Production entry: `gunicorn wsgi:app`."""

import sys

from dotenv import load_dotenv

from books_api import create_app
from books_api.config import ConfigError

load_dotenv()
try:
    app = create_app()
except ConfigError as error:
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(3)  # gunicorn's own status for "failed to boot": any other makes it try for ever
