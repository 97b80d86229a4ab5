"""`flask users`: what an operator does and is told."""

import json
import time
from uuid import UUID

import pytest

from tests.conftest import PASSWORD
from tests.helpers import (
    NEW_PASSWORD,
    exceptions,
    execute,
    log_in,
    reset_password,
    snapshot,
    status_of,
)

BAD_TEXTS = ["\0", "a\0b", "\udcff", "a\udcffb", "", " ", "\n", "x" * 10_000, "\u0958" * 50]
BAD_NAMES = ["\0", "a\0b", "\ud800", "a\udcffb", "x" * 101, "x" * 10_000]
BAD_COMMANDS = ["\0", "a\udcffb", "", "x" * 10_000]
CREATE = ["users", "create", "--email", "carol@example.com", "--username", "carol"]


def run(app, *arguments, **kwargs):
    return app.test_cli_runner().invoke(args=arguments, **kwargs)


def create(app, *arguments, stdin=f"{PASSWORD}\n"):
    return run(app, *CREATE, *arguments, "--password-stdin", input=stdin)


def assert_fails(result, status, *words):
    """Assert the status, one plain line on stderr with the words, and nothing on stdout."""
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert [word for word in words if word not in line] == []


# create


def test_operator_makes_a_user(app):
    result = create(app, "--first-name", "Carol", "--last-name", "Shaw")

    assert (result.exit_code, result.stderr) == (0, "")
    ((email, first_name, role),) = execute(app, "SELECT email, first_name, role FROM users")
    assert (email, first_name, role) == ("carol@example.com", "Carol", "user")
    assert log_in(app.test_client(), "carol@example.com").status_code == 200


def test_operator_makes_an_admin(app):
    result = create(app, "--role", "admin")

    assert result.exit_code == 0
    assert "admin" in result.stdout
    assert execute(app, "SELECT role FROM users") == [("admin",)]


def test_password_is_asked_for_twice_and_not_shown(app):
    result = run(app, *CREATE, input=f"{PASSWORD}\n{PASSWORD}\n")

    assert result.exit_code == 0
    assert ("Password:" in result.output, "Repeat" in result.output) == (True, True)
    assert PASSWORD not in result.output


def test_password_that_is_not_repeated_makes_no_user(app):
    result = run(app, *CREATE, input=f"{PASSWORD}\nanother one\n")

    assert result.exit_code == 1
    assert execute(app, "SELECT FROM users") == []


@pytest.mark.parametrize("ending", ["\n", "\r\n", "", "\nanother line\n"])
def test_password_is_the_first_line_of_stdin(app, ending):
    create(app, stdin=PASSWORD + ending)

    assert log_in(app.test_client(), "carol@example.com").status_code == 200


