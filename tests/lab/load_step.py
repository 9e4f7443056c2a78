"""One step of `bench_load`: so many calls at one server, a few of them by telephones that listen, for some seconds."""

import os
import time
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import trio

from .asterisk import PrivateAsterisk
from .load import Reading, Step, busy_seconds, processor_seconds, resident_megabytes
from .load_servers import Server
from .ports import PortClaims
from .sip import Call, CallRefused, SipCaller
from .sipp import PORTS_PER_CALL, Crowd, Sipp, call_in

TICKS = os.sysconf("SC_CLK_TCK")
LISTENERS = 4
"""Of the calls, those that the lab's own telephones place."""
CALLS_A_SECOND = 10.0
UP_SECONDS = 45.0
"""Within which all calls are to be up, once the last was placed."""
SETTLE_SECONDS = 1.0
POLL = 0.2
SPARE_SECONDS = 60.0
"""After which the callers hang up by themselves, should nobody tell them to."""


@attrs.frozen
class Scene:
    """What callers do. `ulaw` is what SIPp's say again and again, `pcm` the same as slin, for the telephones."""

    sipp: Sipp
    ulaw: bytes = attrs.field(repr=False)
    pcm: bytes = attrs.field(repr=False)


@attrs.define(eq=False)
class _Listeners:
    """The lab's telephones: `calls` are those that are up."""

    pbx: PrivateAsterisk
    extension: str
    scene: Scene
    seconds: float
    calls: list[Call] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)
    over: trio.Event = attrs.field(factory=trio.Event)

    async def ring(self, number: int) -> None:
        """One call, until `over`."""
        await trio.sleep(number / CALLS_A_SECOND)
        try:
            caller = SipCaller(answer_seconds=UP_SECONDS)
            async with caller.call(self.pbx.sip_uri(self.extension), caller_id=f"2{number:03d}") as call:
                self.calls.append(call)
                call.play_nowait(self.scene.pcm * round(self.seconds / (len(self.scene.pcm) / 16000) + 1))
                await self.over.wait()
        except CallRefused as error:
            self.refused.append(str(error))


async def measure(
    pbx: PrivateAsterisk, server: Server, scene: Scene, calls: int, seconds: float, directory: Path
) -> tuple[Step, list[str]]:
    """Have `calls` calls at the server, and look at them for `seconds` once all are up. Gives also what went wrong with
    the callers, in words. `directory` takes SIPp's files. Cancellation ends the calls."""
    ringing, listening = calls / CALLS_A_SECOND, min(calls, LISTENERS)
    longest = ringing + UP_SECONDS + SETTLE_SECONDS + seconds + SPARE_SECONDS
    idle_mb = resident_megabytes(_proc(server.pid, "status"))
    listeners = _Listeners(pbx, server.extension, scene, longest)
    ports = PortClaims()
    async with AsyncExitStack() as stack:
        stack.callback(ports.release)
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(listeners.over.set)
        for number in range(listening):
            nursery.start_soon(listeners.ring, number)
        crowd = None
        if rest := calls - listening:
            crowd = await stack.enter_async_context(
                call_in(
                    scene.sipp,
                    pbx.sip_port,
                    server.extension,
                    rest,
                    ulaw=scene.ulaw,
                    a_second=CALLS_A_SECOND,
                    first_rtp_port=ports.udp(PORTS_PER_CALL * (rest + 1)),
                    seconds=longest,
                    directory=directory,
                )
            )
        with trio.move_on_after(ringing + UP_SECONDS):
            while server.served() < calls:
                await trio.sleep(POLL)
        await trio.sleep(SETTLE_SECONDS)
        earlier = await server.metrics()
        axes = [(call, call.now) for call in listeners.calls]
        served = server.served()
        before = _read(pbx, server, crowd, earlier)
        await trio.sleep(seconds)
        heard = [call.line_stats(start) for call, start in axes]
        after = _read(pbx, server, crowd)
        served = min(served, server.served())
        full_mb = resident_megabytes(_proc(server.pid, "status"))
        after = attrs.evolve(after, metrics=await server.metrics())
    step = Step(calls, served, before, after, heard, idle_mb, full_mb, server.without_streaming())
    return step, [*listeners.refused, *(crowd.complaints() if crowd and served < calls else ())]


def _read(pbx: PrivateAsterisk, server: Server, crowd: Crowd | None, metrics: str = "") -> Reading:
    return Reading(
        at=time.monotonic(),
        server=processor_seconds(_proc(server.pid, "stat"), TICKS),
        asterisk=processor_seconds(_proc(pbx.pid, "stat"), TICKS),
        crowd=processor_seconds(_proc(crowd.pid, "stat"), TICKS) if crowd else 0.0,
        own=time.process_time(),
        machine=busy_seconds(Path("/proc/stat").read_text("ascii"), TICKS),
        metrics=metrics,
    )


def _proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text("utf-8", "replace")
