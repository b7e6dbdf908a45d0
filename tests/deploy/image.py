"""Builds what deploy/Dockerfile describes without a container engine: its commands are run one by one, in a folder that
stands for the container's root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.dockerfile import Instruction, Stage, context, stages

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
FOLDERS = ("/source", "/wheels", "/opt/tycostream", "/app", "/data")
"""Of the image: these paths are moved below the folder that stands for its root."""


@dataclass(frozen=True)
class Image:
    """What came of it."""

    root: Path
    wheels: Stage
    final: Stage

    def moved(self, text: str) -> str:
        """A text with the image's paths below the root."""
        return re.sub(
            rf"(?<![\w.]){'|'.join(f'(?:{folder})' for folder in FOLDERS)}",
            lambda found: f"{self.root}{found[0]}",
            text,
        )

    @property
    def entrypoint(self) -> list[str]:
        """The command of a container."""
        return [self.moved(word) for word in self.final.one("ENTRYPOINT").words]

    @property
    def healthcheck(self) -> list[str]:
        """The command that asks whether it is well."""
        return [self.moved(word) for word in self.final.one("HEALTHCHECK").words]

    @property
    def workdir(self) -> Path:
        """The folder that a container starts in."""
        return Path(self.moved(self.final.one("WORKDIR").text))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a container."""
        found = {name: self.moved(value) for name, value in self.final.environment.items()}
        found["PATH"] = found["PATH"].replace("$PATH", os.defpath)
        return found | {"HOME": str(self.workdir), "LANG": "C.UTF-8"}


class Builder:
    """Carries out the instructions that concern files and commands. The users of this machine are left alone."""

    def __init__(self, root: Path, python: Path, arguments: dict[str, str] | None = None) -> None:
        first, last = stages(DOCKERFILE.read_text())
        self.image = Image(root, first, last)
        self._python = python
        self._given = arguments or {}

    def copy(self, instruction: Instruction, workdir: Path, sources: Path) -> None:
        """COPY from the build's context, which holds what .dockerignore lets through."""
        allowed = context(sources, (ROOT / ".dockerignore").read_text())
        *names, target = instruction.text.split()
        folder = Path(self.image.moved(target)) if target.startswith("/") else workdir / target
        for name in names:
            files = [one for one in allowed if one == name or one.startswith(f"{name}/")]
            assert files, f"{name} is not in the context"
            for one in files:
                inside = Path(one).relative_to(name) if one != name else Path()
                place = folder / Path(one).name if target.endswith("/") else folder / inside
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(sources / one, place)

    def run(self, stage: Stage, command: str, workdir: Path) -> None:
        """RUN in the shell form. What pip is told by this machine (its index, its cache) holds; that it keeps no cache does not."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP"))}
        environ = kept | stage.arguments | self._given | stage.environment
        environ.pop("PIP_NO_CACHE_DIR", None)
        environ |= {"PATH": f"{self._python}:{os.defpath}", "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
        done = subprocess.run(
            ["/bin/sh", "-c", self.image.moved(command)], cwd=workdir, env=environ, capture_output=True, text=True, check=False
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{command}\n{done.stdout}{done.stderr}")

    def build(self, sources: Path = ROOT) -> Image:
        """Both stages."""
        for stage in (self.image.wheels, self.image.final):
            self.build_stage(stage, sources)
        return self.image

    def build_stage(self, stage: Stage, sources: Path = ROOT) -> None:
        """One of the stages."""
        workdir = self.image.root
        for one in stage.instructions:
            if one.name == "WORKDIR":
                workdir = Path(self.image.moved(one.text))
                workdir.mkdir(parents=True, exist_ok=True)
            elif one.name == "COPY":
                self.copy(one, workdir, sources)
            elif one.name == "RUN" and not one.text.startswith("groupadd "):
                self.run(stage, one.text, workdir)


def base_python(folder: Path) -> Path:
    """The base image's Python: an environment of its own, with nothing but pip. Its folder of commands.

    It comes from a Python that the image's user may run too, where this machine has one.
    """
    others = shutil.which("python3", path=os.defpath)
    candidates = [Path(sys.executable), *([Path(others)] if others else [])]
    chosen = next(filter(open_to_all, candidates), candidates[0])
    subprocess.run([chosen, "-m", "venv", "--without-pip", str(folder)], check=True, capture_output=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "pip"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return folder / "bin"


def open_to_all(path: Path) -> bool:
    """Whether every user may run this."""
    real = path.resolve()
    return all(one.stat().st_mode & 0o001 for one in (real, *real.parents))


def open_folder() -> Path:
    """A folder that every user may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="tyco-image-"))
    folder.chmod(0o755)
    return folder
