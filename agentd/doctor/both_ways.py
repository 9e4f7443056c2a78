"""Two trial legs of a transport share a bridge, so that Asterisk passes on to the one what the other one sends: both
ways are shown without a telephone."""

from contextlib import ExitStack
from functools import partial
from typing import Final
from uuid import uuid4

import trio

from agentd import deadlines
from agentd.doctor.probe import Probe
from agentd.errors import AriRejected, MediaTimeout
from agentd.media.leg import LineFormat, MediaConnection
from agentd.media.transport import ExternalMedia, Transport

ARRIVAL_DEADLINE: Final = deadlines.DOCTOR_LEGS.seconds
POLL: Final = 0.05
LINE: Final = LineFormat()
ENDS: Final = ("one", "other")


async def ends_that_hear(transport: Transport, probe: Probe) -> int:
    """How many of two trial legs are sent audio within ARRIVAL_DEADLINE: both, one or none.

    Raises AriError or MediaTimeout where there is no such leg. What it makes on the PBX is the probe's, which removes
    it.
    """
    connections: dict[str, MediaConnection] = {}
    arrived: set[str] = set()
    try:
        bridge = await probe.bridge(f"{transport.name}-bridge")
        for end in ENDS:
            connections[end] = await trial_leg(transport, probe, bridge, end)
        async with trio.open_nursery() as nursery:
            for end, connection in connections.items():
                nursery.start_soon(partial(_listen, connection, end, arrived, nursery.cancel_scope))
            nursery.cancel_scope.deadline = trio.current_time() + ARRIVAL_DEADLINE
    finally:
        for connection in connections.values():
            connection.release()
    return len(arrived)


async def trial_leg(transport: Transport, probe: Probe, bridge: str, end: str) -> MediaConnection:
    """A trial leg in the bridge. Raises AriError or MediaTimeout."""
    media = probe.channel(f"{transport.name}-{end}")
    with ExitStack() as stack:
        leg = stack.enter_context(transport.expect(uuid4(), LINE))
        assert isinstance(leg.request, ExternalMedia)
        leg.told(await probe.rest.external_media(media, probe.app, leg.request))
        connection = await leg.connection(transport.bind_timeout)
        stack.callback(connection.release)
        with trio.move_on_after(ARRIVAL_DEADLINE):
            while True:
                try:
                    await probe.rest.add_to_bridge(bridge, media)
                except AriRejected as error:
                    if error.status not in (400, 409, 422):  # while it is on its way into the application
                        raise
                    await trio.sleep(POLL)
                else:
                    stack.pop_all()
                    return connection
    raise MediaTimeout(f"Asterisk did not bring a trial channel into its application within {ARRIVAL_DEADLINE:g} s")


async def _listen(connection: MediaConnection, end: str, arrived: set[str], both: trio.CancelScope) -> None:
    """Send silence, and note that something comes; ends all once it has come at both ends."""

    def receive(pcm: bytes, rate: int, at: float) -> None:
        arrived.add(end)
        if len(arrived) == len(ENDS):
            both.cancel(reason="audio has come at both ends")

    await connection.serve(LINE, receive, lambda digit: None, lambda *, ahead=False: None, lambda: None)
