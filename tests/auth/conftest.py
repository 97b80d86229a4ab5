"""Fixtures for the tests of accounts and sessions."""

import os
import signal
from itertools import dropwhile
from uuid import UUID

import pytest
from redis import Redis

from books_api.auth import resets, service, sessions
from books_api.auth.models import User
from books_api.extensions import db, redis


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
            return resets.make_reset_token(service.get_user(UUID(account.id)))

    return make


@pytest.fixture
def silent_redis(app, redis_server):
    """Redis takes connections and answers nothing."""
    with app.app_context():
        process = redis.client.info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    yield
    os.kill(process, signal.SIGCONT)


@pytest.fixture
def events(caplog):
    """Return the security events of one kind that have been logged so far."""
    caplog.set_level("INFO", "books_api.security")

    def events(kind):
        return [
            record.fields
            for record in caplog.records
            if record.name == "books_api.security" and record.fields["event"] == kind
        ]

    return events


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
