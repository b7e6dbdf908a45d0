"""Names become addresses that a policy lets webhooks call. The connection goes to those addresses and no others: a name
that changes its address between a check and the call (DNS rebinding) gains nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

from tornado.netutil import Resolver

from tycostream.triggers.policy import TargetError, TargetPolicy

Found = list[tuple[int, Any]]
"""Address families with socket addresses, as `tornado.netutil.Resolver` gives them."""

LookUp = Callable[[str, int, int], Awaitable[Found]]

_LOOKUPS = 4
"""Names looked up at one time. Each takes a thread of the loop's pool, which the rest of the service needs too."""


class GuardedResolver(Resolver):
    """Finds a host's addresses and leaves out those that the policy refuses.

    Calls that ask for the same host at the same time share one lookup, so that a host whose name server is silent
    holds one thread at most.
    """

    def initialize(self, policy: TargetPolicy, look_up: LookUp | None = None) -> None:
        self._policy = policy
        self._look_up = look_up or _system
        self._running: dict[tuple[str, int, int], asyncio.Task[Found]] = {}
        self._slots = asyncio.Semaphore(_LOOKUPS)

    async def resolve(self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC) -> Found:
        """The addresses that may be called. Raises OSError for an unknown name, TargetError where none may be."""
        found = _literal(host, port) or await self._addresses(host, port, family)
        if not found:
            raise OSError("the host has no address")
        refusals = [self._policy.refusal(host, address[0]) for _family, address in found]
        allowed = [one for one, refusal in zip(found, refusals, strict=True) if refusal is None]
        if not allowed:
            raise TargetError(f"the host {host} may not be called: {refusals[0]}")
        return allowed

    def close(self) -> None:
        """Give up what is being looked up."""
        for task in list(self._running.values()):
            task.cancel()

    async def _addresses(self, host: str, port: int, family: int) -> Found:
        key = host, port, family
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._in_turn(host, port, family))
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task)

    async def _in_turn(self, host: str, port: int, family: int) -> Found:
        async with self._slots:
            return await self._look_up(host, port, family)

    def _finished(self, key: tuple[str, int, int], task: asyncio.Task[Found]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # those who asked may all have gone by now


async def _system(host: str, port: int, family: int) -> Found:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [(kind, address) for kind, _, _, _, address in found]


def _literal(host: str, port: int) -> Found | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return [(socket.AF_INET, (str(address), port))]
    return [(socket.AF_INET6, (str(address), port, 0, 0))]
