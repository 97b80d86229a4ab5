"""Accounts and sessions over HTTP."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from flask import request

from books_api.auth import lists, logins, resets, service, sessions
from books_api.auth.attempts import password_confirmed, remember
from books_api.auth.exceptions import SignupDisabled, WeakPassword
from books_api.auth.guard import identity, role_required, sent_by_admin, token_required
from books_api.auth.models import Role, User
from books_api.auth.schemas import (
    AccessTokenSchema,
    LoginAnswerSchema,
    LoginSchema,
    MessageSchema,
    PasswordChangeSchema,
    PasswordResetSchema,
    ScriptTokenRequestSchema,
    ScriptTokenSchema,
    SessionSchema,
    SignupSchema,
    TokenPairSchema,
    UserQuery,
    UserSchema,
    UserUpdateSchema,
)
from books_api.auth.tokens import AccessToken
from books_api.config import AUTH_BODY_MAX, current_settings
from books_api.web.components import PAGE
from books_api.web.fields import PageQuery
from books_api.web.limits import client_network, limited
from books_api.web.openapi import Blueprint, problems
from books_api.web.pagination import link_next

blueprint = Blueprint("auth", __name__, description="Accounts, sessions and tokens")


@blueprint.before_request
def limit_body() -> None:
    request.max_content_length = AUTH_BODY_MAX


def user_id() -> str:
    return identity().user_id


def user_agent() -> str:
    """Return what the client calls itself."""
    return request.headers.get("User-Agent", "")


@blueprint.route("/signup", methods=["POST"])
@blueprint.arguments(SignupSchema())
@blueprint.response(201, UserSchema)
@problems(401, 403, 409)
@limited("signup_limit", spare=(WeakPassword,))
def signup(values: dict[str, Any]) -> User:
    """Create an account

    Email and username are unique regardless of case. Where sign-up is closed, only admins create
    accounts, with their token.
    """
    if not current_settings().signup_enabled and not sent_by_admin():
        raise SignupDisabled
    return service.create_user(**values)


@blueprint.route("/login", methods=["POST"])
@blueprint.arguments(LoginSchema())
@blueprint.response(200, LoginAnswerSchema)
@problems(401)
@limited("login_limit")
def login(credentials: dict[str, str]) -> dict[str, Any]:
    """Log in

    Opens a session. The access token lives for minutes, the refresh token for days.
    """
    user, pair = logins.login(**credentials, user_agent=user_agent(), network=client_network())
    return {"message": "Logged in.", "user": user, **asdict(pair)}


@blueprint.route("/refresh-token", methods=["GET"])
@limited("refresh_limit")
@token_required("refresh")
@blueprint.response(200, AccessTokenSchema)
def get_access_token() -> AccessToken:
    """Get another access token

    Changes nothing: the refresh token stays valid.
    """
    return sessions.new_access_token(identity())


@blueprint.route("/refresh-token", methods=["POST"])
@limited("refresh_limit")
@token_required("refresh")
@blueprint.response(200, TokenPairSchema)
def rotate_refresh_token() -> sessions.TokenPair:
    """Exchange the refresh token

    The refresh token is spent. If the answer is lost, send it again within 30 seconds for the same
    answer. Used later, or after its successor, it counts as stolen and ends the session.
    """
    return sessions.rotate(identity())


@blueprint.route("/logout", methods=["POST"])
@token_required("access", "refresh")
@blueprint.response(200, MessageSchema)
def logout() -> dict[str, str]:
    """Log out

    Ends the session: its access tokens and its refresh token are revoked.
    """
    sessions.logout(identity())
    return {"message": "Logged out."}


@blueprint.route("/logout-all", methods=["POST"])
@token_required(login=True)
@blueprint.response(200, MessageSchema)
def logout_all() -> dict[str, str]:
    """Log out everywhere

    Ends all of your sessions, including those of scripts.
    """
    service.logout_everywhere(identity())
    return {"message": "Logged out everywhere."}


@blueprint.route("/sessions", methods=["GET"])
@token_required()
@blueprint.arguments(PageQuery(), location="query")
@blueprint.response(200, SessionSchema(many=True), headers=PAGE)
@problems(422)
def list_sessions(query: dict[str, Any]) -> tuple[Any, int, dict[str, str]]:
    """List your sessions

    Live sessions, newest first: logins and named tokens for scripts. The `Link` header leads to
    the next page.
    """
    count = query.pop("count")
    page = lists.list_sessions(identity(), **query)
    headers = link_next(page.cursor)
    if count:
        headers["X-Total-Count"] = str(lists.count_sessions(identity()))
    return page.rows, 200, headers


@blueprint.route("/sessions", methods=["POST"])
@token_required(login=True)
@blueprint.arguments(ScriptTokenRequestSchema())
@blueprint.response(201, ScriptTokenSchema)
@problems(409)
@limited("session_limit", by=user_id)
def create_script_token(values: dict[str, Any]) -> dict[str, Any]:
    """Create a token for a script

    The token is shown once, cannot be refreshed, and may be read-only. End its session to revoke
    it.
    """
    session, token = logins.open_script_session(identity(), **values, user_agent=user_agent())
    return {**vars(session), "current": False, **asdict(token)}


@blueprint.route("/sessions/<uuid:session_id>", methods=["DELETE"])
@token_required(login=True)
@blueprint.response(204)
@limited("session_limit", by=user_id)
def end_session(session_id: UUID) -> None:
    """End one of your sessions

    Its tokens are revoked: of a lost device, or of a script that is no longer needed.
    """
    sessions.end_session(identity(), session_id)


@blueprint.route("/password", methods=["POST"])
@token_required(login=True)
@blueprint.arguments(PasswordChangeSchema())
@blueprint.response(200, TokenPairSchema)
@password_confirmed
def change_password(values: dict[str, str]) -> sessions.TokenPair:
    """Change your password

    Ends all other sessions; the answer has new tokens for this one.
    """
    return service.change_password(identity(), **values)


@blueprint.route("/password-reset", methods=["POST"])
@blueprint.arguments(PasswordResetSchema())
@blueprint.response(204)
@limited("password_reset_limit", spare=(WeakPassword,))
def reset_password(values: dict[str, str]) -> None:
    """Set a new password with a reset token

    The operator issues the token; it works once, within 24 hours. All sessions end.
    """
    user = resets.reset_password(**values)
    remember(str(user), client_network())  # no stranger locks out who has just been let in again


@blueprint.route("/users", methods=["GET"])
@token_required(login=True)
@role_required(Role.ADMIN)
@blueprint.arguments(UserQuery(), location="query")
@blueprint.response(200, UserSchema(many=True), headers=PAGE)
@problems(422)
def list_users(query: dict[str, Any]) -> tuple[Any, int, dict[str, str]]:
    """List users

    For admins. Newest first unless sorted; the `Link` header leads to the next page.
    """
    count = query.pop("count")
    page = lists.list_users(**query)
    headers = link_next(page.cursor)
    if count:
        headers["X-Total-Count"] = str(lists.count_users())
    return page.rows, 200, headers


@blueprint.route("/users/<uuid:user_id>", methods=["GET"])
@token_required(login=True)
@role_required(Role.ADMIN)
@blueprint.response(200, UserSchema)
def get_user(user_id: UUID) -> User:
    """Read a user

    For admins.
    """
    return service.get_user(user_id)


@blueprint.route("/users/<uuid:user_id>", methods=["PATCH"])
@token_required(login=True)
@role_required(Role.ADMIN)
@blueprint.arguments(UserUpdateSchema())
@blueprint.response(200, UserSchema)
@problems(409)
def update_user(changes: dict[str, Any], user_id: UUID) -> User:
    """Change a user

    For admins. A new role, or is_active, ends the user's sessions at once.
    """
    return service.update_user(user_id, changes, editor=identity())
