"""Settings: every form that is taken, and one line that names the variable for every other."""

import socket
from contextlib import ExitStack
from datetime import timedelta

import pytest
from redis.connection import SSLConnection
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.engine import make_url

from books_api.config import ConfigError, Settings, database_url
from books_api.database import autocommit
from books_api.redis_client import make_redis_client
from tests.helpers import within

KEY = "0f8e7d6c5b4a39281706f5e4d3c2b1a00f8e7d6c5b4a39281706f5e4d3c2b1a0"
GOOD = {
    "DATABASE_URL": "postgresql://books@db/books",
    "REDIS_URL": "redis://cache:6379/0",
    "JWT_SECRET_KEY": KEY,
}
WELL_KNOWN = [
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    *("192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf", "x" * 64, "0123" * 16),
]


def read(**changes):
    """The settings of a good environment with changes; None takes a variable away."""
    environ = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return Settings.from_environ(environ)


def start(**changes):
    """Read the settings and make what is made of their URLs; connects to nothing."""
    settings = read(**changes)
    make_redis_client(settings.redis_url)
    return settings


def connection_arguments(url):
    """What psycopg2 is called with."""
    parsed = make_url(database_url(url))
    _, arguments = parsed.get_dialect()().create_connect_args(parsed)
    return arguments


DEFAULTS = {
    "database_read_url": None,
    "jwt_algorithm": "HS256",
    "jwt_secret_key_previous": None,
    "access_token_expires": timedelta(minutes=15),
    "refresh_token_expires": timedelta(days=7),
    "session_expires": timedelta(days=90),
    "signup_enabled": True,
    "cors_origins": (),
    "trusted_proxies": 0,
}


def test_a_setting_has_its_default():
    settings = read()

    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        (
            "DATABASE_READ_URL",
            "postgresql://db2,db3/books",
            "database_read_url",
            "postgresql+psycopg2:///books?host=db2&host=db3&target_session_attrs=standby",
        ),
        ("JWT_ALGORITHM", "HS512", "jwt_algorithm", "HS512"),
        ("JWT_SECRET_KEY_PREVIOUS", KEY[::-1], "jwt_secret_key_previous", KEY[::-1]),
        ("JWT_SECRET_KEY_PREVIOUS", "", "jwt_secret_key_previous", None),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "5", "access_token_expires", timedelta(minutes=5)),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "", "access_token_expires", timedelta(minutes=15)),
        ("REFRESH_TOKEN_EXPIRE_DAYS", "30", "refresh_token_expires", timedelta(days=30)),
        ("SESSION_EXPIRE_DAYS", "365", "session_expires", timedelta(days=365)),
        ("SIGNUP_ENABLED", "false", "signup_enabled", False),
        ("SIGNUP_ENABLED", "False", "signup_enabled", False),
        ("SIGNUP_ENABLED", "TRUE", "signup_enabled", True),
        ("SIGNUP_ENABLED", "", "signup_enabled", True),
        (
            "CORS_ORIGINS",
            "https://a.example  https://b.example",
            "cors_origins",
            ("https://a.example", "https://b.example"),
        ),
        ("PASSWORD_WORDS", "Acme  acmelibrary", "password_words", ("acme", "acmelibrary")),
        ("TRUSTED_PROXIES", "2", "trusted_proxies", 2),
        ("TRUSTED_PROXIES", "0", "trusted_proxies", 0),
        ("LOGIN_ACCOUNT_TOTAL_LIMIT", "9 per day", "login_account_total_limit", "9 per day"),
        ("SESSION_LIMIT", "9 per day", "session_limit", "9 per day"),
        ("LOGINS_PER_USER", "1", "logins_per_user", 1),
        ("SCRIPT_TOKENS_PER_USER", "10000", "script_tokens_per_user", 10_000),
        ("LOGIN_LIMIT", "5 per minute; 50 per hour", "login_limit", "5 per minute; 50 per hour"),
        (
            "REDIS_URL",
            "rediss://:secret@cache:6380/1",
            "redis_url",
            "rediss://:secret@cache:6380/1",
        ),
        ("REDIS_URL", "unix:///run/redis.sock?db=0", "redis_url", "unix:///run/redis.sock?db=0"),
        *(
            ("REDIS_URL", url, "redis_url", url)
            for url in (
                "rediss://cache/0?ssl_ca_certs=/etc/a:b.pem",
                "rediss+sentinel://s1/main?ssl_ca_certs=/etc/ca.pem",
            )
        ),
    ],
)
def test_a_setting_is_read_into_its_type(variable, text, name, value):
    assert getattr(start(**{variable: text}), name) == value


