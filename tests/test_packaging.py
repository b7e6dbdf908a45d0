"""Installed from a wheel it is whole: the demonstration's data and the pages are in it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tycostream

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    files = [name for name in listed if name] or [
        str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()
    ]
    for name in files:
        if name.startswith(("tycostream/", "actors/", "setup", "README", "LICENSE")) and (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(copy),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_what_the_service_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "demo/schema.yaml",
        "demo/market.sql",
        "demo/page/index.html",
        "demo/page/main.js",
        "demo/page/demo.css",
        "py.typed",
        "databases/postgres/catalog.py",
    ):
        assert f"tycostream/{name}" in names
    static = ROOT / "tycostream" / "web" / "static"
    served = [file for file in static.rglob("*") if file.is_file() and file.name != "package.json"]
    assert len(served) > 20
    for file in served:
        assert f"tycostream/web/static/{file.relative_to(static)}" in names
    assert "actors/source.py" in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]


def test_the_installed_command_runs(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)],
        check=True,
        capture_output=True,
    )
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import tycostream; "
        "assert tycostream.__file__.startswith(sys.path[0]), tycostream.__file__; "
        "from tycostream.cli import main; main(['--version'])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(site)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == f"tycostream {tycostream.__version__}", run.stderr
    entry = zipfile.ZipFile(wheel).read(f"tycostream-{tycostream.__version__}.dist-info/entry_points.txt").decode()
    assert "tycostream = tycostream.cli:main" in entry
