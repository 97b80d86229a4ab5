"""A key for each use."""

from typing import get_args

from books_api.derived_keys import Use, get_keys, hkdf
from tests.conftest import KEY


def keys_of(app):
    with app.app_context():
        return {use: get_keys(use) for use in get_args(Use)}


def test_derivation_is_that_of_rfc_5869():
    derived = hkdf(b"\x0b" * 22, b"")  # its test case 3

    assert derived.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"


def test_every_use_has_another_key(app):
    keys = [KEY.encode(), *(key for keys in keys_of(app).values() for key in keys)]

    assert len(keys) == len(set(keys)) > 1


def test_key_before_the_secret_was_changed_comes_second(app, make_app):
    changed = make_app(jwt_secret_key=KEY[::-1], jwt_secret_key_previous=KEY)

    assert {use: keys[1:] for use, keys in keys_of(changed).items()} == keys_of(app)
