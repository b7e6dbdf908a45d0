"""Questions that two processes ask each other over a channel, and their answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

log = logging.getLogger("tycostream.relay")

Answer = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Answers a question of this name; what it raises is told to the asker as a mistake, without its text."""


class CallError(Exception):
    """There is no answer: the other side is gone, or has failed."""


class SilentError(CallError):
    """There is no answer in time."""


class Calls:
    """One end. `say` sends a message to the other, `answer` answers its questions."""

    def __init__(self, say: Callable[[dict[str, Any]], None], answer: Answer) -> None:
        self._say = say
        self._answer = answer
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._closed = False

    async def ask(self, name: str, within: float | None = None, **arguments: Any) -> Any:
        """The other side's answer. Raises CallError where there is none, SilentError where there is none within so many
        seconds."""
        if self._closed:
            raise CallError("the other process is gone")
        number = next(self._numbers)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._say({"ask": name, "number": number, "arguments": arguments})
            async with asyncio.timeout(within):
                return await asked
        except TimeoutError:
            raise SilentError(f"the other process has not answered within {within:g} s") from None
        finally:
            self._asked.pop(number, None)

    def heard(self, message: dict[str, Any]) -> bool:
        """A message of the other side; whether it was a question or an answer."""
        if "ask" in message:
            task = asyncio.ensure_future(self._reply(message["ask"], message["number"], message["arguments"]))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif "answer" in message or "failed" in message:
            asked = self._asked.pop(message["number"], None)
            if asked is not None and not asked.done():
                if "failed" in message:
                    asked.set_exception(CallError(message["failed"]))
                else:
                    asked.set_result(message["answer"])
        else:
            return False
        return True

    async def _reply(self, name: str, number: int, arguments: dict[str, Any]) -> None:
        try:
            answer = await self._answer(name, arguments)
        except Exception as error:
            log.error("the question %s of another process failed", name, exc_info=error)
            self._say({"failed": f"it failed with {type(error).__name__}", "number": number})
        else:
            self._say({"answer": answer, "number": number})

    async def close(self) -> None:
        """Nobody is asked any more, and who waits for an answer gets none."""
        self._closed = True
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(CallError("the other process is gone"))
        answering = list(self._answering)
        for task in answering:
            task.cancel()
        if answering:
            await asyncio.wait(answering)
