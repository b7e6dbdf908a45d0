"""All rows of a source to new clients, while others get changes; beside a loop that formats and sends the same rows."""

from __future__ import annotations

import asyncio
import socket
from json.encoder import encode_basestring_ascii as text

from benchmarks.clients import Group
from benchmarks.harness import FedService, Goal, Meter, Result, paced, resident_mib, serving, sink
from benchmarks.plain import plain
from benchmarks.rows import made_now, row, shown
from tycostream.model import Row

HELD = 100_000
WATCH = "subscription { trades(where: {id: {_eq: 0}}) { operation data { id account price made_at } fields } }"
OTHERS = "subscription { trades(where: {id: {_gt: 0}}) { operation data { id account symbol side price quantity made_at note } fields } }"  # fmt: skip  # noqa: E501
"""Everything but the row that changes meanwhile, so that it is known how many messages there will be."""


async def snapshot(scale: float) -> list[Result]:
    """100,000 rows of 8 columns to one new client and to 10 at once, beside clients that get 200 changes a second."""
    rows = int(HELD * scale)
    results = []
    async with serving(rows) as service, sink() as watchers:
        watching = await watchers.connect(service.port, 10, WATCH)
        seen = 1
        for newcomers in (1, 10):
            feeding = asyncio.create_task(_change(service, watching, seen))
            found = await _arrive(service, rows, newcomers)
            seen = await feeding
            latency = await watching.reached(seen)
            results += found
            results.append(
                Result(
                    f"  10 others, while {newcomers} {'comes' if newcomers == 1 else 'come'}",
                    p50=latency.percentile(0.5),
                    p99=latency.percentile(0.99),
                    goal=Goal("p99", at_most=20),
                )
            )
    return results


async def _change(service: FedService, watching: Group, seen: int) -> int:
    """Changes of row 0 for two seconds; how many the watchers have then had."""
    await watching.reached(seen)
    changes = await paced(service.feed.emit, lambda number: ("0", made_now(0, 1.5 + number)), 400, 1, 0.005)
    return seen + len(changes)


async def _arrive(service: FedService, rows: int, newcomers: int) -> list[Result]:
    expected = {str(number): shown(row(number)) for number in range(1, rows)}
    async with sink() as clients:
        async with plain(clients, newcomers) as beside:
            meter = Meter()
            for opened in beside.sockets:
                opened.setblocking(True)
            await asyncio.to_thread(_send, beside.sockets, [row(number) for number in range(1, rows)])
            seen = await beside.group.reached(rows - 1)
            limit = (rows - 1) * newcomers / (seen.last - meter.began)
            await beside.group.check(rows - 1, expected)
        meter = Meter()
        group = await clients.connect(service.port, newcomers, OTHERS)
        seen = await group.reached(rows - 1)
        total = (rows - 1) * newcomers
        speed, cpu = total / (seen.last - meter.began), meter.cpu_per(total)
        await group.check(rows - 1, expected)
    who = "one client" if newcomers == 1 else f"{newcomers} clients at once"
    return [
        Result(
            f"snapshot of {rows:,} rows to {who}",
            rows_per_second=speed,
            cpu_per_message=cpu,
            resident=resident_mib(),
            ratio=speed / limit,
            limit=f"f-strings and plain sends: {limit:,.0f} rows/s",
            goal=Goal("rows_per_second", at_least=250_000),
        ),
        Result(f"  first row of {who}", milliseconds=seen.first_after, goal=Goal("milliseconds", at_most=100)),
    ]


def _send(sockets: list[socket.socket], rows: list[Row]) -> None:
    """500 rows at a time, formatted once, to all."""
    for at in range(0, len(rows), 500):
        parts = []
        for number, account, symbol, side, price, quantity, made_at, note in rows[at : at + 500]:
            message = (
                f'{{"id":"00000","type":"next","payload":{{"data":{{"trades":{{"operation":"INSERT","data":{{"id":{number},'
                f'"account":{text(account)},"symbol":{text(symbol)},"side":{text(side)},"price":{price},'
                f'"quantity":{quantity},"made_at":{text(made_at)},"note":{text(note)}}},"fields":["id","account",'
                '"symbol","side","price","quantity","made_at","note"]}}}}'
            )
            parts += (f"\x81\x7e{chr(len(message) >> 8)}{chr(len(message) & 255)}", message)
        data = "".join(parts).encode("latin-1")
        for one in sockets:
            one.sendall(data)