@pytest.mark.parametrize(
    ("port", "url"),
    [
        (None, "redis://cache:6379/0"),
        ("", "redis://cache:6379/0"),
        ("6380", "redis://cache:6380/0"),
    ],
)
def test_redis_may_be_named_by_host_and_port(port, url):
    assert start(REDIS_URL=None, REDIS_HOST="cache", REDIS_PORT=port).redis_url == url


def test_the_url_of_redis_goes_before_its_host():
    assert read(REDIS_HOST="other").redis_url == GOOD["REDIS_URL"]


@pytest.mark.parametrize(("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_key_has_the_size_of_its_algorithms_hash(algorithm, least):
    assert read(JWT_ALGORITHM=algorithm, JWT_SECRET_KEY=KEY[:least]).jwt_secret_key == KEY[:least]


def test_the_size_of_a_key_is_counted_in_bytes():
    assert read(JWT_SECRET_KEY="äöüßéèêëàâîïôûç€").jwt_secret_key


REFUSED = {
    "DATABASE_URL": [
        *(None, "", " ", "books", "sqlite:///books.db", "mysql://db/books", "http://db/books"),
        *("postgresql", "postgresql://", "postgresql://db", "postgresql://db/"),
        *("postgresql+pg8000://db/books", "postgresql+psycopg3://db/books"),
        *("postgresql://db:port/books", "postgresql://db:99999/books"),
        *("postgresql://h1,h2", "postgresql://h1:x,h2:5432/books"),
    ],
    "DATABASE_READ_URL": ["db2", "mysql://db2/books", "postgresql://db2"],
    "REDIS_URL": [
        *(None, "", "redis", "redis://", "cache:6379", "http://cache", "memcached://cache"),
        *("redis+cluster://cache", "redis://cache:port/0", "redis://cache:99999/0"),
        *("redis://cache/0?db=x", "redis://cache/0?socket_timeout=x"),
        *("redis+sentinel://", "redis+sentinel://s1:port/main", "redis+sentinel://s1/main/x"),
        *("redis+sentinel://,/main", "redis+sentinel://s1/main?db=x", "rediss://cache/0?ssl_ca=x"),
    ],
    "JWT_SECRET_KEY": [None, "", "secret", KEY[:31], "ä" * 15, "\udcff" * 32, *WELL_KNOWN],
    "JWT_SECRET_KEY_PREVIOUS": ["secret", KEY[:31], *WELL_KNOWN],
    "JWT_ALGORITHM": ["none", "hs256", "HS128", "RS256", "ES256", "HS256 ", "HS256,HS512"],
    "ACCESS_TOKEN_EXPIRE_MINUTES": [
        *("0", "-1", "1.5", "15m", "soon", " 15", "1_0", "1e1", "\uff11\uff15", "9" * 5_000),
        "1441",
    ],
    "REFRESH_TOKEN_EXPIRE_DAYS": ["0", "366", "x"],
    "SESSION_EXPIRE_DAYS": ["0", "3651", "x"],
    "SIGNUP_ENABLED": ["yes", "no", "1", "0", "on", "off", "t", "enabled", " ", "true "],
    "TRUSTED_PROXIES": ["-1", "11", "all", "*", "true"],
    "LOGIN_LIMIT": ["often", "10", "ten per minute", "10 per age", "10 per 9 year"],
    "LOGIN_ACCOUNT_LIMIT": ["often"],
    "LOGIN_ACCOUNT_TOTAL_LIMIT": ["often"],
    "SESSION_LIMIT": ["often"],
    "LOGINS_PER_USER": ["0", "many"],
    "SCRIPT_TOKENS_PER_USER": ["0", "many"],
    "SIGNUP_LIMIT": ["often"],
    "REFRESH_LIMIT": ["often"],
    "PASSWORD_RESET_LIMIT": ["often"],
    "DATABASE_POOL_SIZE": ["0", "x"],
    "LOG_FORMAT": ["xml", "JSON"],
}


def assert_refused(variable, changes):
    """The start stops with one line that names the variable."""
    with pytest.raises(ConfigError) as caught:
        start(**changes)

    message = str(caught.value)
    assert message.startswith(f"{variable} ")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("variable", REFUSED)
def test_a_wrong_setting_stops_the_start_with_one_line_that_names_it(variable):
    for value in REFUSED[variable]:
        assert_refused(variable, {variable: value})


def test_a_wrong_port_of_redis_is_named():
    for port in ("0", "65536", "-1", "x", "6379.0", " 6379", "\u0666379"):
        assert_refused("REDIS_PORT", {"REDIS_URL": None, "REDIS_HOST": "cache", "REDIS_PORT": port})


@pytest.fixture
def secret_file(tmp_path):
    """Write a file and return its path."""

    def write(content):
        path = tmp_path / "secret"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.mark.parametrize(
    ("variable", "name", "value"),
    [
        ("JWT_SECRET_KEY", "jwt_secret_key", KEY[::-1]),
        ("JWT_SECRET_KEY_PREVIOUS", "jwt_secret_key_previous", KEY[::-1]),
        ("DATABASE_URL", "database_url", "postgresql+psycopg2://db/books"),
        ("DATABASE_READ_URL", "database_read_url", "postgresql+psycopg2://db2/books"),
        ("REDIS_URL", "redis_url", "rediss://:secret@cache/1"),
    ],
)
def test_a_secret_may_stand_in_a_file(secret_file, variable, name, value):
    file = secret_file(f"{value}\n")

    assert getattr(start(**{variable: None, f"{variable}_FILE": file}), name) == value


def test_a_file_named_by_an_empty_variable_is_not_looked_for():
    assert read(JWT_SECRET_KEY_FILE="").jwt_secret_key == KEY


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", b"secret", b"\xff" * 64, KEY.encode() + b"\n\0", KEY.encode() + b"\nKEY"],
)
def test_a_file_without_a_good_key_is_refused(secret_file, content):
    changes = {"JWT_SECRET_KEY": None, "JWT_SECRET_KEY_FILE": secret_file(content)}

    assert_refused("JWT_SECRET_KEY_FILE", changes)


@pytest.mark.parametrize("path", ["/nowhere/secret", "/", "nowhere"])
def test_a_file_that_cannot_be_read_is_refused(path):
    assert_refused("REDIS_URL_FILE", {"REDIS_URL": None, "REDIS_URL_FILE": path})


def test_a_secret_in_both_forms_is_refused(secret_file):
    assert_refused("DATABASE_URL", {"DATABASE_URL_FILE": secret_file(GOOD["DATABASE_URL"])})


@pytest.mark.parametrize(
    ("name", "likely"),
    [
        ("SIGN_UP_ENABLED", "SIGNUP_ENABLED"),
        ("signup_enabled", "SIGNUP_ENABLED"),
        ("SIGNUP_ENABLE", "SIGNUP_ENABLED"),
        ("JWT_SECRET", "JWT_SECRET_KEY"),
        ("JWT_KEY_FILE", "JWT_SECRET_KEY_FILE"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
        ("CORS_ORIGIN", "CORS_ORIGINS"),
        ("LOGIN_LIMITS", "LOGIN_LIMIT"),
        ("LOG_FORMATS", "LOG_FORMAT"),
        ("REFRESH_TOKEN_DAYS", "REFRESH_TOKEN_EXPIRE_DAYS"),
        ("JWT_ACCESS_TOKEN_EXPIRES", "ACCESS_TOKEN_EXPIRE_MINUTES"),
    ],
)
def test_a_variable_that_looks_like_a_setting_is_refused_with_the_likely_one(name, likely):
    with pytest.raises(ConfigError) as caught:
        read(**{name: "x"})

    assert str(caught.value) == f"{name} is not a setting; did you mean {likely}?"


def test_a_misspelt_variable_is_named_before_the_one_that_it_leaves_unset():
    assert_refused("JWT_SECRET", {"JWT_SECRET_KEY": None, "JWT_SECRET": KEY})


@pytest.mark.parametrize(
    "name",
    [
        *("DATABASE_HOST", "DATABASE_PRIVATE_URL", "DATABASE_CONNECTION_POOL_URL"),  # platforms
        *("REDIS_TLS_URL", "REDIS_PASSWORD", "REDISHOST", "REDISPORT", "REDIS_PORT"),
        *("REDIS_SERVICE_HOST", "SIGNUP_SERVICE_PORT", "JWT_PORT_80_TCP_ADDR"),  # Kubernetes
        *("SESSION_MANAGER", "LOGIN_SHELL", "LOGNAME", "LOG_LEVEL", "HOSTNAME"),  # desktops
        *("WEB_CONCURRENCY", "BIND", "PORT", "FLASK_APP", "PUBLIC_NAME", "POSTGRES_PASSWORD"),
    ],
)
def test_a_variable_of_others_is_let_be(name):
    assert read(**{name: "x"}) == read()


@pytest.mark.parametrize(("algorithm", "length"), [("HS384", 47), ("HS512", 63)])
@pytest.mark.parametrize("variable", ["JWT_SECRET_KEY", "JWT_SECRET_KEY_PREVIOUS"])
def test_a_key_shorter_than_its_algorithms_hash_is_refused(variable, algorithm, length):
    keys = {"JWT_SECRET_KEY": KEY, variable: KEY[:length]}

    assert_refused(variable, {**keys, "JWT_ALGORITHM": algorithm})


@pytest.mark.parametrize("value", [KEY[:31], "hunter2", "x" * 64])
def test_a_refused_key_is_not_repeated(value):
    with pytest.raises(ConfigError) as caught:
        read(JWT_SECRET_KEY=value)

    assert value not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://books:hunter2@db", "mysql://books:hunter2@db/books", "redis:hunter2"]
)
def test_a_refused_url_is_not_repeated(url):
    with pytest.raises(ConfigError) as caught:
        read(DATABASE_URL=url)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "scheme",
    [
        *("postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"),
        *("postgresql+asyncpg", "postgres+asyncpg"),
    ],
)
def test_every_usual_scheme_means_psycopg2(scheme):
    parsed = make_url(database_url(f"{scheme}://books@db/books"))

    assert (parsed.drivername, parsed.host, parsed.database) == (
        "postgresql+psycopg2",
        "db",
        "books",
    )


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("postgresql://db/books", {"host": "db", "dbname": "books"}),
        ("postgresql://db:5433/books", {"host": "db", "port": 5433, "dbname": "books"}),
        ("postgresql:///books", {"dbname": "books"}),
        ("postgresql:///books?host=/run/pg", {"host": "/run/pg", "dbname": "books"}),
        ("postgresql://[::1]:5433/books", {"host": "::1", "port": 5433, "dbname": "books"}),
        (
            "postgresql://ada:p%40ss%2Fw%3Ard%25@db/books",
            {"user": "ada", "password": "p@ss/w:rd%", "host": "db", "dbname": "books"},
        ),
        (
            "postgresql://ada%40corp:secret@db/books",
            {"user": "ada@corp", "password": "secret", "host": "db", "dbname": "books"},
        ),
        (
            "postgresql://ada:a,b@db/books",
            {"user": "ada", "password": "a,b", "host": "db", "dbname": "books"},
        ),
        (
            "postgresql://db/books?sslmode=require",
            {"host": "db", "dbname": "books", "sslmode": "require"},
        ),
        (
            "postgresql+asyncpg://db/books?ssl=require",
            {"host": "db", "dbname": "books", "sslmode": "require"},
        ),
        (
            "postgresql+asyncpg://db/books?application_name=x&ssl=verify-full",
            {"host": "db", "dbname": "books", "application_name": "x", "sslmode": "verify-full"},
        ),
    ],
)
def test_a_url_says_where_postgres_is(url, arguments):
    assert connection_arguments(url) == arguments