BAD_PASSWORDS = {  # and what is said of them
    "password": ["", "\n", "short\n", b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe\n"],
    "common": ["password\n"],
    "username": ["carol@example.com\n"],
    "128": ["x" * 129 + "\n", b"x" * 129],
    "NUL": ["nul\0nul\0nul\n", b"with a \0 in it\n"],
}


def test_bad_password_makes_no_user(app):
    for word, passwords in BAD_PASSWORDS.items():
        for password in passwords:
            assert_fails(create(app, stdin=password), 2, word)
    assert execute(app, "SELECT FROM users") == []


BAD_VALUES = {
    "--email": [*BAD_TEXTS, "nonsense", "nul\0@a.org", "\udcff@a.org"],
    "--username": [*BAD_TEXTS, "ab", "x" * 51, "nul\0nul", "\udcff" * 3],
    "--first-name": BAD_NAMES,
    "--last-name": BAD_NAMES,
}


@pytest.mark.parametrize("option", BAD_VALUES)
def test_bad_value_makes_no_user(app, option):
    for value in BAD_VALUES[option]:
        assert_fails(create(app, option, value), 2, option[2:].partition("-")[0])
    assert execute(app, "SELECT FROM users") == []


@pytest.mark.parametrize(
    ("option", "value"), [("--email", "ALICE@example.com"), ("--username", "Alice")]
)
def test_what_another_has_makes_no_user(app, alice, option, value):
    assert_fails(create(app, option, value), 1, option[2:])
    assert len(execute(app, "SELECT FROM users")) == 1


def test_wrong_usage_is_status_2(app, alice):
    wrong = [
        *(["users", "create"], ["users", "create", "--email", "carol@example.com"]),
        *([*CREATE, "--role", "root", "--password-stdin"], [*CREATE, "--unknown"]),
        ["users", "set-role", alice.email],
        ["users", "set-role", alice.email, "root"],
        *(["users", value] for value in ("nonsense", *BAD_COMMANDS)),
        *([*CREATE, "--role", value] for value in BAD_COMMANDS),
        *(["users", "set-role", alice.email, value] for value in BAD_COMMANDS),
    ]

    def answer_to(arguments):
        result = run(app, *arguments)
        return result.exit_code, "\nError: " in result.stderr

    assert exceptions((2, True), answer_to, wrong) == {}


COMMANDS = [
    *("create", "list", "set-role", "set-password", "reset-link", "activate", "deactivate"),
    "delete",
]


def test_every_command_has_help(app):
    def answer_of(command):
        result = run(app, "users", command, "--help")
        return result.exit_code, "Usage:" in result.stdout

    assert exceptions((0, True), answer_of, COMMANDS) == {}


# list


def test_list_shows_each_account_in_a_line(app, alice, admin):
    lines = run(app, "users", "list").stdout.splitlines()

    assert len(lines) == 3
    assert "alice@example.com" in lines[2]
    assert "alice" in lines[2]
    assert "admin" in lines[1]


def test_list_for_programs_is_one_json_object_a_line(app, alice, make_user):
    make_user(username="Łukasz \u2028 三体")

    users = [
        json.loads(line) for line in run(app, "users", "list", "--json").stdout.split("\n")[:-1]
    ]

    assert [user["username"] for user in users] == ["Łukasz \u2028 三体", "alice"]
    assert users[1]["id"] == alice.id


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_list_tells_no_hash(app, alice, options):
    assert "scrypt" not in run(app, "users", "list", *options).stdout


def test_list_is_whole(app):
    execute(
        app,
        "INSERT INTO users (id, username, email, password_hash)"
        " SELECT gen_random_uuid(), 'user' || n, n || '@example.com', ''"
        " FROM generate_series(1, 250) AS n",
    )

    assert len(run(app, "users", "list", "--json").stdout.splitlines()) == 250


@pytest.mark.parametrize(
    "username", ["evil\x1b]0;title\x07", "evil\nadmin@example.com", "evil\r\u202e"]
)
def test_list_sends_no_control_characters_to_the_terminal(app, make_user, username):
    make_user(username=username)

    output = run(app, "users", "list").stdout

    assert len(output.splitlines()) == 2
    assert all(character.isprintable() for line in output.split("\n") for character in line)


def test_empty_list_is_no_error(app):
    assert run(app, "users", "list", "--json").stdout == ""


# What ends sessions.


def set_role(app):
    return run(app, "users", "set-role", "alice@example.com", "admin")


def deactivate(app):
    return run(app, "users", "deactivate", "alice@example.com")


def set_password(app):
    return run(
        *(app, "users", "set-password", "alice@example.com", "--password-stdin"),
        input=f"{NEW_PASSWORD}\n",
    )


def delete(app):
    return run(app, "users", "delete", "alice@example.com", "--yes")


ENDING = [set_role, deactivate, set_password, delete]


@pytest.mark.parametrize("command", ENDING)
def test_command_ends_the_sessions(app, client, alice, bob, command):
    result = command(app)

    assert (result.exit_code, result.stderr) == (0, "")
    assert "alice@example.com" in result.stdout
    assert status_of(client, alice.access_token) == 401
    assert status_of(client, alice.refresh_token) == 401
    assert status_of(client, bob.access_token) == 200


@pytest.mark.parametrize("command", ENDING)
def test_command_changes_nothing_while_redis_is_away(app, alice, redis_server, command):
    before = snapshot(app)
    redis_server.kill()

    result = command(app)

    assert_fails(result, 1, "nothing was changed")
    assert snapshot(app) == before


def test_role_is_set(app, alice):
    set_role(app)

    assert execute(app, "SELECT role FROM users") == [("admin",)]


def test_deactivated_user_cannot_log_in_until_activated(app, alice):
    deactivate(app)
    refused = log_in(app.test_client(), alice.email).status_code

    result = run(app, "users", "activate", alice.email)

    assert (refused, result.exit_code) == (401, 0)
    assert log_in(app.test_client(), alice.email).status_code == 200


def test_password_is_set(app, alice):
    set_password(app)

    assert log_in(app.test_client(), alice.email).status_code == 401
    assert log_in(app.test_client(), alice.email, NEW_PASSWORD).status_code == 200


@pytest.mark.parametrize("stdin", ["short\n", "password\n", "alice@example.com\n", b"\xff\n"])
def test_bad_password_is_not_set(app, alice, stdin):
    before = snapshot(app)

    result = run(app, "users", "set-password", alice.email, "--password-stdin", input=stdin)

    assert_fails(result, 2, "password")
    assert snapshot(app) == before


def test_account_is_deleted_with_its_books(app, alice, make_book):
    make_book(alice)

    delete(app)

    assert execute(app, "SELECT FROM users") == []
    assert execute(app, "SELECT FROM books") == []


@pytest.mark.parametrize("answer", ["n\n", "", "\n"])
def test_account_is_not_deleted_unless_it_is_confirmed(app, alice, answer):
    result = run(app, "users", "delete", alice.email, input=answer)

    assert result.exit_code == 1
    assert len(execute(app, "SELECT FROM users")) == 1


def test_account_is_deleted_when_it_is_confirmed(app, alice):
    result = run(app, "users", "delete", alice.email, input="y\n")

    assert result.exit_code == 0
    assert execute(app, "SELECT FROM users") == []


@pytest.mark.parametrize(
    ("command", "ask", "answer"),
    [("delete", "confirm", True), ("set-password", "prompt", NEW_PASSWORD)],
)
def test_operator_may_take_time_to_answer(
    make_impatient_app, alice, monkeypatch, command, ask, answer
):
    app = make_impatient_app(idle_in_transaction_session_timeout=100)

    def answer_late(*_, **__):
        time.sleep(0.5)
        return answer

    monkeypatch.setattr(f"click.{ask}", answer_late)

    result = run(app, "users", command, alice.email)

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "arguments",
    [["set-role", "{}", "user"], ["deactivate", "{}"], ["delete", "{}", "--yes"]],
)
def test_last_active_admin_stays(app, admin, arguments):
    before = snapshot(app)

    result = run(app, "users", *(argument.format(admin.email) for argument in arguments))

    assert_fails(result, 1, "last active admin")
    assert snapshot(app) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["set-role", "{}", "admin"],
        ["activate", "{}"],
        ["deactivate", "{}"],
        ["set-password", "{}", "--password-stdin"],
        ["reset-link", "{}"],
        ["delete", "{}", "--yes"],
    ],
)
def test_unknown_user_is_status_1(app, alice, arguments):
    before = snapshot(app)

    for email in ("nobody@example.com", "%", "nul\0", "\udcff", *BAD_COMMANDS):
        words = [argument.format(email) for argument in arguments]
        assert_fails(run(app, "users", *words, input=f"{NEW_PASSWORD}\n"), 1, "no user")
    assert snapshot(app) == before


