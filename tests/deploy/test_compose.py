"""The compose files: what they name exists, fits together, and is closed to other machines."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from tests.deploy.dockerfile import stages
from tests.deploy.image import DOCKERFILE, ROOT
from tycostream.settings import VARIABLES, load_schema, load_settings

NAMES = {one.name for one in VARIABLES}
FILES = sorted((ROOT / "deploy").glob("*/docker-compose.yaml"))
SERVICES = {"materialize": {"materialize", "init", "tycostream"}, "postgres": {"postgres", "tycostream"}}
KEYS = {
    "image", "build", "command", "entrypoint", "environment", "env_file", "volumes", "ports", "healthcheck", "depends_on", "init",
    "read_only", "cap_drop", "security_opt", "stop_grace_period", "restart",
}  # fmt: skip
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)


def composed(file: Path) -> dict[str, Any]:
    """The services of a compose file."""
    found = yaml.safe_load(file.read_text())
    assert set(found) <= {"name", "services", "volumes"}
    services: dict[str, Any] = found["services"]
    for service in services.values():
        assert set(service) <= KEYS
    return services


def environment(file: Path) -> dict[str, str]:
    """What tycostream's container gets: its env_file, and environment before it."""
    service = composed(file)["tycostream"]
    told = dotenv_values(stream=io.StringIO((file.parent / service["env_file"]).read_text()), interpolate=False)
    return {name: value or "" for name, value in told.items()} | service["environment"]


def test_there_is_one_for_each_database() -> None:
    assert {file.parent.name for file in FILES} == set(SERVICES)


@each_file
def test_services_wait_for_those_that_they_need(file: Path) -> None:
    services = composed(file)
    assert set(services) == SERVICES[file.parent.name]
    waits = {name: service.get("depends_on", {}) for name, service in services.items()}
    for name, needed in waits.items():
        for other, how in needed.items():
            assert other in services, f"{name} waits for {other}"
            if how["condition"] == "service_healthy":
                assert services[other]["healthcheck"]["test"][0] == "CMD"
            else:
                assert how["condition"] == "service_completed_successfully"
                assert "restart" not in services[other]
    reached = {"tycostream"}
    while more := {other for name in reached for other in waits[name]} - reached:
        reached |= more
    assert reached == set(services)


@each_file
def test_images_have_exact_versions(file: Path) -> None:
    for name, service in composed(file).items():
        if name == "tycostream":
            assert (file.parent / service["build"]["context"]).resolve() == ROOT
            assert ROOT / service["build"]["dockerfile"] == DOCKERFILE
        else:
            assert re.fullmatch(r"[a-z/]+:v?\d+(\.\d+)+", service["image"])


@each_file
def test_ports_are_open_to_this_machine_alone_and_not_taken_twice(file: Path) -> None:
    ports = [port for service in composed(file).values() for port in service.get("ports", [])]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports)
    (own,) = composed(file)["tycostream"]["ports"]
    assert own.split(":")[2] == stages(DOCKERFILE.read_text())[-1].one("EXPOSE").text


@each_file
def test_tycostream_is_shut_in_and_has_time_to_stop(file: Path, tmp_path: Path) -> None:
    service = composed(file)["tycostream"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["stop_grace_period"].removesuffix("s")) > load_settings({}, tmp_path).limits.shutdown_seconds


@each_file
def test_what_is_mounted_exists_and_can_not_be_written(file: Path) -> None:
    named = yaml.safe_load(file.read_text()).get("volumes", {})
    for service in composed(file).values():
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert (file.parent / source).is_file()
                assert mode == ["ro"]
            else:
                assert source in named
    final = stages(DOCKERFILE.read_text())[-1]
    assert composed(file)["tycostream"]["volumes"] == [f"./schema.yaml:{final.one('WORKDIR').text}/schema.yaml:ro"]
    assert load_schema(file.parent / "schema.yaml").sources


@each_file
def test_every_variable_is_one_of_ours_and_leads_to_the_database_beside_it(file: Path, tmp_path: Path) -> None:
    variables = environment(file)
    assert set(variables) <= NAMES
    settings = load_settings(variables, tmp_path)
    assert not settings.warnings
    assert settings.database.type == file.parent.name
    assert settings.database.host == file.parent.name  # the service's name
    database = composed(file)[file.parent.name]
    assert f"127.0.0.1:{settings.database.port}:{settings.database.port}" in database["ports"]
    for name, value in database["environment"].items():
        if name == "POSTGRES_DB":
            assert value == settings.database.name


def test_materialize_is_reached_by_both_as_its_documents_say(tmp_path: Path) -> None:
    file = ROOT / "deploy" / "materialize" / "docker-compose.yaml"
    init = composed(file)["init"]
    settings = load_settings(environment(file), tmp_path).database
    assert init["command"][0] == f"postgres://{settings.user}@{settings.host}:{settings.port}/{settings.name}"
    assert (settings.user, settings.port, settings.name) == ("materialize", 6875, "materialize")
    scripts = [word.removeprefix("--file=") for word in init["command"] if word.startswith("--file=")]
    assert [volume.split(":")[1] for volume in init["volumes"]] == scripts


@pytest.mark.parametrize("name", ["materialize", "postgres"])
def test_the_example_settings_are_valid_as_a_file_env(name: str, tmp_path: Path) -> None:
    text = (ROOT / "config" / f"{name}.env").read_text()
    assert set(re.findall(r"^(?:# )?([A-Z_]+)=", text, re.MULTILINE)) <= NAMES
    (tmp_path / ".env").write_text(text)
    settings = load_settings({}, tmp_path)
    assert (settings.database.type, settings.database.host, settings.service.ui) == (name, "localhost", True)
