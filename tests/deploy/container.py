"""Runs an image's ENTRYPOINT as a container engine would: in its folder, with its environment, as its user where this
process may change users."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.image import Image, open_to_all

SECONDS = 30.0


@dataclass
class Container:
    """One that runs."""

    image: Image
    process: asyncio.subprocess.Process
    port: int
    environ: dict[str, str]
    before: set[Path]

    async def health(self) -> tuple[int, str]:
        """What HEALTHCHECK answers: its exit code, and what it printed."""
        process = await asyncio.create_subprocess_exec(
            *self.image.healthcheck, cwd=self.image.workdir, env=self.environ, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, **_user(self.image),
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
        assert process.returncode is not None
        return process.returncode, output.decode().replace('": ', '":')

    async def until_health(self, code: int, wanted: str) -> str:
        """Until HEALTHCHECK ends with this code and prints this."""
        async with asyncio.timeout(SECONDS):
            while True:
                found, told = await self.health()
                if found == code and wanted in told:
                    return told
                if self.process.returncode is not None:
                    raise AssertionError(await self.ended())

    async def until_healthy(self, wanted: str) -> str:
        """Until HEALTHCHECK is content and prints this."""
        return await self.until_health(0, wanted)

    async def ended(self) -> tuple[int, str]:
        """Exit code and output."""
        output, _ = await asyncio.wait_for(self.process.communicate(), SECONDS)
        assert self.process.returncode is not None
        return self.process.returncode, output.decode()

    def written(self) -> list[str]:
        """The files of the image's that were made while it ran."""
        return sorted(str(path) for path in _files(self.image) - self.before)


def _files(image: Image) -> set[Path]:
    return set(image.root.rglob("*"))


def _user(image: Image) -> dict[str, Any]:
    if os.geteuid() != 0 or not open_to_all(Path(image.entrypoint[0]).parent / "python"):
        return {}
    user, group = map(int, image.final.one("USER").text.split(":"))
    return {"user": user, "group": group, "extra_groups": []}


@asynccontextmanager
async def container(
    image: Image, mounted: dict[str, str], environ: dict[str, str], *arguments: str
) -> AsyncIterator[Container]:
    """A running container, with files mounted into its working folder; killed at the end."""
    for name, text in mounted.items():
        (image.workdir / name).write_text(text)
        (image.workdir / name).chmod(0o444)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = image.environment | {"GRAPHQL_PORT": str(port)} | environ
    before = _files(image)
    process = await asyncio.create_subprocess_exec(
        *image.entrypoint, *arguments, cwd=image.workdir, env=environ, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, **_user(image),
    )  # fmt: skip
    try:
        yield Container(image, process, port, environ, before)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        for name in mounted:
            (image.workdir / name).unlink()
