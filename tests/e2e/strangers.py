"""Whoever may come to an open port, all at once: `python -m tests.e2e.strangers SEED SECONDS PORTS`.

PORTS is JSON, a list of [address, family, kind, private]. How many connections each took is printed as JSON.
"""

import json
import os
import random
import sys
from collections import Counter
from contextlib import suppress
from socket import AddressFamily, SocketKind

import trio

from tests.lab import garbage
from tests.lab.open_ports import connect
from tests.unit.service.odd_requests import TABLE

AT_ONCE = 4
"""Connections to a port at a time that send something."""
CROWD = 150
"""Those that are there besides, and say nothing."""
PAUSE = 0.01

Address = tuple[str, int] | str


async def throw(seed: str, seconds: float, ports: list[tuple[Address, int, int, bool]]) -> Counter[str]:
    taken: Counter[str] = Counter()
    payloads = [*garbage.PAYLOADS.values(), *((lambda _choose, odd=odd: odd.sent) for odd in TABLE)]
    every = [(payload, way) for payload in payloads for way in garbage.WAYS.values()]

    async def reach(address: Address, family: int, kind: int) -> trio.SocketStream:
        return await connect(address, AddressFamily(family), SocketKind(kind))

    async def stranger(address: Address, family: int, kind: int, number: int) -> None:
        choose = random.Random(f"{seed} {number}")
        order = choose.sample(every, len(every))[number::AT_ONCE]
        while True:
            for payload, way in order:
                taken[str(address)] += await garbage.send(
                    lambda: reach(address, family, kind), payload(choose), way, choose
                )
                await trio.sleep(PAUSE)

    async def crowd(address: Address, family: int, kind: int) -> None:
        here: list[trio.SocketStream] = []
        try:
            with suppress(OSError):
                for _ in range(CROWD):
                    here.append(await reach(address, family, kind))  # noqa: PERF401 - those before a refusal stay
            await trio.sleep_forever()
        finally:
            for stream in here:
                stream.socket.close()

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for address, family, kind, private in ports:
                if not private:  # whoever is our own user there has other means
                    nursery.start_soon(crowd, address, family, kind)
                for number in range(AT_ONCE):
                    nursery.start_soon(stranger, address, family, kind, number)
    return taken


if __name__ == "__main__":
    os.nice(19)  # what is asked is what agentd makes of it, and the caller is on this host too
    seed, seconds, ports = sys.argv[1:]
    given = [
        (address if isinstance(address, str) else (address[0], address[1]), *rest)
        for address, *rest in json.loads(ports)
    ]
    print(json.dumps(trio.run(throw, seed, float(seconds), given)))
