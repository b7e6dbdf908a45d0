"""Environment variables and `.env`: values, defaults, and what is said of bad ones."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tycostream.settings import VARIABLES, Settings, SettingsError, load_configuration, load_settings

EXAMPLES = Path(__file__).parents[2] / "config"


def problems(environ: dict[str, str], folder: Path) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_settings(environ, folder)
    return str(raised.value).splitlines()


def test_without_any_variable_the_defaults_hold(tmp_path):
    settings = load_settings({}, tmp_path)
    assert settings.service == replace(Settings().service, schema_path=tmp_path / "schema.yaml")
    assert settings.limits == Settings().limits
    assert (settings.service.port, settings.service.ui, settings.service.allowed_origins) == (4000, False, ())
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("", ("materialize", "localhost", 6875, "materialize", "materialize", "materialize")),
        ("materialize", ("materialize", "localhost", 6875, "materialize", "materialize", "materialize")),
        ("Postgres", ("postgres", "localhost", 5432, "postgres", "", "postgres")),
        ("risingwave", ("risingwave", "localhost", 4566, "root", "", "dev")),
    ],
)
def test_database_defaults_follow_the_type(kind, expected, tmp_path):
    found = load_settings({"DATABASE_TYPE": kind}, tmp_path).database
    assert (found.type, found.host, found.port, found.user, found.password, found.name) == expected


def test_the_environment_goes_before_the_file_and_empty_is_unset(tmp_path):
    (tmp_path / ".env").write_text(
        "DATABASE_HOST=file\nDATABASE_USER=someone\nexport DATABASE_PASSWORD='${HOME}  '\nLOG_LEVEL=\n"
    )
    settings = load_settings({"DATABASE_HOST": "real", "DATABASE_USER": "", "GRAPHQL_PORT": " 0 "}, tmp_path)
    assert (settings.database.host, settings.database.user) == ("real", "someone")
    assert settings.database.password == "${HOME}  "
    assert (settings.service.port, settings.service.log_level) == (0, "info")


def test_the_password_is_not_shown(tmp_path):
    settings = load_settings({"DATABASE_PASSWORD": "sesame"}, tmp_path)
    assert settings.database.password == "sesame"
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "yes", "On"])
def test_a_switch_that_is_on(text, tmp_path):
    assert load_settings({"GRAPHQL_UI": text}, tmp_path).service.ui is True


@pytest.mark.parametrize("text", ["false", "0", "No", "off"])
def test_a_switch_that_is_off(text, tmp_path):
    assert load_settings({"GRAPHQL_UI": text}, tmp_path).service.ui is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", ()),
        ("https://A.example/, http://b.example:8080", ("https://a.example", "http://b.example:8080")),
        ("https://a.example:443,http://[::1]:80", ("https://a.example", "http://[::1]")),
    ],
)
def test_origins_are_written_as_browsers_send_them(text, expected, tmp_path):
    assert load_settings({"ALLOWED_ORIGINS": text}, tmp_path).service.allowed_origins == expected


DATABASES = "expected one of materialize, postgres, risingwave, embedded"
LEVELS = "expected one of error, warn, info, debug, verbose"
KUBERNETES = (
    "expected a whole number from 0 to 65535; Kubernetes sets such a value for a service of that name:"
    " rename the service, or set enableServiceLinks to false in the pod"
)
ORIGINS = "expected origins such as https://app.example.com:8443, or *"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATABASE_TYPE", "postgresql", f"found 'postgresql', {DATABASES}; did you mean postgres?"),
        ("DATABASE_PORT", "0", "found '0', expected a whole number from 1 to 65535"),
        ("DATABASE_PORT", "70000", "found '70000', expected a whole number from 1 to 65535"),
        ("GRAPHQL_PORT", "80O0", "found '80O0', expected a whole number from 0 to 65535"),
        ("GRAPHQL_PORT", "-1", "found '-1', expected a whole number from 0 to 65535"),
        ("GRAPHQL_PORT", "٤٠٠٠", "found '٤٠٠٠', expected a whole number from 0 to 65535"),
        ("GRAPHQL_PORT", "tcp://10.0.0.1:4000", f"found 'tcp://10.0.0.1:4000', {KUBERNETES}"),
        ("GRAPHQL_UI", "maybe", "found 'maybe', expected true or false (or 1, 0, yes, no, on, off)"),
        ("LOG_LEVEL", "warning", f"found 'warning', {LEVELS}; did you mean warn?"),
        ("LOG_LEVEL", "x\ny", rf"found 'x\ny', {LEVELS}"),
        ("SOURCE_START", "now", "found 'now', expected one of lazy, eager"),
        ("PING_SECONDS", "nan", "found 'nan', expected a number of seconds from 0 to 86400"),
        ("PING_SECONDS", "1e3", "found '1e3', expected a number of seconds from 0 to 86400"),
        ("MAX_TOKENS", "9" * 5000, f"found '{'9' * 57}...', expected a whole number from 1 to 1000000000"),
        ("ALLOWED_ORIGINS", "example.com", f"found 'example.com', {ORIGINS}"),
        ("ALLOWED_ORIGINS", "https://a.b/path", f"found 'https://a.b/path', {ORIGINS}"),
        ("ALLOWED_ORIGINS", "https://a.b:x", f"found 'https://a.b:x', {ORIGINS}"),
        ("ALLOWED_ORIGINS", "https://[a", f"found 'https://[a', {ORIGINS}"),
        ("RECONNECT_MIN_MS", "40000", "RECONNECT_MIN_MS (40000) is more than RECONNECT_MAX_MS (30000)"),
        ("OUTBOX_MAX_ROWS", "10", "OUTBOX_ROWS (10000) is more than OUTBOX_MAX_ROWS (10)"),
        ("DATABASE_HOST", "a\0b", "found a NUL character, expected text"),
        ("SCHEMA_PATH", "a\0b", r"found 'a\x00b', expected a path"),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_with_what_would_be_valid(name, value, message, tmp_path):
    assert problems({name: value}, tmp_path) == [f"{name}: {message}"]


def test_the_embedded_databases_init_file_must_exist(tmp_path):
    environ = {"DATABASE_TYPE": "embedded", "EMBEDDED_INIT": "init.sql"}
    assert problems(environ, tmp_path) == [f"EMBEDDED_INIT: there is no file '{tmp_path / 'init.sql'}'"]
    (tmp_path / "init.sql").touch()
    assert load_settings(environ, tmp_path).database.embedded_init == tmp_path / "init.sql"


def test_all_problems_come_at_once_with_the_lines_of_the_file(tmp_path):
    (tmp_path / ".env").write_text("# ours\n\nGRAPHQL_PORT=x\nOPEN='\n\nLOG_LEVEL=loud\n")
    found = problems({"GRAPHQL_UI": "2"}, tmp_path)
    assert [line.partition(": ")[0] for line in found] == [
        ".env:4",
        ".env:3 GRAPHQL_PORT",
        "GRAPHQL_UI",
        ".env:6 LOG_LEVEL",
    ]


@pytest.mark.parametrize(
    ("content", "message"), [(b"A=\xff", ".env: is not UTF-8 text"), (None, ".env: can't be read: Is a directory")]
)
def test_an_unreadable_file_is_a_problem(content, message, tmp_path):
    if content is None:
        (tmp_path / ".env").mkdir()
    else:
        (tmp_path / ".env").write_bytes(content)
    assert problems({}, tmp_path) == [message]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GRAPHQL_PROT", "GRAPHQL_PORT"),
        ("GRAPQL_PORT", "GRAPHQL_PORT"),
        ("DATABASE_USERNAME", "DATABASE_USER"),
        ("MAX_CONECTIONS", "MAX_CONNECTIONS"),
        ("DATABASE_URL", None),
        ("GRAPHQL_SERVICE_HOST", None),
        ("GRAPHQL_PORT_4000_TCP_ADDR", None),
        ("HOME", None),
        ("", None),
    ],
)
def test_a_near_miss_is_a_warning(name, meant, tmp_path):
    expected = (f"{name} is not a variable of tycostream; did you mean {meant}?",) if meant else ()
    assert load_settings({name: "x"}, tmp_path).warnings == expected


def test_the_schema_files_problems_join_those_of_the_environment(tmp_path):
    (tmp_path / "schema.yaml").write_text("sources: {}\n")
    with pytest.raises(SettingsError) as raised:
        load_configuration({"GRAPHQL_PORT": "x"}, tmp_path)
    assert [problem.place for problem in raised.value.problems] == [
        "GRAPHQL_PORT",
        f"{tmp_path}/schema.yaml:1:1 sources",
    ]


def test_the_example_names_every_variable_with_its_default_and_explanation():
    lines = (EXAMPLES / "example.env").read_text().splitlines()
    for known in VARIABLES:
        assert f"# {known.name}={known.default}" in lines
        assert f"# {known.help}" in lines
    assert len([line for line in lines if re.match(r"# [A-Z_]+=", line)]) == len(VARIABLES)


def test_the_example_is_valid_and_means_the_defaults_when_everything_in_it_is_switched_on(tmp_path):
    text = (EXAMPLES / "example.env").read_text()
    defaults = load_settings({}, tmp_path)
    (tmp_path / ".env").write_text(re.sub(r"^# ([A-Z_]+=)", r"\1", text, flags=re.MULTILINE))
    assert load_settings({}, tmp_path) == defaults


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("10.0.0.0/8, ::1,Hooks.Example.com", ("10.0.0.0/8", "::1/128", "hooks.example.com")),
        ("*.example.com,private,*", ("*.example.com", "private", "*")),
        ("192.0.2.1", ("192.0.2.1/32",)),
    ],
)
def test_networks_and_hosts(text, expected, tmp_path):
    assert load_settings({"WEBHOOK_DENY": text}, tmp_path).webhooks.deny == expected


TARGETS = "expected networks and host names such as 10.0.0.0/8, ::1, hooks.example.com or *.example.com"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WEBHOOK_DENY", "10.0.0.1/8", f"found '10.0.0.1/8', {TARGETS}, or private or *"),
        ("WEBHOOK_DENY", "10.0.0", f"found '10.0.0', {TARGETS}, or private or *"),
        ("WEBHOOK_ALLOW", "a.b,http://a.b", f"found 'http://a.b', {TARGETS}"),
        ("WEBHOOK_ALLOW", "*", f"found '*', {TARGETS}"),
        ("WEBHOOK_ALLOW", "a.*.b", f"found 'a.*.b', {TARGETS}"),
        (
            "WEBHOOK_RETRY_MIN_MS",
            "400000",
            "WEBHOOK_RETRY_MIN_MS (400000) is more than WEBHOOK_RETRY_MAX_MS (300000)",
        ),
    ],
)
def test_bad_settings_of_webhooks(name, value, message, tmp_path):
    assert problems({name: value}, tmp_path) == [f"{name}: {message}"]
