"""Wrong passwords: how many an account may have, without locking its owner out.

Only wrong ones count. By account and network they are few (login_account_limit), so that nobody
guesses fast; by account alone there may be more (login_account_total_limit), so that a thousand
networks guess no faster than a few. Both would let strangers lock the owner out, so neither holds
where the owner has proved to be: a network from which the account has logged in lately has a count
of its own, which no stranger reaches, and so have the account's sessions. See docs/security.md.
"""

import hashlib
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial, wraps
from typing import Any, cast

from books_api.auth.exceptions import WrongCredentials, WrongPassword
from books_api.auth.guard import identity
from books_api.derived_keys import get_keys
from books_api.extensions import redis
from books_api.web.openapi import View, problems
from books_api.web.problems import RateLimited
from books_api.web.rate_limits import client_network, limits

TIGHT, LOOSE = "login_account_limit", "login_account_total_limit"
KNOWN_NETWORKS = 20  # for each account, the last ones
KNOWN_SECONDS = 90 * 24 * 3600


@contextmanager
def attempt(account: str, network: str, *, in_session: bool = False) -> Iterator[None]:
    """Count a try at an account's password unless it is right. Raises RateLimited."""
    who = _digest(account)
    here, anywhere = (TIGHT, who, network), (LOOSE, who)
    counted: list[tuple[str, ...]]
    also: list[tuple[str, ...]] = []  # a session's guesses use up those of logins, not the reverse
    if in_session:
        counted, also = [(TIGHT, who, "session")], [here, anywhere]
    elif _is_known(who, network):
        counted = [(LOOSE, who, network)]
    else:
        counted = [here, anywhere]
    for key in counted:
        limits().count(*key)
    try:
        yield
    except (WrongCredentials, WrongPassword):
        counted = []
        for key in also:
            with suppress(RateLimited):
                limits().count(*key)
        raise
    finally:
        for key in counted:
            limits().give_back(*key)
    remember(account, network)


def password_confirmed(view: View) -> View:
    """Count the view as a try at the password of the user, if the body has one."""

    @wraps(view)
    def wrapper(values: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if "current_password" not in values:
            return view(values, *args, **kwargs)
        with attempt(identity().user_id, client_network(), in_session=True):
            return view(values, *args, **kwargs)

    return problems(429)(cast(View, wrapper))


def remember(account: str, network: str) -> None:
    """Know the network from now on as one where the account's owner has proved to be."""
    key, member = _known_networks(_digest(account)), _digest(network)

    def store() -> bool:
        with redis.client.pipeline() as pipe:
            pipe.zadd(key, {member: time.time()})
            pipe.zremrangebyrank(key, 0, -1 - KNOWN_NETWORKS)
            pipe.expire(key, KNOWN_SECONDS)
            return bool(pipe.execute())

    limits().ask_redis(store)  # without Redis it is not known, which is the stricter rule


def _is_known(who: str, network: str) -> bool:
    ask = partial(redis.client.zscore, _known_networks(who), _digest(network))
    learned_at = limits().ask_redis(ask)
    return learned_at is not None and float(learned_at) > time.time() - KNOWN_SECONDS


def _known_networks(who: str) -> str:
    return f"{{books}}:networks:{who}"


def _digest(value: str) -> str:
    # Keyed: whoever reads Redis could try all addresses, and known emails.
    key, *_ = get_keys("attempt")
    return hmac.digest(key, value.encode(), hashlib.sha256).hex()[:32]
