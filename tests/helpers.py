"""What tests share: addresses, accounts and tokens, rows, pages, threads, held locks."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt
import psycopg2
from hypothesis import HealthCheck, settings
from sqlalchemy import text

from books_api import PREFIX
from books_api.auth.revocation import Entry, revoking
from books_api.extensions import db
from tests.conftest import KEY, PASSWORD, bearer
from tests.processes import wait_until

AUTH = f"{PREFIX}/auth"
BOOKS = f"{PREFIX}/books"
ME = f"{AUTH}/me"
REFRESH = f"{AUTH}/refresh-token"
SESSIONS = f"{AUTH}/sessions"
NOBODY = str(UUID(int=0))
MOMO = {"title": "Momo", "author": "Michael Ende"}
CAROL = {"username": "carol", "email": "carol@example.com", "password": PASSWORD}
NEW_PASSWORD = "a quite different passphrase"
USER_FIELDS = {
    *("id", "username", "email", "first_name", "last_name", "role", "is_verified", "is_active"),
    *("created_at", "updated_at"),
}
# For @given: the same examples in every run, and fixtures that last for all of them.
EXAMPLES = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


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


def sign_up(client, headers=None, **values):
    return client.post(f"{AUTH}/signup", json={**CAROL, **values}, headers=headers)


def log_in(client, email="alice@example.com", password=PASSWORD, address="192.0.2.1", **options):
    return client.post(
        f"{AUTH}/login",
        json={"email": email, "password": password},
        environ_overrides={"REMOTE_ADDR": address},
        **options,
    )


def fail_to_log_in(client, email, address="192.0.2.1"):
    return log_in(client, email, "wrong password", address)


def log_out(client, account):
    return client.post(f"{AUTH}/logout", headers=account.headers)


def log_out_everywhere(client, account):
    return client.post(f"{AUTH}/logout-all", headers=account.headers)


def end_session(client, account, token=None):
    """End the session of the token, as the account: its own by default."""
    session_id = claims_of(token or account.access_token)["sid"]
    return client.delete(f"{SESSIONS}/{session_id}", headers=account.headers)


def reuse_refresh_token(client, account):
    rotate(client, rotate(client, account.refresh_token).json["refresh_token"])
    return rotate(client, account.refresh_token)


def make_script_token(client, account, **values):
    values = {"name": "backup", "expires_in_days": 30, "read_only": True, **values}
    return client.post(SESSIONS, json=values, headers=account.headers)


def change_password(client, account, **values):
    values = {"current_password": PASSWORD, "new_password": NEW_PASSWORD, **values}
    return client.post(f"{AUTH}/password", json=values, headers=account.headers)


def reset_password(client, token, new_password=NEW_PASSWORD, **options):
    body = {"token": token, "new_password": new_password}
    return client.post(f"{AUTH}/password-reset", json=body, **options)


def delete_account(client, account, current_password=PASSWORD):
    return client.delete(ME, json={"current_password": current_password}, headers=account.headers)


def rotate(client, refresh_token):
    return client.post(REFRESH, headers=bearer(refresh_token))


def status_of(client, token):
    """Return the status with which a protected route answers the access or refresh token."""
    url = REFRESH if claims_of(token)["type"] == "refresh" else f"{BOOKS}/"
    return client.get(url, headers=bearer(token)).status_code


class Crash(Exception):
    pass


def entry_of(token, kind="sid", value=1):
    """Return what revokes the token: itself, its session or all that its user has."""
    claim = {"jti": "jti", "sid": "sid", "epoch": "sub"}[kind]
    key = f"{kind}:{claims_of(token)[claim]}"
    return Entry(key, value, datetime.now(UTC) + timedelta(hours=1))


def crash_while_revoking(app, entry, *, commit):
    with app.app_context(), suppress(Crash), revoking([entry], "logout"):
        if commit:
            db.session.commit()
        raise Crash


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


def next_link(response):
    """Return where the next page is (RFC 8288); None on the last."""
    link, _, rest = response.headers.get("Link", "").partition(">")
    assert rest in ("", '; rel="next"')
    return link.removeprefix("<") or None


def walk(client, account, url, after_page=lambda number: None):
    """Return what is on all pages of a list, led by Link alone."""
    found = []
    for number in range(100):
        response = client.get(url, headers=account.headers)
        assert response.status_code == 200, response.text
        found += response.json
        after_page(number)
        if (url := next_link(response)) is None:
            return found
    raise AssertionError("the pages do not end")


def ids_of(found):
    return [one["id"] for one in found]


def exceptions(expected, function, values):
    """Return for which of the values the function gives something else, and what."""
    results = ((value, function(value)) for value in values)
    return {repr(value)[:60]: result for value, result in results if result != expected}


def pointers_of(response):
    return [error["pointer"] for error in response.json["errors"]]


def together(*calls):
    """Run the calls at once, a thread each; return their results in order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def elsewhere(function, *args, **kwargs):
    """Call the function in another thread, outside this one's application context."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args, **kwargs).result()


@contextmanager
def within(seconds):
    """Assert that the block takes less than the seconds."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


class Lock:
    """Locks that a statement takes in Postgres, kept until release()."""

    def __init__(self, servers, statement):
        self.holder = psycopg2.connect(servers.postgres.url)
        self.observer = psycopg2.connect(servers.postgres.url)
        self.observer.autocommit = True
        self.holder.cursor().execute(statement)

    def wait_for(self, number):
        """Return when so many connections wait for a lock."""
        wait_until(lambda: self._waiting() >= number, 5)

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
