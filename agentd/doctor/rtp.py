"""RTP: can agentd have its ports, and does what Asterisk sends arrive there?

Two trial legs share a bridge, so that Asterisk passes on to the one what the other one sends: both ways are shown
without a telephone. They take ports of the range that a running agentd does not hold.
"""

from contextlib import ExitStack
from functools import partial
from typing import Final
from uuid import uuid4

import trio

from agentd import deadlines
from agentd.config.settings import Config
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.doctor.pbx import ari_advice
from agentd.doctor.probe import Probe
from agentd.doctor.transports import LEGS
from agentd.errors import AriError, AriRejected, MediaTimeout
from agentd.media.leg import LineFormat
from agentd.metrics import Metrics
from agentd.rtp.connection import RtpConnection
from agentd.rtp.ports import NoPort, Ports
from agentd.rtp.transport import RTP, RtpTransport

ARRIVAL_DEADLINE: Final = deadlines.DOCTOR_RTP.seconds
POLL: Final = 0.05
LINE: Final = LineFormat()
ENDS: Final = ("rtp-one", "rtp-other")


async def examine_rtp(config: Config, probe: Probe | None, modules: frozenset[str]) -> list[Finding]:
    """The ports, and a trial both ways; without `probe` the ports alone. What is wrong fails where RTP is the default,
    and is a warning else: only extensions with media=rtp need it."""
    settings = config.rtp
    judge = fail if config.calls.default_media == RTP else warn
    range_of_ports = f"UDP {settings.first_port} to {settings.last_port} on {settings.host}"
    try:
        Ports().open(settings).close()
    except NoPort as error:
        advice = (
            "[rtp] host must be an address of this host; its ports must be outside of Asterisk's (rtp.conf)",
            f"see who has them: ss -lunp 'sport >= :{settings.first_port} and sport <= :{settings.last_port}'",
        )
        return [judge("rtp ports", str(error), *advice), skipped("rtp", "there is no port for it")]
    count = settings.last_port - settings.first_port + 1
    if count < config.calls.max_calls and judge is fail:
        few = f"{range_of_ports}: {count} ports, and [calls] max_calls is {config.calls.max_calls}"
        ports = warn("rtp ports", few, "a longer range in [rtp], or fewer calls: each has a port")
    else:
        ports = ok("rtp ports", f"{range_of_ports}: free ones can be had")
    if probe is None:
        return [ports, skipped("rtp", "Asterisk cannot be asked to send")]
    if modules and LEGS[RTP] not in modules:
        return [ports, skipped("rtp", f"{LEGS[RTP]} is not loaded")]
    return [ports, await _attempt(config, probe)]


async def _attempt(config: Config, probe: Probe) -> Finding:
    judge = fail if config.calls.default_media == RTP else warn
    transport = RtpTransport(lambda: config, Metrics())
    connections: dict[str, RtpConnection] = {}
    arrived: set[str] = set()
    try:
        bridge = await probe.bridge("rtp-bridge")
        for end in ENDS:
            connections[end] = await _leg(transport, probe, bridge, end)
        async with trio.open_nursery() as nursery:
            for end, connection in connections.items():
                nursery.start_soon(partial(_listen, connection, end, arrived, nursery.cancel_scope))
            nursery.cancel_scope.deadline = trio.current_time() + ARRIVAL_DEADLINE
    except AriError as error:
        return judge("rtp", str(error), *ari_advice(error, config))
    except MediaTimeout as error:
        return judge("rtp", str(error), *_advice(config))
    finally:
        for connection in connections.values():
            connection.release()
    if len(arrived) == len(ENDS):
        return ok("rtp", f"{transport.way} (media=rtp), and takes what it is sent")
    silent = f"no packet came within {ARRIVAL_DEADLINE:g} s" if not arrived else "packets came on one of two legs only"
    return judge("rtp", f"{transport.way} (media=rtp), or is to: {silent}", *_advice(config))


async def _leg(transport: RtpTransport, probe: Probe, bridge: str, end: str) -> RtpConnection:
    """A trial leg in the bridge. Raises AriError or MediaTimeout."""
    media = probe.channel(end)
    with ExitStack() as stack:
        leg = stack.enter_context(transport.expect(uuid4(), LINE))
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


async def _listen(connection: RtpConnection, end: str, arrived: set[str], both: trio.CancelScope) -> None:
    """Send silence, and note that something comes; ends all once it has come at both ends."""

    def receive(pcm: bytes, rate: int, at: float) -> None:
        arrived.add(end)
        if len(arrived) == len(ENDS):
            both.cancel(reason="RTP has come at both ends")

    await connection.serve(LINE, receive, lambda digit: None, lambda *, ahead=False: None, lambda: None)


def _advice(config: Config) -> tuple[str, ...]:
    settings = config.rtp
    told = settings.advertise or settings.host
    return (
        f"agent.toml: [rtp] advertise, now {settings.advertise!r}, must be this host as Asterisk reaches it; empty "
        "where Asterisk runs here",
        f"does a firewall drop UDP {settings.first_port} to {settings.last_port} on the way to {told}, or back? There "
        "must be no NAT in between",
        "see what Asterisk logged about it: grep -i rtp /var/log/asterisk/full (or messages.log)",
    )
