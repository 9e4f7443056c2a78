"""One clock a call, one clock for all calls, or one with a few slots? Measured without a daemon.

    python -m tests.lab.bench_clock [--seconds 5] [--calls 10 50 100 200]

20 ms frames of slin go to so many loopback TCP sockets, which another process drains. Four ways to write them:

    own clocks   a Trio task a call, each on its own absolute clock; the calls' phases lie evenly over the 20 ms
    one clock    one task wakes up every 20 ms and awaits `send_all` for each call in turn
    one, plain   the same with a plain non-blocking send: no call can hold up the others (a full buffer is a lost frame)
    in slots     agentd's own clock (agentd.media.clock): plain sends in a few slots, which lie evenly over the 20 ms

Lateness is from a frame's due time to the moment its bytes are with the kernel; in slots, to the moment before.
"""

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio
from prometheus_client import generate_latest
from tqdm import tqdm

from agentd.audiosocket.wire import SocketWire
from agentd.media.clock import LineClock
from agentd.metrics import Metrics

from .figures import Conditions, buckets, histogram_quantile, quantile, write_report

FRAME = b"\x10\x01\x40" + bytes(320)
FRAME_SECONDS = 0.02
# Drains every connection until all are closed; its own processor time is not counted.
DRAIN = """
import selectors, socket
listener = socket.create_server(("127.0.0.1", 0), backlog=512)
print(listener.getsockname()[1], flush=True)
ready = selectors.DefaultSelector()
ready.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        if key.fileobj is listener:
            ready.register(listener.accept()[0], selectors.EVENT_READ)
        elif not key.fileobj.recv(65536):
            ready.unregister(key.fileobj)
            key.fileobj.close()
"""

Late = list[float]


async def own_clocks(streams: Sequence[trio.SocketStream], start: float, ticks: int) -> Late:
    late: Late = []

    async def write(stream: trio.SocketStream, phase: float) -> None:
        for tick in range(ticks):
            due = start + phase + tick * FRAME_SECONDS
            await trio.sleep_until(due)
            await stream.send_all(FRAME)
            late.append(trio.current_time() - due)

    async with trio.open_nursery() as nursery:
        for number, stream in enumerate(streams):
            nursery.start_soon(write, stream, FRAME_SECONDS * number / len(streams))
    return late


async def one_clock(streams: Sequence[trio.SocketStream], start: float, ticks: int) -> Late:
    late: Late = []
    for tick in range(ticks):
        due = start + tick * FRAME_SECONDS
        await trio.sleep_until(due)
        for stream in streams:
            await stream.send_all(FRAME)
            late.append(trio.current_time() - due)
    return late


async def one_plain(streams: Sequence[trio.SocketStream], start: float, ticks: int) -> Late:
    late: Late = []
    # Trio keeps its sockets non-blocking; a duplicate shares that, and offers a send that never waits.
    sockets = [stream.socket.dup() for stream in streams]
    plain = [socket.socket(fileno=one.detach()) for one in sockets]
    try:
        for tick in range(ticks):
            due = start + tick * FRAME_SECONDS
            await trio.sleep_until(due)
            for one in plain:
                one.send(FRAME)
                late.append(trio.current_time() - due)
    finally:
        for one in plain:
            one.close()
    return late


async def in_slots(streams: Sequence[trio.SocketStream], start: float, ticks: int) -> Late:
    metrics, late = Metrics(), list[float]()
    clock = LineClock(metrics)

    async def write(stream: trio.SocketStream, begin: float) -> None:
        wire = SocketWire(stream)

        def tick(number: int, _now: float) -> bool | None:
            wire.write(FRAME)
            return True if number >= ticks else None

        await trio.sleep_until(begin)
        await clock.keep(tick)

    async with trio.open_nursery() as nursery:
        for number, stream in enumerate(streams):
            nursery.start_soon(write, stream, start + FRAME_SECONDS * number / len(streams))
    counts = buckets(generate_latest(metrics.registry).decode(), "agentd_line_lateness_seconds")
    for share in range(1, 1000):
        late.append(histogram_quantile(counts, share / 1000) or 0.0)
    return late


WAYS: dict[str, Callable[[Sequence[trio.SocketStream], float, int], Awaitable[Late]]] = {
    "own clocks": own_clocks,
    "one clock": one_clock,
    "one, plain": one_plain,
    "in slots": in_slots,
}


async def measure(way: str, calls: int, port: int, seconds: float) -> dict[str, float | int | str]:
    """One way with so many calls."""
    streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(calls)]
    begun, processor = trio.current_time(), time.process_time()
    late = await WAYS[way](streams, begun + 0.1, round(seconds / FRAME_SECONDS))
    used = (time.process_time() - processor) / (trio.current_time() - begun)
    for stream in streams:
        await stream.aclose()
    milliseconds = [one * 1000 for one in late]
    return {
        "way": way,
        "calls": calls,
        "p50_ms": round(quantile(milliseconds, 0.5), 2),
        "p99_ms": round(quantile(milliseconds, 0.99), 2),
        "max_ms": round(max(milliseconds), 2),
        "cpu_percent": round(100 * used, 1),
    }


async def run(numbers: Sequence[int], seconds: float) -> int:
    conditions = Conditions.now()
    rows: list[dict[str, Any]] = []
    drain = await trio.lowlevel.open_process([sys.executable, "-I", "-c", DRAIN], stdout=subprocess.PIPE)
    assert drain.stdout is not None
    try:
        port = int(await drain.stdout.receive_some(16))
        for calls, way in tqdm([(calls, way) for calls in numbers for way in WAYS], disable=None):
            rows.append(await measure(way, calls, port, seconds))
    finally:
        drain.kill()
        with trio.CancelScope(shield=True):
            await drain.wait()
            await drain.stdout.aclose()
    print("calls  way          p50 ms  p99 ms  max ms   CPU % of a core")
    for row in rows:
        figures = f"{row['p50_ms']:6.2f}  {row['p99_ms']:6.2f}  {row['max_ms']:6.2f}  {row['cpu_percent']:6.1f}"
        print(f"{row['calls']:5d}  {row['way']:11}  {figures}")
    path = write_report("clock", {"seconds_each": seconds, "ways": rows}, conditions)
    print(f"{conditions}\nwritten to {path}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (default 5)")
    parser.add_argument("--calls", type=int, nargs="+", default=[10, 50, 100, 200], help="(default 10 50 100 200)")
    arguments = parser.parse_args()
    return trio.run(run, arguments.calls, arguments.seconds)


if __name__ == "__main__":
    sys.exit(main())