HOSTS = {"host": "h1,h2", "dbname": "books"}


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("postgresql://h1:5432,h2:5433/books", HOSTS | {"port": "5432,5433"}),
        (
            "postgres://ada:secret@h1:5432,h2:5433/books",
            HOSTS | {"port": "5432,5433", "user": "ada", "password": "secret"},
        ),
        (
            "postgresql://h1:5432,h2:5433/books?sslmode=require",
            HOSTS | {"port": "5432,5433", "sslmode": "require"},
        ),
        (
            "postgresql://ada:a%2Cb@h1:1,h2:2/books",
            HOSTS | {"port": "1,2", "user": "ada", "password": "a,b"},
        ),
        (
            "postgresql://ada:a,b@h1:1,h2:2/books",
            HOSTS | {"port": "1,2", "user": "ada", "password": "a,b"},
        ),
    ],
)
def test_several_hosts_are_tried_until_one_can_be_written_to(url, arguments):
    assert connection_arguments(url) == arguments | {"target_session_attrs": "read-write"}


def test_which_of_several_hosts_is_wanted_may_be_said():
    url = "postgresql://h1:5432,h2:5433/books?target_session_attrs=any"

    assert connection_arguments(url)["target_session_attrs"] == "any"


def test_several_hosts_without_ports_are_taken():
    assert connection_arguments("postgresql://h1,h2/books")["host"] == "h1,h2"


