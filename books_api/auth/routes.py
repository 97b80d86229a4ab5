"""Accounts and sessions over HTTP."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from flask import request

from books_api.auth import lists, logins, refresh, resets, schemas, sessions, tokens, users
from books_api.auth.exceptions import InvalidKey, SignupClosed, WeakPassword
from books_api.auth.guard import identity, sent_by_admin, token_required
from books_api.auth.idempotency import idempotency_key, replay_headers
from books_api.auth.lockout import password_confirmed, remember
from books_api.auth.models import Role, User
from books_api.auth.signup import sign_up
from books_api.config import AUTH_BODY_MAX, current_settings
from books_api.web.fields import PageQuery
from books_api.web.openapi import PAGE, REPLAYED, Blueprint, problems, request_headers
from books_api.web.pagination import link_next
from books_api.web.rate_limits import client_network, limited

blueprint = Blueprint("auth", __name__, description="Accounts, sessions and tokens")


@blueprint.before_request
def limit_body() -> None:
    request.max_content_length = AUTH_BODY_MAX


def user_id() -> str:
    return identity().user_id


@blueprint.route("/signup", methods=["POST"])
@blueprint.arguments(schemas.SignupSchema())
@blueprint.response(201, schemas.UserSchema, headers=REPLAYED)
@problems(401, 403, 409)
@request_headers("Idempotency-Key")
@limited("signup_limit", spare=(WeakPassword, InvalidKey))
def signup(values: dict[str, Any]) -> tuple[Any, int, dict[str, str]]:
    """Create an account

    Email and username are unique regardless of case. Where sign-up is closed, only admins create
    accounts, with their token. With an `Idempotency-Key` it may be sent again.
    """
    if not current_settings().signup_enabled and not sent_by_admin():
        raise SignupClosed
    user, is_replay = sign_up(values, key=idempotency_key(), network=client_network())
    return user, 201, replay_headers(is_replay)


@blueprint.route("/login", methods=["POST"])
@blueprint.arguments(schemas.LoginSchema())
@blueprint.response(200, schemas.LoginAnswerSchema)
@problems(401)
@limited("login_limit")
def login(credentials: dict[str, str]) -> dict[str, Any]:
    """Log in

    Opens a session. The access token lives for minutes, the refresh token for days.
    """
    agent, network = request.user_agent.string, client_network()
    user, pair = logins.login(**credentials, user_agent=agent, network=network)
    return {"message": "Logged in.", "user": user, **asdict(pair)}


@blueprint.route("/refresh-token", methods=["GET"])
@limited("refresh_limit")
@token_required("refresh")
@blueprint.response(200, schemas.AccessTokenSchema)
def get_access_token() -> tokens.AccessToken:
    """Get another access token

    Changes nothing: the refresh token stays valid.
    """
    return refresh.new_access_token(identity())


@blueprint.route("/refresh-token", methods=["POST"])
@limited("refresh_limit")
@token_required("refresh")
@blueprint.response(200, schemas.TokenPairSchema)
def rotate_refresh_token() -> sessions.TokenPair:
    """Exchange the refresh token

    The refresh token is spent. If the answer is lost, send it again within 30 seconds for the same
    answer. Used later, or after its successor, it counts as stolen and ends the session.
    """
    return refresh.rotate(identity())


@blueprint.route("/logout", methods=["POST"])
@token_required("access", "refresh")
@blueprint.response(200, schemas.MessageSchema)
def logout() -> dict[str, str]:
    """Log out

    Ends the session: its access tokens and its refresh token are revoked. After a lost answer,
    send it again: 401 `token-revoked` means that the session has ended.
    """
    sessions.logout(identity())
    return {"message": "Logged out."}


@blueprint.route("/logout-all", methods=["POST"])
@token_required(login=True)
@blueprint.response(200, schemas.MessageSchema)
def logout_all() -> dict[str, str]:
    """Log out everywhere

    Ends all of your sessions, including those of scripts.
    """
    users.logout_everywhere(identity())
    return {"message": "Logged out everywhere."}


@blueprint.route("/sessions", methods=["GET"])
@token_required()
@blueprint.arguments(PageQuery(), location="query")
@blueprint.response(200, schemas.SessionSchema(many=True), headers=PAGE)
@problems(422)
def list_sessions(query: dict[str, Any]) -> tuple[Any, int, dict[str, str]]:
    """List your sessions

    Live sessions, newest first: logins and named tokens for scripts. The `Link` header leads to
    the next page.
    """
    count = query.pop("count")
    page = lists.list_sessions(identity(), **query)
    headers = link_next(page.cursor)
    if count != "false":
        headers["X-Total-Count"] = str(lists.count_sessions(identity()))
    return page.rows, 200, headers


@blueprint.route("/sessions", methods=["POST"])
@token_required(login=True)
@blueprint.arguments(schemas.ScriptTokenRequestSchema())
@blueprint.response(201, schemas.ScriptTokenSchema, headers=REPLAYED)
@problems(409)
@request_headers("Idempotency-Key")
@limited("session_limit", by=user_id, spare=(InvalidKey,))
def create_script_token(values: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Create a token for a script

    The token is shown once and cannot be refreshed. End its session to revoke it. With an
    `Idempotency-Key` the request may be sent again: it makes one token.
    """
    agent, key = request.user_agent.string, idempotency_key()
    answer, is_replay = logins.create_script_token(identity(), values, user_agent=agent, key=key)
    return answer, 201, replay_headers(is_replay)


