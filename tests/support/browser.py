"""Headless Chromium, driven over the DevTools protocol. Where it is not installed, tests of pages are skipped."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.support.needs import needs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = needs("Chromium is not installed" if CHROMIUM is None else None)

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
)  # fmt: skip


class NavigatedError(Exception):
    """The page went elsewhere while it was asked."""


class Page:
    """One page. `complaints` are errors and warnings in its console, `requests` the addresses that it asked for."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._socket.write_message(json.dumps(message))
        async with asyncio.timeout(30):
            while True:
                answer = json.loads(await self._socket.read_message() or "{}")
                if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                    self.complaints.append(json.dumps(answer["params"])[:500])
                elif answer.get("method") == "Network.requestWillBeSent":
                    self.requests.append(answer["params"]["request"]["url"])
                elif answer.get("method") == "Network.webSocketCreated":
                    self.requests.append(answer["params"]["url"])
                if answer.get("id") == number:
                    if "navigated" in answer.get("error", {}).get("message", ""):
                        raise NavigatedError
                    assert "error" not in answer, answer
                    result: dict[str, Any] = answer["result"]
                    return result

    async def open(self, url: str) -> None:
        """Go to an address."""
        if self._session is None:
            target = await self.call("Target.createTarget", url="about:blank")
            attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            self._session = attached["sessionId"]
            await self.call("Runtime.enable")
            await self.call("Log.enable")
            await self.call("Network.enable")
        await self.call("Page.navigate", url=url)

    async def look(self, width: int, scheme: str) -> None:
        """See it on a screen of this width, in the colour scheme light or dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        async with asyncio.timeout(20):
            while not await self._is(expression):
                await asyncio.sleep(0.02)

    async def _is(self, expression: str) -> bool:
        try:
            return bool(await self.ask(expression))
        except NavigatedError:
            return False


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    """A browser with an empty profile in this folder."""
    assert CHROMIUM is not None, "Chromium is not installed"
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while not (found := re.search(rb"DevTools listening on (ws://\S+)", await process.stderr.readline())):
                assert process.returncode is None, "Chromium ended"
        socket = await websocket_connect(found[1].decode(), max_message_size=100_000_000)
        try:
            yield Page(socket)
        finally:
            socket.close()
            while await socket.read_message() is not None:
                pass
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
