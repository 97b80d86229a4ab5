"""The migrations: from nothing to the models, back, and there again."""

import shutil
import threading
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask.cli import FlaskGroup
from flask_migrate import downgrade, upgrade
from sqlalchemy import CheckConstraint, inspect, text
from sqlalchemy.exc import DBAPIError

from books_api.books.models import SEARCH
from books_api.database import transaction
from books_api.extensions import db
from books_api.server_urls import database_url
from tests.helpers import together
from tests.processes import ROOT, clean_environ, run, settings_environ

FOLDER = ROOT / "migrations"
MIGRATIONS = str(FOLDER)
TABLES = {
    *("books", "users", "sessions", "revocations", "blocklist_copy"),
    *("idempotency_keys", "book_words", "owner_words", "book_changes"),
}
# What a schema consists of, as Postgres itself writes it down.
CATALOG = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               a.attgenerated, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
              AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "functions": """
        SELECT p.proname, pg_get_functiondef(p.oid) FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f' AND NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')""",
    "types": """
        SELECT t.typname FROM pg_type t
        WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd') AND NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')""",
    "sequences": "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'",
}


def schema():
    """What is in the database, but Alembic's own table."""
    with db.engine.connect() as connection:
        return {
            kind: {
                tuple(row)
                for row in connection.execute(text(query))
                if "alembic_version" not in str(row[0])
            }
            for kind, query in CATALOG.items()
        }


@pytest.fixture
def empty(make_database):
    """The context of an application on an empty database."""
    app = make_database()
    with app.app_context():
        yield app


@pytest.fixture
def migrated(empty):
    upgrade()
    return empty


def flask(app, *arguments):
    """Run the command `flask`, on the application."""
    group = FlaskGroup(create_app=lambda: app, load_dotenv=False)
    return app.test_cli_runner().invoke(group, arguments)


def test_an_upgrade_makes_every_table_and_reaches_the_only_head(migrated):
    [head] = ScriptDirectory(MIGRATIONS).get_heads()

    assert set(inspect(db.engine).get_table_names()) == TABLES | {"alembic_version"}
    with db.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == head


def test_a_second_upgrade_changes_nothing(migrated):
    before = schema()

    upgrade()

    assert schema() == before


def test_every_migration_undoes_what_it_does(empty):
    revisions = [script.revision for script in ScriptDirectory(MIGRATIONS).walk_revisions()][::-1]
    different = []
    for revision in revisions:
        before = schema()
        upgrade(revision=revision)
        downgrade(revision="-1")
        if schema() != before:
            different.append(revision)
        upgrade(revision=revision)

    assert different == []


def test_a_migration_that_fails_leaves_nothing_half_done(empty):
    upgrade(revision="0003")
    before = schema()
    with db.engine.begin() as connection:
        connection.execute(text("CREATE TABLE idempotency_keys ()"))  # in the way of the last one

    result = flask(empty, "db", "upgrade")

    with db.engine.begin() as connection:
        connection.execute(text("DROP TABLE idempotency_keys"))
    assert result.exit_code != 0
    assert schema() == before


# As docs/deployment.md says that a release may make one.
CONCURRENTLY = """
from alembic import op

revision, down_revision = "next", "{head}"


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.create_index("ix_books_next", "books", ["language"], postgresql_concurrently=True)
        op.execute("SET lock_timeout = '5s'")


def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("ix_books_next", "books", postgresql_concurrently=True)
"""

PATIENT = "SET LOCAL idle_in_transaction_session_timeout = 0"