@pytest.mark.parametrize(
    ("url", "sentinels", "service", "login"),
    [
        (
            "redis+sentinel://s1:26380,s2:26381/main/2",
            [("s1", 26380), ("s2", 26381)],
            "main",
            (None, None),
        ),
        ("redis+sentinel://s1/main", [("s1", 26379)], "main", (None, None)),
        ("redis+sentinel://s1", [("s1", 26379)], "mymaster", (None, None)),
        (
            "redis+sentinel://:p%40ss@s1,s2/main",
            [("s1", 26379), ("s2", 26379)],
            "main",
            (None, "p@ss"),
        ),
        ("redis+sentinel://ada:secret@s1/main", [("s1", 26379)], "main", ("ada", "secret")),
        (
            "redis+sentinel://[2001:db8::1]:26380,[::1]/main",
            [("2001:db8::1", 26380), ("::1", 26379)],
            "main",
            (None, None),
        ),
    ],
)
def test_redis_may_be_found_by_sentinels(url, sentinels, service, login):
    pool = make_redis_client(read(REDIS_URL=url).redis_url).connection_pool

    found = [client.connection_pool.connection_kwargs for client in pool.sentinel_manager.sentinels]
    arguments = pool.connection_kwargs
    assert [(node["host"], node["port"]) for node in found] == sentinels
    assert pool.service_name == service
    assert (arguments.get("username"), arguments.get("password")) == login


