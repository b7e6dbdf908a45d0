"""scripts/container, with engines that only pretend: none, and one that answers as docker and podman do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.image import ROOT

ENGINE = r"""#!/usr/bin/env bash
printf '%s\n' "$*" >>"$ENGINE_LOG"
case $1 in
info) exit "${ENGINE_INFO:-0}" ;;
--version) echo "${0##*/} version 5.0" ;;
run) echo container-1 ;;
exec)
    [[ $* == *"id -u"* ]] && { echo "${ENGINE_USER:-10001}"; exit; }
    echo '200 {"status": "ok"}'; exit "${ENGINE_HEALTH:-0}" ;;
inspect) [[ $* == *ExitCode* ]] && echo "${ENGINE_CODE:-0}" || echo "[CMD ${ENGINE_CHECK-healthcheck.py}]" ;;
logs) echo "the container's log" ;;
esac
"""


def ran(folder: Path, engine: str | None, **environ: str) -> tuple[int, str, list[str]]:
    """Exit code, output, and what the engine was told."""
    commands = folder / "bin"
    commands.mkdir()
    for name in ("bash", "dirname", "git", "sleep"):
        found = subprocess.run(["which", name], capture_output=True, text=True, check=False).stdout.strip()
        if found:
            (commands / name).symlink_to(os.path.realpath(found))
    (commands / "env").symlink_to("/usr/bin/env")
    if engine is not None:
        (commands / engine).write_text(ENGINE)
        (commands / engine).chmod(0o755)
    log = folder / "log"
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / "container"), "--build-arg", "EXTRAS=embedded"],
        env={"PATH": str(commands), "ENGINE_LOG": str(log)} | environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr, log.read_text().splitlines() if log.exists() else []


def test_without_an_engine_it_says_so_and_does_nothing(tmp_path: Path) -> None:
    code, told, _ = ran(tmp_path, None)
    assert code == 3
    assert (
        told == "There is no container engine here (neither docker nor podman answers): nothing was built or probed.\n"
    )


def test_a_client_without_its_daemon_is_no_engine(tmp_path: Path) -> None:
    code, told, log = ran(tmp_path, "docker", ENGINE_INFO="1")
    assert (code, log) == (3, ["info"])
    assert "nothing was built or probed" in told


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_it_builds_probes_and_clears_away(tmp_path: Path, engine: str) -> None:
    code, told, log = ran(tmp_path, engine)
    assert code == 0, told
    build = next(line for line in log if line.startswith("build "))
    assert ("--format docker" in build) == (engine == "podman")
    assert "--file deploy/Dockerfile --tag tycostream --build-arg SOURCE_DATE_EPOCH=" in build
    assert build.endswith(" --build-arg EXTRAS=embedded .")
    run = next(line for line in log if line.startswith("run "))
    assert "--read-only --cap-drop ALL --security-opt no-new-privileges" in run
    assert "stop --time 10 container-1" in log
    assert log[-1] == "rm --force container-1"
    assert "SIGTERM ended it with code 0" in told


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"ENGINE_USER": "0"}, "it runs as user 0, not 10001."),
        ({"ENGINE_CODE": "137"}, "SIGTERM ended it with code 137, not 0."),
        ({"ENGINE_CHECK": ""}, "the image has no HEALTHCHECK."),
        ({"ENGINE_HEALTH": "1", "WAIT": "1"}, "it is not healthy after 1 seconds."),
    ],
)
def test_what_is_not_right_is_told_with_the_containers_log(tmp_path: Path, environ: dict[str, str], why: str) -> None:
    code, told, log = ran(tmp_path, "docker", **environ)
    assert code == 1
    assert f"That failed: {why}\nthe container's log\n" in told
    assert log[-1] == "rm --force container-1"
