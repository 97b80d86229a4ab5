"""Password hashing, bounded; and which passwords are too easily guessed."""

import threading
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files

from werkzeug.security import check_password_hash, generate_password_hash

from books_api.auth.exceptions import TooBusy, WeakPassword

PASSWORD_MIN = 8
PASSWORD_MAX = 128
METHOD = "scrypt:32768:8:3"  # OWASP, Password Storage Cheat Sheet: 32 MiB and 3 passes a hash
NOBODYS_HASH = METHOD + "$salt$"  # takes as long to check as any other, and no password has it
# Passwords that may wait in this process while one is hashed. Eight people who log in at the same
# moment may all meet the same process; the last waits two seconds. deploy/gunicorn.conf.py leaves
# threads for everything else.
WAITING = 7

# With digits and signs left out; PASSWORD_WORDS adds the organisation's own.
PRODUCT_WORDS = frozenset(("book", "books", "bookapi", "booksapi", "catalogue", "library"))

_admission = threading.BoundedSemaphore(1 + WAITING)
_hashing = threading.Lock()


@contextmanager
def _turn() -> Iterator[None]:
    # A hash takes a core for a quarter of a second. One at a time, and a short queue, leave
    # this process's other threads to everybody else.
    if not _admission.acquire(blocking=False):
        raise TooBusy
    try:
        with _hashing:
            yield
    finally:
        _admission.release()


def _normalize(password: str) -> str:
    return unicodedata.normalize("NFC", password)


def hash_password(password: str) -> str:
    """Return a salted scrypt hash (NIST SP 800-63B, 5.1.1.2). Raises TooBusy."""
    with _turn():
        return generate_password_hash(_normalize(password), METHOD)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Tell whether the password has this hash; None takes as long, and is False.

    Raises TooBusy.
    """
    with _turn():
        return check_password_hash(password_hash or NOBODYS_HASH, _normalize(password))


def is_outdated(password_hash: str) -> bool:
    """Tell whether the hash was made with other parameters than today's."""
    return not password_hash.startswith(METHOD + "$")


def check_password_strength(
    password: str,
    *,
    username: str,
    email: str,
    words: Collection[str] = (),
    field: str = "password",
) -> None:
    """Raise WeakPassword for one of the most common, the username, the email, or a known word."""
    folded = _normalize(password).casefold()
    if folded in common_passwords():
        raise WeakPassword("The password is one of the most common.", field=field)
    if folded in (username.casefold(), email.casefold(), email.partition("@")[0].casefold()):
        raise WeakPassword("The password must not be your username or your email.", field=field)
    letters = "".join(filter(str.isalpha, folded))
    if letters in PRODUCT_WORDS or letters in words:
        raise WeakPassword("The password must be more than the name of this service.", field=field)


@cache
def common_passwords() -> frozenset[str]:
    """Return those of the 10,000 most common passwords that have 8 characters or more."""
    text = files(__package__).joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("#!"))
