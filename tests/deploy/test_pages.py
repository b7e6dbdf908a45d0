"""What docs/guide.md (from nothing to own data), docs/deploy.md and docs/migration.md say is so: steps are executed, snippets are
read by their own parsers where those are there, statements name tests that exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tornado.httpclient import AsyncHTTPClient

from tests.deploy.dockerfile import stages
from tests.deploy.image import DOCKERFILE, ROOT
from tests.deploy.test_compose import composed
from tests.end_to_end.test_process import running
from tests.support.client import connected
from tests.support.databases import AnyDatabase
from tycostream.errors import FAILURES
from tycostream.filters import parse_filter
from tycostream.model import Column, ColumnType, Relation, Source
from tycostream.settings import VARIABLES, load_settings
from tycostream.web.application import Services, WebConfig, make_application

DOCS = ROOT / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text() for name in ("guide", "deploy", "migration")}
STEPS = PAGES["guide"].split("## From nothing to your own data")[1].split("\n## ")[0]
OURS = {one.name for one in VARIABLES}
OTHERS = {"SOURCE_DATE_EPOCH", "PYTHON_IMAGE", "FIRE_EXISTING", "DROP_OLDEST", *FAILURES}


def blocks(text: str, language: str) -> list[str]:
    """The code blocks in this language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


# All three


@pytest.mark.parametrize("page", PAGES)
def test_what_is_for_a_shell_is_shell(page: str) -> None:
    found = blocks(PAGES[page], "sh")
    assert found
    for block in found:
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), block


@pytest.mark.parametrize("page", PAGES)
def test_variables_that_are_named_exist(page: str) -> None:
    named = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", re.sub(r"POSTGRES_PASSWORD|PARSE_\w+", "", PAGES[page])))
    assert named - OURS - OTHERS == set()


def test_files_that_are_named_exist() -> None:
    for page in PAGES.values():
        for name in re.findall(r"(?<![\w/])((?:deploy|config|scripts)/[\w./-]+\w)", re.sub(r"\S+::\w+", "", page)):
            assert (ROOT / name).exists(), name


# From nothing to own data


def table(database: str) -> str:
    """The step that makes something to follow."""
    (found,) = [block for block in blocks(STEPS, "sql") if block.startswith(f"-- {database}\n")]
    return found


def written(folder: Path, kind: str) -> None:
    """Carry out the steps that write files; of those that write .env, the one for this kind of database."""
    for block in blocks(STEPS, "sh"):
        if block.startswith("cat > schema.yaml") or (
            block.startswith("cat > .env") and ("DATABASE_TYPE=postgres" in block) == (kind == "postgres")
        ):
            subprocess.run(["bash", "-c", block], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("database", "name"), [("postgres", "PostgreSQL"), ("materialize", "Materialize")], indirect=["database"]
)
async def test_the_steps_lead_to_own_data(database: AnyDatabase, name: str, tmp_path: Path) -> None:
    sql = table(name)
    if name == "Materialize":  # there a materialized view is up to date, as a plain one of PostgreSQL's is
        sql = sql.replace("CREATE MATERIALIZED VIEW", "CREATE VIEW")
    await database.run(sql)
    kind = name.lower().removesuffix("ql")
    written(tmp_path, kind)
    settings = load_settings({}, tmp_path)
    assert (settings.database.type, settings.database.host, settings.service.ui) == (kind, "localhost", True)
    reached = {key: value for key, value in database.environ.items() if key != "DATABASE_TYPE"}  # as the file .env says
    schema = (tmp_path / "schema.yaml").read_text()
    async with running(tmp_path, reached, "check", schema=schema) as check:
        code, told = await check.ended()
    assert code == 0, told
    if name == "PostgreSQL":
        assert told.replace(str(tmp_path), "/home/me/live") == blocks(STEPS, "text")[0]
    async with running(tmp_path, reached, schema=schema) as service:
        await service.get("/ready")
        async with connected(service.port) as client:
            (query,) = blocks(STEPS, "graphql")
            trades = await client.subscribe(query.replace("operation\n", "operation fields timestamp\n"))
            await client.until(lambda: len(trades.rows) == 2)
            (change,) = [block for block in blocks(STEPS, "sql") if block.startswith("UPDATE ")]
            await database.run(change)
            await client.until(lambda: len(trades.messages) == 3)
            (shown,) = blocks(STEPS, "json")
            expected = json.loads(shown)["data"]["trades"]
            assert {key: trades.messages[-1][key] for key in expected} == expected
        page = await AsyncHTTPClient(force_instance=True).fetch(
            f"http://127.0.0.1:{service.port}", headers={"Accept": "text/html"}
        )
        assert page.headers["Content-Type"].startswith("text/html")
        service.process.send_signal(signal.SIGTERM)
        assert (await service.ended())[0] == 0