@pytest.mark.parametrize("email", ["ALICE@EXAMPLE.COM", "Alice@example.com"])
def test_email_is_found_in_any_case(app, alice, email):
    assert run(app, "users", "set-role", email, "admin").exit_code == 0


def test_email_is_found_in_any_unicode_form(app, make_user):
    make_user(email="élodie@example.com")

    assert run(app, "users", "deactivate", "e\u0301lodie@example.com").exit_code == 0


# reset-link


def test_reset_link_sets_one_new_password(app, client, alice):
    result = run(app, "users", "reset-link", alice.email)
    statuses = [reset_password(client, result.stdout.strip()).status_code for _ in range(2)]

    assert (result.exit_code, statuses) == (0, [204, 422])
    assert log_in(app.test_client(), alice.email, NEW_PASSWORD).status_code == 200


def test_reset_link_ends_the_one_before_it(app, client, alice):
    first, second = (run(app, "users", "reset-link", alice.email).stdout.strip() for _ in "12")

    statuses = [reset_password(client, token).status_code for token in (first, second)]

    assert statuses == [422, 204]


def test_reset_link_alone_ends_no_session(app, client, alice):
    before = snapshot(app)

    run(app, "users", "reset-link", alice.email)

    after = snapshot(app)
    assert {**after, "users": []} == {**before, "users": []}
    assert execute(app, "SELECT token_epoch FROM users") == [(0,)]


def test_reset_link_leads_to_the_page(app, client, alice):
    page = "https://books.example/reset"

    result = run(app, "users", "reset-link", alice.email, "--page", page)

    link, _, token = result.stdout.strip().partition("#token=")
    assert (link, result.stderr) == (page, "")
    assert reset_password(client, token).status_code == 204


def test_reset_link_without_a_page_says_what_the_token_is_for(app, alice):
    result = run(app, "users", "reset-link", alice.email)

    assert "/auth/password-reset" in result.stderr
    assert "--page" in result.stderr


def test_inactive_user_gets_no_reset_link(app, make_user):
    email = make_user(is_active=False).email

    assert_fails(run(app, "users", "reset-link", email), 1, "inactive")


# Postgres is away.


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["set-role", "alice@example.com", "admin"], ["reset-link", "alice@example.com"]],
)
def test_command_says_that_postgres_is_away(make_app, arguments):
    app = make_app(database_url="postgresql+psycopg2://postgres@/books?host=/nowhere")

    result = run(app, "users", *arguments)

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_id_in_the_answer_of_create_is_the_users(app):
    result = create(app)

    ((user_id,),) = execute(app, "SELECT id FROM users")
    assert isinstance(user_id, UUID)
    assert str(user_id) in result.stdout