@pytest.mark.long
def test_an_index_is_made_concurrently_however_long_others_write(migrated, tmp_path):
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    [head] = ScriptDirectory(MIGRATIONS).get_heads()
    (folder / "versions" / "next.py").write_text(CONCURRENTLY.format(head=head))
    before = schema()

    with db.engine.connect() as other:
        # As one who writes.
        other.execute(text(f"{PATIENT}; LOCK TABLE books IN ROW EXCLUSIVE MODE"))
        end = threading.Timer(6, other.rollback)  # lock_timeout is 5 s
        end.start()
        up = flask(migrated, "db", "upgrade", "--directory", str(folder))
        end.join()
    made = schema()["indexes"] - before["indexes"]
    down = flask(migrated, "db", "downgrade", "--directory", str(folder))

    assert (up.exit_code, down.exit_code) == (0, 0), up.output + down.output
    assert [name for name, _ in made] == ["ix_books_next"]
    assert schema() == before


LARGE = """
    INSERT INTO users (id, username, email, password_hash)
    VALUES (gen_random_uuid(), 'ada', 'ada@example.com', '');
    INSERT INTO books (id, user_uid, title, author)
    SELECT gen_random_uuid(), users.id, n || ' ' || repeat('a', 200), repeat('b', 400)
    FROM users, generate_series(1, 10000) AS n
"""


@pytest.mark.long  # 13 MiB of books, and a wait of 6 seconds
def test_large_table_is_indexed_while_others_write(migrated):
    downgrade(revision="0013")
    with transaction(long=True) as connection:
        connection.execute(text(LARGE))

    with db.engine.connect() as other:
        other.execute(text(f"{PATIENT}; LOCK TABLE books IN ROW EXCLUSIVE MODE"))
        end = threading.Timer(6, other.rollback)  # lock_timeout is 5 s
        end.start()
        upgrade()
        end.join()

    with db.engine.connect() as connection:
        is_valid = "SELECT indisvalid FROM pg_index WHERE indexrelid::regclass::text LIKE"
        made = connection.execute(text(f"{is_valid} 'ix_books_%_last'")).scalars().all()
    assert made == [True, True]


FOLDED = ["æ & ǽ", "a \uff06 b", normalize("NFD", "해리 포터"), "แฮร์รี่", "x"]


def test_books_that_are_folded_differently_are_written_again_and_only_those(migrated):
    downgrade(revision="0019")
    with db.engine.begin() as connection:
        connection.execute(text(LARGE.replace("10000", "1")))  # and its owner
        of = "INSERT INTO books (id, user_uid, title, author, publisher)"
        for folded in FOLDED:
            values = "SELECT gen_random_uuid(), id, :folded, :folded, :folded FROM users"
            connection.execute(text(f"{of} {values}"), {"folded": folded})

    def rows():
        expressions = f"author_text = books_fold(author) AND search = {SEARCH}"
        query = f"SELECT title, xmin, {expressions} FROM books WHERE title = author"
        with db.engine.connect() as connection:
            return {title: row for title, *row in connection.execute(text(query)).all()}

    before = rows()
    upgrade(revision="0020")
    after = rows()
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0019'"))
    upgrade(revision="0020")  # as after an interruption

    assert [is_folded for _, is_folded in after.values()] == [True] * len(FOLDED)
    assert {title for title in after if after[title] != before[title]} == {*FOLDED} - {"x"}
    assert rows() == after


@pytest.mark.long
def test_processes_that_migrate_at_once_take_turns(empty):
    environ = {**settings_environ(empty.config["SETTINGS"]), "FLASK_APP": "wsgi"}

    def migrate():
        return run(["-m", "flask", "db", "upgrade"], cwd=ROOT, env=clean_environ(ROOT, **environ))

    results = together(migrate, migrate)

    assert [result.returncode for result in results] == [0, 0], results


def test_flask_db_upgrade_migrates_and_check_finds_nothing_more(empty):
    upgraded = flask(empty, "db", "upgrade")
    checked = flask(empty, "db", "check")

    assert (upgraded.exit_code, checked.exit_code) == (0, 0), upgraded.output + checked.output
    assert inspect(db.engine).has_table("books")


@pytest.fixture
def away(make_app):
    return make_app(database_url=database_url("postgresql://127.0.0.1:1/books"))


