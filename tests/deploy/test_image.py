"""deploy/Dockerfile: what it says, and what its commands make."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from packaging.requirements import Requirement

import tycostream
from tests.deploy.container import container
from tests.deploy.dockerfile import context, stages
from tests.deploy.image import DOCKERFILE, ROOT, Builder, Image, base_python, open_folder, open_to_all
from tests.support.client import connected
from tests.support.postgres import Database
from tycostream.settings import load_settings

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String}
"""
TABLE = "CREATE TABLE trades (id int PRIMARY KEY, symbol text); INSERT INTO trades VALUES (1, 'AAPL')"
QUERY = "subscription { trades { operation data { id symbol } fields timestamp } }"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Outside of pytest's, which only root may enter."""
    made = open_folder()
    yield made
    shutil.rmtree(made)


@contextmanager
def registry() -> Iterator[None]:
    """Where no package registry answers, tests that need one are skipped, unless everything is required."""
    try:
        yield
    except RuntimeError as error:
        if "No matching distribution" in str(error) and os.environ.get("TYCOSTREAM_REQUIRE_ALL") != "1":
            pytest.skip("no package registry answers")
        raise


@pytest.fixture(scope="module")
def python(folder: Path) -> Path:
    """The base image's Python."""
    with registry():
        return base_python(folder / "base")


@pytest.fixture(scope="module")
def image(folder: Path, python: Path) -> Image:
    """The image's files, built by the Dockerfile's own commands."""
    (folder / "root").mkdir()
    with registry():
        return Builder(folder / "root", python).build()


# What it says


def test_the_base_is_an_exact_slim_version_and_the_same_in_both_stages() -> None:
    first, last = stages(DOCKERFILE.read_text())
    assert first.base == last.base
    image, tag = first.base.split(":")
    assert image == "python"
    version, kind, _system = tag.split("-")
    assert len(version.split(".")) == 3
    assert kind == "slim"


def test_it_runs_as_a_fixed_user_without_a_shell_and_hears_sigterm() -> None:
    _, last = stages(DOCKERFILE.read_text())
    assert last.one("USER").text == "10001:10001"
    users = last.all("RUN")[0].text
    assert "groupadd --gid 10001 " in users
    assert "useradd --uid 10001 --gid 10001 " in users
    assert last.one("ENTRYPOINT").words == ["/opt/tycostream/bin/tycostream"]
    assert last.one("HEALTHCHECK").words[0] == "/opt/tycostream/bin/python"
    assert last.one("STOPSIGNAL").text == "SIGTERM"
    after = [one.name for one in last.instructions[last.instructions.index(last.one("USER")) :]]
    assert "RUN" not in after
    assert "COPY" not in after


def test_it_names_the_services_own_port(tmp_path: Path) -> None:
    _, last = stages(DOCKERFILE.read_text())
    assert int(last.one("EXPOSE").text) == load_settings({}, tmp_path).service.port


def test_the_second_stage_gets_its_packages_from_the_first_alone() -> None:
    first, last = stages(DOCKERFILE.read_text())
    install = last.all("RUN")[1]
    mount = dict(part.split("=") for part in install.flags["mount"].split(","))
    assert mount == {"type": "bind", "from": first.name, "source": "/wheels", "target": "/wheels"}
    assert "--no-index --find-links /wheels" in install.text
    assert [one.text for one in last.all("COPY")] == ["deploy/healthcheck.py /opt/tycostream/healthcheck.py"]


def test_the_context_is_what_is_copied_and_nothing_else(tmp_path: Path) -> None:
    for name in (
        ".env", ".git/config", "tests/test_x.py", "deploy/Dockerfile", "deploy/constraints.txt", "deploy/healthcheck.py", "setup.cfg",
        "setup.py", "README.md", "LICENSE", "docs/README.md", "tycostream/web/static/console/index.html", "tycostream/__pycache__/app.pyc",
        "tycostream/old.pyc", "actors/source.py", ".venv/lib/tycostream/x.py", "tycostream.egg-info/PKG-INFO",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert context(tmp_path, (ROOT / ".dockerignore").read_text()) == [
        "LICENSE", "README.md", "actors/source.py", "deploy/constraints.txt", "deploy/healthcheck.py", "setup.cfg", "setup.py",
        "tycostream/web/static/console/index.html",
    ]  # fmt: skip


@pytest.mark.parametrize(("extras", "wanted"), [("", "tycostream"), ("embedded", "tycostream[embedded]")])
def test_extras_are_a_build_argument(tmp_path: Path, extras: str, wanted: str) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "python").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/told\n')
    (commands / "python").chmod(0o755)
    (tmp_path / "root" / "opt" / "tycostream" / "bin").mkdir(parents=True)
    shutil.copy(commands / "python", tmp_path / "root" / "opt" / "tycostream" / "bin" / "python")
    Builder(tmp_path / "root", commands, {"EXTRAS": extras}).build()
    told = (tmp_path / "told").read_text().splitlines()
    assert wanted.replace("tycostream", ".") in told
    assert wanted in told