@blueprint.route("/sessions/<uuid:session_id>", methods=["DELETE"])
@token_required(login=True)
@blueprint.response(204)
@limited("session_limit", by=user_id)
def end_session(session_id: UUID) -> None:
    """End one of your sessions

    Its tokens are revoked: of a lost device, or of a script that is no longer needed. After a lost
    answer, send it again: 404 means that the session has ended.
    """
    sessions.end_session(identity(), session_id)


@blueprint.route("/password", methods=["POST"])
@token_required(login=True)
@blueprint.arguments(schemas.PasswordChangeSchema())
@blueprint.response(200, schemas.TokenPairSchema)
@password_confirmed
def change_password(values: dict[str, str]) -> sessions.TokenPair:
    """Change your password

    Ends all other sessions; the answer has new tokens for this one. If the answer is lost, log in
    with the new password; if that is refused, the old one still holds: begin again with it.
    """
    return users.change_password(identity(), **values)


@blueprint.route("/password-reset", methods=["POST"])
@blueprint.arguments(schemas.PasswordResetSchema())
@blueprint.response(204)
@limited("password_reset_limit", spare=(WeakPassword,))
def reset_password(values: dict[str, str]) -> None:
    """Set a new password with a reset token

    The operator issues the token; it works once, within 24 hours. All sessions end. If the answer
    is lost, log in with the new password.
    """
    user = resets.reset_password(**values)
    remember(str(user), client_network())  # no stranger locks out who has just been let in again


@blueprint.route("/users", methods=["GET"])
@token_required(login=True, role=Role.ADMIN)
@blueprint.arguments(schemas.UserQuery(), location="query")
@blueprint.response(200, schemas.UserSchema(many=True), headers=PAGE)
@problems(422)
def list_users(query: dict[str, Any]) -> tuple[Any, int, dict[str, str]]:
    """List users

    For admins. Newest first unless sorted; the `Link` header leads to the next page.
    """
    count = query.pop("count")
    page = lists.list_users(**query)
    headers = link_next(page.cursor)
    if count != "false":
        headers["X-Total-Count"] = str(lists.count_users())
    return page.rows, 200, headers


@blueprint.route("/users/<uuid:user_id>", methods=["GET"])
@token_required(login=True, role=Role.ADMIN)
@blueprint.response(200, schemas.UserSchema)
def get_user(user_id: UUID) -> User:
    """Read a user

    For admins.
    """
    return users.get_user(user_id)


@blueprint.route("/users/<uuid:user_id>", methods=["PATCH"])
@token_required(login=True, role=Role.ADMIN)
@blueprint.arguments(schemas.UserUpdateSchema())
@blueprint.response(200, schemas.UserSchema)
@problems(409)
def update_user(changes: dict[str, Any], user_id: UUID) -> User:
    """Change a user

    For admins. A new role, or is_active, ends the user's sessions at once.
    """
    return users.update_user(user_id, changes, editor=identity())
