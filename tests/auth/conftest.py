"""Fixtures for the tests of accounts and sessions."""

from itertools import dropwhile
from uuid import UUID

import pytest
from redis import Redis

from books_api.auth import resets, sessions, users
from books_api.auth.models import User
from books_api.extensions import db


@pytest.fixture
def open_session(app):
    """Open another session of an account; returns its pair of tokens."""

    def open_session(account, user_agent="tests"):
        with app.app_context():
            pair = sessions.open_session(
                db.session.get(User, UUID(account.id)), user_agent=user_agent
            )
            db.session.commit()
            return pair

    return open_session


@pytest.fixture
def make_reset_token(app):
    """Make a token that resets the password of an account."""

    def make(account):
        with app.app_context():
            return resets.make_reset_token(users.get_user(UUID(account.id)))

    return make


@pytest.fixture
def commands(servers, app):
    """Return what a function makes the application send to Redis."""

    def commands(function):
        probe, watcher = (Redis.from_url(servers.redis.url) for _ in range(2))
        with probe, watcher, watcher.monitor() as monitor:
            probe.echo("begin")
            function()
            probe.echo("end")
            seen = iter(lambda: monitor.next_command()["command"], "ECHO end")
            return list(dropwhile(lambda command: command != "ECHO begin", seen))[1:]

    return commands
