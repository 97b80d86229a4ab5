"""A process of the application that does what its standard input says, a line at a time."""

import json
import sys

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from books_api import create_app
from books_api.auth import blocklist_refill


def fill(app):
    with app.app_context():
        try:
            return blocklist_refill.fill()
        except (RedisError, SQLAlchemyError) as error:
            return repr(error)


def main():
    app = create_app()
    for line in sys.stdin:
        number, order = json.loads(line)
        result = app.test_client().open(**order).status_code if order else fill(app)
        sys.stdout.write(json.dumps([number, result]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