def test_flask_db_says_in_a_line_that_postgres_is_away(away):
    environ = {**settings_environ(away.config["SETTINGS"]), "FLASK_APP": "wsgi"}

    result = run(["-m", "flask", "db", "upgrade"], cwd=ROOT, env=clean_environ(ROOT, **environ))

    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1), result.stderr
    assert "Connection refused" in result.stderr


@pytest.mark.parametrize("command", ["downgrade", "current", "check"])
def test_every_command_of_flask_db_says_so(away, caplog, command):
    result = flask(away, "db", command)

    [record] = [record for record in caplog.records if record.name == "flask_migrate"]
    assert (result.exit_code, result.output) == (1, "")
    assert "Connection refused" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_flask_db_upgrade_can_write_sql_instead(empty):
    result = flask(empty, "db", "upgrade", "--sql")

    assert result.exit_code == 0, result.output
    assert "CREATE TABLE books" in result.output


def test_models_and_migrations_agree_on_tables_types_and_defaults(migrated):
    options = {
        "compare_type": True,
        "compare_server_default": True,
        # Indexes on expressions are made by migrations only.
        "include_object": lambda item, name, kind, reflected, other: (
            not (kind == "index" and reflected and other is None)
        ),
    }

    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, db.metadata) == []


def test_models_make_what_migrations_make(migrated):
    by_migrations = schema()
    db.metadata.drop_all(db.engine)

    db.metadata.create_all(db.engine)

    by_models = schema()
    assert by_models["columns"] == by_migrations["columns"]
    assert by_models["constraints"] == by_migrations["constraints"]
    assert by_models["indexes"] <= by_migrations["indexes"]


def test_every_constraint_has_a_name(app):
    unnamed = [
        (table.name, constraint)
        for table in db.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint) and not constraint.name
    ]

    assert unnamed == []


@pytest.mark.parametrize(
    "statement",
    [
        *("UPDATE books SET page_count = 0", "UPDATE books SET page_count = 100001"),
        *("UPDATE books SET isbn = '0306406152'", "UPDATE books SET isbn = '9770306406158'"),
        *("UPDATE books SET title = NULL", "UPDATE books SET published_date = '2021-02-29'"),
        "UPDATE users SET role = 'root'",
        "UPDATE users SET email = upper((SELECT min(email) FROM users))",
        "UPDATE users SET username = upper((SELECT min(username) FROM users))",
    ],
)
def test_the_database_refuses_what_the_schemas_refuse(app, alice, bob, make_book, statement):
    make_book(alice)

    with app.app_context(), db.engine.connect() as connection, pytest.raises(DBAPIError):
        connection.execute(text(statement))


def test_temporary_view_does_not_stand_for_the_statistics(migrated):
    """Or whoever may make one runs what he likes with the rights of the owner."""
    with db.engine.begin() as connection:
        connection.execute(text("CREATE TEMPORARY VIEW pg_stats AS SELECT 1 AS posed"))
        assert connection.execute(text("SELECT books_crowded_deletions()")).scalar_one() == []


def test_migration_that_was_released_is_never_edited():
    """`make digests` adds a new one; an old one is corrected by a migration more."""
    noted = (ROOT / "tests" / "data" / "migrations.sha256").read_text()
    files = sorted(path for kind in ("versions/*.py", "sql/*.sql") for path in FOLDER.glob(kind))

    assert noted.splitlines() == [
        f"{sha256(path.read_bytes()).hexdigest()}  {path.relative_to(FOLDER)}" for path in files
    ]


def test_name_of_a_migration_begins_with_its_revision_and_they_are_in_order():
    """What /readyz and doctor take the schema of this version to be is the last name's."""
    scripts = list(ScriptDirectory(MIGRATIONS).walk_revisions())[::-1]
    names = [Path(script.path).name for script in scripts]

    assert names == sorted(names)
    assert [name.partition("_")[0] for name in names] == [script.revision for script in scripts]
