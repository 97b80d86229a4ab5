"""`flask users`: what an operator does to accounts."""

import json
import sys
from typing import Any

import click
from marshmallow import ValidationError

from books_api.auth import lists, resets, users
from books_api.auth.exceptions import UserNotFound, WeakPassword
from books_api.auth.models import Role, User
from books_api.auth.schemas import LoginSchema, SignupSchema, UserSchema
from books_api.cli_errors import USAGE, OperatorGroup, fail
from books_api.extensions import db
from books_api.web.pagination import LIMIT_MAX

group = OperatorGroup("users", help="Manage accounts.")
PASSWORD_STDIN = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of stdin."
)
ROLE = click.Choice([role.value for role in Role])


def read_password(from_stdin: bool) -> str:
    """Return the password: of stdin's first line, or asked for twice, hidden."""
    if from_stdin:
        try:
            return sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError:
            fail("password: Must be UTF-8.", USAGE)
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def check(**values: Any) -> dict[str, Any]:
    """Validate as the API does, in the same words; exit with 2 when something is wrong."""
    try:
        checked: dict[str, Any] = SignupSchema(only=tuple(values)).load(values)
    except ValidationError as error:
        lines = [f"{field}: {' '.join(texts)}" for field, texts in error.messages_dict.items()]
        fail(" ".join(lines), USAGE)
    return checked


def find_user(email: str) -> User:
    """Return the user as a login finds it; exit when there is none."""
    try:
        return users.find_user(LoginSchema(only=("email",)).load({"email": email})["email"])
    except (UserNotFound, ValidationError):
        fail(f"There is no user with the email {click.format_filename(email)}.")
    finally:
        db.session.close()  # while the operator is asked, or a file is read, no transaction waits


def printable(text: str) -> str:
    """Keep what strangers call themselves from moving the operator's cursor."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


@group.command()
@click.option("--email", required=True)
@click.option("--username", required=True)
@click.option("--first-name", default="")
@click.option("--last-name", default="")
@click.option("--role", type=ROLE, default=Role.USER.value, show_default=True)
@PASSWORD_STDIN
def create(password_stdin: bool, role: str, **values: str) -> None:
    """Create an account.

    Without --password-stdin the password is asked for twice, hidden.
    """
    checked = check(**values, password=read_password(password_stdin))
    try:
        user = users.create_user(**checked, role=Role(role))
    except WeakPassword as error:
        fail(f"password: {error}", USAGE)
    click.echo(f"Created {user.role} {user.email} with id {user.id}.")


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
def list_(as_json: bool) -> None:
    """List accounts, newest first."""
    schema = UserSchema()
    cursor = None
    if not as_json:
        click.echo(f"{'EMAIL':40} {'USERNAME':24} {'ROLE':6} {'ACTIVE':6} {'CREATED':10}")
    while True:
        page = lists.list_users(limit=LIMIT_MAX, cursor=cursor)
        for user in page.rows:
            if as_json:
                click.echo(json.dumps(schema.dump(user), ensure_ascii=False))
            else:
                active = "yes" if user.is_active else "no"
                click.echo(
                    f"{printable(user.email):40} {printable(user.username):24}"
                    f" {user.role:6} {active:6}"
                    f" {user.created_at:%Y-%m-%d}"
                )
        cursor = page.cursor
        if cursor is None:
            return


@group.command("set-role")
@click.argument("email")
@click.argument("role", type=ROLE)
def set_role(email: str, role: str) -> None:
    """Give the account a role; its sessions end."""
    users.update_user(find_user(email).id, {"role": role})
    click.echo(f"{email} has the role {role}.")


@group.command()
@click.argument("email")
def activate(email: str) -> None:
    """Let the account log in again."""
    users.update_user(find_user(email).id, {"is_active": True})
    click.echo(f"{email} is active.")


@group.command()
@click.argument("email")
def deactivate(email: str) -> None:
    """Keep the account from logging in; its sessions end."""
    users.update_user(find_user(email).id, {"is_active": False})
    click.echo(f"{email} is inactive; its sessions have ended.")


@group.command("set-password")
@click.argument("email")
@PASSWORD_STDIN
def set_password(email: str, password_stdin: bool) -> None:
    """Set the account's password; its sessions end."""
    user = find_user(email)
    password = check(password=read_password(password_stdin))["password"]
    try:
        users.set_password(user.id, password)
    except WeakPassword as error:
        fail(f"password: {error}", USAGE)
    click.echo(f"The password of {email} is set; its sessions have ended.")


@group.command("reset-link")
@click.argument("email")
@click.option("--page", metavar="URL", help="Where users set new passwords: prints a link to it.")
def reset_link(email: str, page: str | None) -> None:
    """Print a link, or a token, with which the user sets a new password.

    It works once, within 24 hours, and only until the account's sessions are ended otherwise. The
    page finds the token behind the link's #, which browsers never send to a server.
    """
    user = find_user(email)
    if not user.is_active:
        fail(f"{email} is inactive.")
    token = resets.make_reset_token(user)
    if not page:
        click.echo(
            'Send it as "token", with a "new_password", to POST /api/v1.0.0/auth/password-reset'
            " within 24 hours. With --page URL, a link is printed instead.",
            err=True,
        )
    click.echo(f"{page.partition('#')[0]}#token={token}" if page else token)


@group.command()
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(email: str, yes: bool) -> None:
    """Delete the account with its books; its tokens are dead."""
    user = find_user(email)
    if not yes:
        click.confirm(f"Delete {email} and all of its books?", abort=True)
    users.delete_user(user.id)
    click.echo(f"Deleted {email}.")