def required(extra: str) -> dict[str, Requirement]:
    """What tycostream needs of other packages, and what those need in turn."""
    found: dict[str, Requirement] = {}
    waiting = [("tycostream", extra)]
    while waiting:
        name, extras = waiting.pop()
        for text in importlib.metadata.requires(name) or []:
            one = Requirement(text)
            if (one.marker is None or one.marker.evaluate({"extra": extras})) and one.name.lower() not in found:
                found[one.name.lower()] = one
                waiting.append((one.name, ""))
    return found


def test_every_package_has_an_exact_version_that_fits_setup_cfg() -> None:
    lines = [
        line for line in (ROOT / "deploy" / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    ]
    pinned = {name.lower().replace("_", "-"): version for name, version in (line.split("==") for line in lines)}
    for name, one in (required("") | required("embedded")).items():
        key = name.replace("_", "-")
        assert key in pinned, f"add to deploy/constraints.txt: {one.name}=={importlib.metadata.version(one.name)}"
        assert one.specifier.contains(pinned[key], prereleases=True), f"{one} does not admit {pinned[key]}"
    assert "setuptools" in pinned


# What it makes


def test_what_is_installed_is_whole_and_nothing_is_left_over(image: Image) -> None:
    version = subprocess.run(
        [*image.entrypoint, "--version"], capture_output=True, text=True, check=True, cwd=image.workdir
    )
    assert version.stdout.strip() == f"tycostream {tycostream.__version__}"
    installed = image.root / "opt" / "tycostream"
    assert not (installed / "bin" / "pip").exists()
    packages = next(installed.glob("lib/python3*/site-packages"))
    assert not list(packages.glob("pip*"))
    bytecode = [path.name.split(".")[0] for path in (packages / "tycostream" / "__pycache__").glob("*.pyc")]
    assert "serving" in bytecode
    assert sorted(path.name for path in image.root.iterdir()) == ["app", "opt", "source", "wheels"]


def test_the_same_sources_give_the_same_wheel(image: Image, folder: Path, python: Path) -> None:
    (built,) = (image.root / "wheels").glob("tycostream-*.whl")
    builder = Builder(folder / "again", python)
    (folder / "again").mkdir()
    sources = folder / "sources"
    for name in context(ROOT, (ROOT / ".dockerignore").read_text()):
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, sources / name)
        os.utime(sources / name, (1_000_000_000, 1_000_000_000))
    wheels = builder.image.wheels
    for instruction in wheels.all("COPY"):
        builder.copy(instruction, folder / "again" / "source", sources)
    command = wheels.all("RUN")[-1].text
    assert command.startswith("python -m pip wheel ")
    builder.run(wheels, command.replace("pip wheel", "pip wheel --no-deps"), folder / "again" / "source")
    (again,) = (folder / "again" / "wheels").glob("tycostream-*.whl")
    assert again.read_bytes() == built.read_bytes()
    assert {one.date_time[0] for one in zipfile.ZipFile(again).infolist()} == {2026}


async def test_a_container_serves_is_healthy_and_ends_with_code_0(image: Image, postgres: Database) -> None:
    postgres.execute(TABLE)
    async with container(image, {"schema.yaml": SCHEMA}, postgres.environ) as running:
        await running.until_healthy('"status":"ok"')
        if os.geteuid() == 0 and open_to_all(Path(image.entrypoint[0]).parent / "python"):
            assert psutil.Process(running.process.pid).uids().effective == 10001
        async with connected(running.port) as client:
            trades = await client.subscribe(QUERY)
            await client.until(lambda: trades.rows == {(1,): {"id": 1, "symbol": "AAPL"}})
            code, told = await running.health()
            assert code == 0
            assert '"state":"LIVE"' in told
            running.process.send_signal(signal.SIGTERM)
            assert (await client.closed())[0] == 1001
        code, output = await running.ended()
        assert code == 0, output
        assert "Traceback" not in output
        code, told = await running.health()
        assert (code, told.startswith("no answer: ")) == (1, True)
        assert running.written() == []


async def test_a_container_without_its_database_is_degraded_and_still_healthy(image: Image, tmp_path: Path) -> None:
    environ = {"DATABASE_TYPE": "postgres", "DATABASE_HOST": str(tmp_path), "SOURCE_START": "eager"}
    async with container(image, {"schema.yaml": SCHEMA}, environ) as running:
        await running.until_healthy('"status":"degraded"')
        running.process.kill()


async def test_a_container_whose_every_source_has_failed_is_not_healthy(image: Image, postgres: Database) -> None:
    async with container(image, {"schema.yaml": SCHEMA}, postgres.environ | {"SOURCE_START": "eager"}) as running:
        told = await running.until_health(1, '"status":"failed"')
        assert told.startswith("503 ")
        running.process.kill()


async def test_settings_come_from_a_mounted_env_file_too_and_commands_from_arguments(
    image: Image, postgres: Database
) -> None:
    postgres.execute(TABLE)
    environ = "".join(f"{name}={value}\n" for name, value in postgres.environ.items())
    async with container(image, {"schema.yaml": SCHEMA, ".env": environ}, {}, "check") as running:
        code, output = await running.ended()
    assert code == 0, output
    assert "trades: fits; followed by logical replication" in output
