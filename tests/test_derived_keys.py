"""A key for each use."""

from books_api.derived_keys import get_keys, hkdf
from tests.conftest import KEY


def test_derivation_is_that_of_rfc_5869():
    derived = hkdf(b"\x0b" * 22, b"")  # its test case 3

    assert derived.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"


def test_every_use_has_another_key(app):
    with app.app_context():
        keys = [KEY.encode(), *(key for use in app.extensions["keys"] for key in get_keys(use))]

    assert len(keys) == len(set(keys)) > 1


def test_key_before_the_secret_was_changed_comes_second(app, make_app):
    changed = make_app(jwt_secret_key=KEY[::-1], jwt_secret_key_previous=KEY)

    assert all(
        changed.extensions["keys"][use][1:] == keys for use, keys in app.extensions["keys"].items()
    )
