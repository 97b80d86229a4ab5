"""What the tests of accounts and sessions share: forged tokens, rows, threads, held locks."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import jwt
import psycopg2
from sqlalchemy import text

from books_api import PREFIX
from books_api.extensions import db
from tests.conftest import KEY, bearer

AUTH = f"{PREFIX}/auth"
BOOKS = f"{PREFIX}/books"
REFRESH = f"{AUTH}/refresh-token"
NEW_PASSWORD = "a quite different passphrase"


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def forge(token, key=KEY, algorithm="HS256", headers=None, without=(), **changes):
    """Return the token with other claims, signed again: with the right key by default."""
    claims = {**claims_of(token), **changes}
    for name in without:
        del claims[name]
    payload = json.dumps(claims).encode()  # jwt.encode() would refuse what we need
    return jwt.api_jws.encode(payload, key, algorithm, headers=headers)


def get_me(client, token):
    return client.get(f"{AUTH}/me", headers=bearer(token))


def log_in(client, email, password="wrong password", address="192.0.2.1"):
    return client.post(
        f"{AUTH}/login",
        json={"email": email, "password": password},
        environ_overrides={"REMOTE_ADDR": address},
    )


def rotate(client, refresh_token):
    return client.post(REFRESH, headers=bearer(refresh_token))


def status_of(client, token):
    """Return the status with which a protected route answers the access or refresh token."""
    url = REFRESH if claims_of(token)["type"] == "refresh" else f"{BOOKS}/"
    return client.get(url, headers=bearer(token)).status_code


def execute(app, statement, **parameters):
    """Run one statement in Postgres; return its rows."""
    with app.app_context():
        result = db.session.execute(text(statement), parameters)
        rows = result.all() if result.returns_rows else []
        db.session.commit()
        return rows


def snapshot(app):
    """Return all that Postgres knows of accounts, sessions, revocations and books."""
    return {
        table: execute(app, f"SELECT * FROM {table} ORDER BY 1")
        for table in ("users", "sessions", "revocations", "books")
    }


def together(*calls):
    """Run the calls at once, a thread each; return their results in order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def elsewhere(function, *args, **kwargs):
    """Call the function in another thread, outside this one's application context."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args, **kwargs).result()


def eventually(condition, seconds):
    """Return whether the condition comes true within the seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Lock:
    """Locks that a statement takes in Postgres, kept until release()."""

    def __init__(self, servers, statement):
        self.holder = psycopg2.connect(servers.postgres.url)
        self.observer = psycopg2.connect(servers.postgres.url)
        self.observer.autocommit = True
        self.holder.cursor().execute(statement)

    def wait_for(self, number):
        """Return when so many connections wait for a lock."""
        assert eventually(lambda: self._waiting() >= number, 5), "nobody waits for the lock"

    def release(self, *, commit=False):
        (self.holder.commit if commit else self.holder.rollback)()

    def _waiting(self):
        with self.observer.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return cursor.fetchone()[0]


@contextmanager
def locked(servers, statement):
    """Hold back what needs the rows that the statement locks."""
    lock = Lock(servers, statement)
    try:
        yield lock
    finally:
        lock.holder.close()
        lock.observer.close()


def released_together(servers, statement, *calls, commit=False):
    """Run the calls, in their order, until each waits for what the statement locks; then end it.

    It is undone unless it is to be committed.
    """
    with locked(servers, statement) as lock, ThreadPoolExecutor(len(calls)) as pool:
        futures = []
        for number, call in enumerate(calls, 1):
            futures.append(pool.submit(call))
            lock.wait_for(number)
        lock.release(commit=commit)
        return [future.result() for future in futures]