def test_sentinels_may_have_a_password_of_their_own():
    url = "redis+sentinel://:of-redis@s1/main?sentinel_username=w&sentinel_password=of-sentinels"

    pool = make_redis_client(read(REDIS_URL=url).redis_url).connection_pool

    (sentinel,) = pool.sentinel_manager.sentinels
    arguments = sentinel.connection_pool.connection_kwargs
    assert (arguments["username"], arguments["password"]) == ("w", "of-sentinels")
    assert pool.connection_kwargs["password"] == "of-redis"


def test_silent_sentinels_cost_less_than_two_seconds():
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        hosts = ",".join(f"127.0.0.1:{server.getsockname()[1]}" for server in silent)
        client = make_redis_client(f"redis+sentinel://{hosts}/main")

        with within(2), pytest.raises(RedisError):
            client.ping()


def test_tls_to_a_redis_behind_sentinels_is_for_the_sentinels_too():
    url = read(REDIS_URL="rediss+sentinel://s1/main?ssl_ca_certs=/etc/ca.pem").redis_url

    pool = make_redis_client(url).connection_pool

    for client_pool in (pool, pool.sentinel_manager.sentinels[0].connection_pool):
        assert issubclass(client_pool.connection_class, SSLConnection)
        assert client_pool.connection_kwargs["ssl_ca_certs"] == "/etc/ca.pem"


def test_the_database_of_redis_behind_sentinels_is_the_one_of_the_url():
    client = make_redis_client(read(REDIS_URL="redis+sentinel://s1/main/2").redis_url)

    assert client.connection_pool.connection_kwargs["db"] == 2


@pytest.mark.parametrize(
    "url", ["redis://cache", "unix:///run/redis.sock", "redis+sentinel://s1/main"]
)
def test_redis_is_not_waited_for(url):
    arguments = make_redis_client(url).connection_pool.connection_kwargs
    assert (arguments["socket_timeout"], arguments["retry"].get_retries()) == (0.25, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("statement_timeout", "5s"),
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("TimeZone", "UTC"),
        ("application_name", "books-api "),  # and the id of the process
    ],
)
def test_postgres_is_told_how_long_to_wait(app, name, value):
    with app.app_context(), autocommit() as connection:
        assert str(connection.execute(text(f"SHOW {name}")).scalar()).startswith(value)