def test_the_steps_use_the_images_and_ports_of_the_compose_files() -> None:
    for kind in ("materialize", "postgres"):
        service = composed(ROOT / "deploy" / kind / "docker-compose.yaml")[kind]
        (command,) = re.findall(rf"docker run --detach --publish (\S+) .*?{service['image']}", STEPS)
        assert command in service["ports"]


# Deploying


def deployment() -> dict[str, Any]:
    """The example for Kubernetes."""
    (text,) = blocks(PAGES["deploy"], "yaml")
    found: dict[str, Any] = yaml.safe_load(text)
    assert (found["apiVersion"], found["kind"]) == ("apps/v1", "Deployment")
    template = found["spec"]["template"]
    assert found["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    pod: dict[str, Any] = template["spec"]
    return pod


def test_kubernetes_probes_ask_what_is_served_at_the_port_of_the_image() -> None:
    (container,) = deployment()["containers"]
    port = int(stages(DOCKERFILE.read_text())[-1].one("EXPOSE").text)
    assert container["ports"] == [{"containerPort": port}]
    application = make_application(Services(None, None, None, None, None, None), WebConfig())  # type: ignore[arg-type]
    patterns = [rule.matcher.regex for rule in application.wildcard_router.rules if hasattr(rule.matcher, "regex")]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == port
        assert [pattern for pattern in patterns if pattern.match(asked["path"]) and pattern.pattern != ".*$"]
    assert "failureThreshold" in container["startupProbe"]


def test_kubernetes_leaves_time_to_stop_and_runs_the_images_user(tmp_path: Path) -> None:
    pod = deployment()
    (container,) = pod["containers"]
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > before + load_settings({}, tmp_path).limits.shutdown_seconds
    security = pod["securityContext"]
    assert stages(DOCKERFILE.read_text())[-1].one("USER").text == f"{security['runAsUser']}:{security['runAsGroup']}"
    assert {one["name"] for one in container["env"]} <= OURS
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert pod["enableServiceLinks"] is False


def tree(text: str) -> list[Any]:
    """The directives of such a file, each a list of its words; a block's content is a list at the end of its own. Raises ValueError
    where brackets, quotes or ends of lines do not fit."""
    words = re.findall(r"""#[^\n]*|'[^'\n]*'|"[^"\n]*"|[{};\n]|[^\s{};'"#]+|['"]""", text)
    stack: list[list[Any]] = [[]]
    line: list[Any] = []
    for word in words:
        if word in ("'", '"'):
            raise ValueError("a quote is left open")
        if word == "{":
            line.append([])
            stack[-1].append(line)
            stack.append(line[-1])
            line = []
        elif word == "}":
            if line or len(stack) == 1:
                raise ValueError(f"}} after {line}")
            stack.pop()
        elif word == ";":
            stack[-1].append(line)
            line = []
        elif word != "\n" and not word.startswith("#"):
            line.append(word)
    if line or len(stack) > 1:
        raise ValueError(f"no end of {line or stack[-2][-1]}")
    return stack[0]


@pytest.mark.parametrize("text", ["a {", "a }", "a b", "a { b }", "a 'b;", "}"])
def test_files_of_nginx_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        tree(text)


def test_nginx_passes_upgrades_and_the_clients_address_on(tmp_path: Path) -> None:
    (text,) = blocks(PAGES["deploy"], "nginx")
    mapped, upstream, server = tree(text)
    assert mapped[:3] == ["map", "$http_upgrade", "$connection_upgrade"]
    assert ["default", "upgrade"] in mapped[3]
    assert ["server", "127.0.0.1:4000"] in upstream[2]
    (location,) = [one[-1] for one in server[1] if one[0] == "location"]
    headers = {one[1]: one[2] for one in location if one[0] == "proxy_set_header"}
    assert headers == {
        "Upgrade": "$http_upgrade", "Connection": "$connection_upgrade", "Host": "$host", "X-Forwarded-For": "$proxy_add_x_forwarded_for",
    }  # fmt: skip
    assert ["proxy_http_version", "1.1"] in location
    assert ["proxy_pass", f"http://{upstream[1]}"] in location
    ((_, timeout),) = [one for one in location if one[0] == "proxy_read_timeout"]
    settings = load_settings({}, tmp_path)
    assert int(timeout.removesuffix("s")) > 2 * settings.limits.ping_seconds
    assert ["client_max_body_size", "1m"] in location
    assert settings.limits.max_message_bytes == 1024 * 1024
    if shutil.which("nginx"):
        plain = re.sub(r" +ssl_\w+ .*\n", "", text).replace("443 ssl", "127.0.0.1:1")
        whole = f"pid {tmp_path}/pid; error_log stderr; events {{}}\nhttp {{ access_log off;\n{plain}}}\n"
        (tmp_path / "nginx.conf").write_text(whole)
        done = subprocess.run(
            ["nginx", "-t", "-p", str(tmp_path), "-c", "nginx.conf"], capture_output=True, text=True, check=False
        )
        assert "syntax is ok" in done.stderr, done.stderr  # it may miss folders of its own after that


def test_caddy_leads_to_the_port(tmp_path: Path) -> None:
    (text,) = blocks(PAGES["deploy"], "caddyfile")
    # Caddy ends a directive with its line
    ((site, (directive,)),) = tree(re.sub(r"(?<=[^\s{}])\n", ";\n", text))
    assert site == "live.example.com"
    assert directive == ["reverse_proxy", "127.0.0.1:4000", [["stream_close_delay", "5m"]]]
    if shutil.which("caddy"):
        (tmp_path / "Caddyfile").write_text(text)
        done = subprocess.run(
            ["caddy", "adapt", "--validate", "--config", "Caddyfile"], cwd=tmp_path, capture_output=True, text=True, check=False,
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


# Coming from the NestJS version


def test_every_statement_of_the_migration_page_names_tests_that_exist() -> None:
    rows = [line for line in PAGES["migration"].splitlines() if line.startswith("| ")]
    statements = [row for row in rows if not row.startswith("| ---") and not row.endswith("| pinned by |")]
    assert len(statements) > 25
    for line in statements:
        named = re.findall(r"`([a-z_/0-9]+\.py)::(test_\w+)`", line.split(" | ")[-1])
        assert named, f"no test is named: {line}"
        for file, test in named:
            found = re.search(rf"^(async )?def {test}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)
            assert found, f"{file} has no {test}"


def test_every_comparison_input_that_is_named_exists() -> None:
    named = set(re.findall(r"`(\w+)Comparison`", PAGES["migration"]))
    graphql = (ROOT / "tests" / "graphql" / "expected.graphql").read_text()
    assert {"BigInt", "UUID", "Timestamp", "Date", "Time", "JSON", "Array", "String"} == named
    for name in named:
        assert f": {name}Comparison\n" in graphql


def test_an_empty_condition_is_true() -> None:
    columns = (Column("id", ColumnType.INTEGER), Column("price", ColumnType.FLOAT))
    source = Source("trades", Relation("trades"), columns, ("id",))
    for empty in ({}, {"price": {}}, {"_and": [{}, {"price": {}}]}):
        assert parse_filter(source, empty) == parse_filter(source, None)
