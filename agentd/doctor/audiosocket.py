"""Both ways in which Asterisk brings a call's audio: does a connection that it opens reach agentd?

Where no agentd runs, a listener of the doctor's own takes its place for a moment and waits for the UUID. A
running agentd refuses a UUID that no call expects, and counts that: the count tells that the connection
reached it.
"""

import errno
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from ipaddress import ip_address
from typing import Any, Final
from uuid import UUID, uuid4

import attrs
import trio

from agentd.audiosocket.connection import AudioSocketConnection, LineFormat
from agentd.config import Config
from agentd.dialplan import MediaWay
from agentd.doctor.daemon import RunningDaemon, refused_connections
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.doctor.pbx import LEGS, ari_advice
from agentd.doctor.probe import Probe
from agentd.errors import AriError, AriRejected, MediaProtocolError
from agentd.metrics import Metrics

CHECKS: Final[Mapping[MediaWay, str]] = {MediaWay.EXTERNAL: "audiosocket", MediaWay.FORK: "media fork"}
PORT_CHECK: Final = "audiosocket port"
ADVISED_SOCKET: Final = "127.0.0.1:8090"
"""Where the dialplan's fork connects while AGENTD_SOCKET is not set (extensions_agentd.conf)."""
POLL: Final = 0.1

Connect = Callable[[UUID], Awaitable[None]]


@attrs.define(eq=False)
class StandIn:
    """Answers AudioSocket connections in the daemon's place; `arrived` says which UUID came from where."""

    config: Config
    arrived: dict[UUID, str] = attrs.field(factory=dict, init=False)
    strangers: list[str] = attrs.field(factory=list, init=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def wait(self, uuid: UUID, deadline: float) -> bool:
        """Whether the UUID came within `deadline` seconds."""
        with trio.move_on_after(deadline):
            while uuid not in self.arrived:
                self._news = trio.Event()
                await self._news.wait()
        return uuid in self.arrived

    async def handle(self, stream: trio.SocketStream) -> None:
        """One connection, served like a call's until Asterisk or the examination ends it."""
        try:
            peer = str(stream.socket.getpeername()[0]).partition("%")[0].removeprefix("::ffff:")
            connection = AudioSocketConnection(stream, peer, Metrics())
            with trio.fail_after(self.config.audiosocket.uuid_timeout):
                uuid = (await connection.handshake(LineFormat())).uuid
        except (trio.TooSlowError, MediaProtocolError, trio.BrokenResourceError, OSError) as error:
            self.strangers.append(f"{type(error).__name__} {error}".rstrip())
            return
        self.arrived[uuid] = peer
        self._news.set()
        await connection.serve(LineFormat(), lambda _frame, _at: None, lambda: None, lambda: None)


async def examine_ways_in(
    config: Config,
    probe: Probe | None,
    daemon: RunningDaemon,
    modules: frozenset[str],
    fork_exists: bool | None,
) -> list[Finding]:
    """The listener's port, and a trial connection each way.

    Without `probe` only the port is examined. `fork_exists`: whether the dialplan has the fork, None if that
    is not known.
    """
    socket, here = config.audiosocket, f"{config.audiosocket.host}:{config.audiosocket.port}"
    attempt = partial(_attempt_both, config, probe, modules, fork_exists)
    if daemon.listening or (daemon.registered and not socket.port):
        found = "a running agentd listens" + (f" on {here}" if socket.port else ", on a port of its choice")
        reach = f"agentd's listener at {config.advertised_socket(socket.port)}"
        if not socket.port and not socket.advertise:
            return [
                ok(PORT_CHECK, found),
                *_skip_both("audiosocket.port is 0: only agentd's log tells the port"),
            ]
        return [
            ok(PORT_CHECK, found),
            *await attempt(socket.port, partial(_reaches_daemon, config, daemon), reach),
        ]
    if daemon.health is not None:
        advice = "journalctl -u agentd -n 50"
        return [
            fail(PORT_CHECK, "a running agentd does not listen for AudioSocket", advice),
            *_skip_both("agentd does not listen"),
        ]
    try:
        listeners = await trio.open_tcp_listeners(socket.port, host=socket.host)
    except OSError as error:
        if daemon.registered and error.errno == errno.EADDRINUSE:
            held = ok(PORT_CHECK, f"{here} is held, presumably by the agentd that is connected to Asterisk")
            return [held, *await attempt(socket.port, _reaches_somebody, f"the listener on {here}")]
        return [_cannot_listen(here, socket.port, error), *_skip_both("the port cannot be used")]
    if daemon.registered:
        for listener in listeners:
            await listener.aclose()
        return [
            fail(
                PORT_CHECK,
                f"an agentd is connected to Asterisk, but none listens on {here}",
                "was agent.toml changed since it was started? systemctl restart agentd",
                "does an agentd on another host use the same application? Then rename one: [asterisk] app",
                "Asterisk also keeps the application of an agentd that died in a call, until that call ends",
            ),
            *_skip_both("nobody listens"),
        ]
    port = listeners[0].socket.getsockname()[1]
    stand_in = StandIn(config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, stand_in.handle, listeners)
        tried = await attempt(port, partial(_reaches_stand_in, config, stand_in), f"a trial listener on {here}")
        nursery.cancel_scope.cancel()
    return [ok(PORT_CHECK, f"no agentd runs; {here} is free for it"), *tried]


def _skip_both(because: str) -> list[Finding]:
    return [skipped(check, because) for check in CHECKS.values()]


def _cannot_listen(here: str, port: int, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        return fail(
            PORT_CHECK,
            f"{here} is taken by another program, and no agentd is known to run",
            f"see who has it: ss -ltnp 'sport = :{port}'",
            "give agentd another port: [audiosocket] port, and in the dialplan's globals AGENTD_SOCKET",
        )
    return fail(
        PORT_CHECK,
        f"agentd cannot listen on {here}: {error}",
        "[audiosocket] host must be an address of this host; ports below 1024 are root's",
    )


Reached = Callable[[UUID, Connect], Awaitable[tuple[bool, str]]]
"""Makes the connection and tells whether it arrived, with what is to be said about that."""


async def _attempt_both(
    config: Config,
    probe: Probe | None,
    modules: frozenset[str],
    fork_exists: bool | None,
    port: int,
    reached: Reached,
    listener: str,
) -> list[Finding]:
    if probe is None:
        return _skip_both("Asterisk cannot be asked to connect")
    findings = []
    for way in MediaWay:
        needed = config.calls.default_media is way
        if modules and LEGS[way] not in modules:
            findings.append(skipped(CHECKS[way], f"{LEGS[way]} is not loaded"))
        elif way is MediaWay.FORK and fork_exists is False:
            because = f"the dialplan has no [{config.audiosocket.fork_context}]"
            findings.append(skipped(CHECKS[way], because))
        else:
            findings.append(await _attempt(config, probe, way, port, reached, listener, needed))
    return findings


async def _attempt(
    config: Config, probe: Probe, way: MediaWay, port: int, reached: Reached, listener: str, needed: bool
) -> Finding:
    check, uuid = CHECKS[way], uuid4()
    told = config.advertised_socket(port)
    try:
        if way is MediaWay.FORK:
            told = await _dialplan_socket(probe)
            arrived, remark = await reached(uuid, partial(_fork, config, probe))
        else:
            arrived, remark = await reached(uuid, partial(_external, probe, told))
    except AriRejected as error:
        if error.status != 500 or way is MediaWay.FORK:
            return fail(check, str(error), *ari_advice(error, config))
        arrived, remark = False, "refused, or not answered within 2 s"
    except AriError as error:
        return fail(check, str(error), *ari_advice(error, config))
    if arrived and not remark:
        return ok(check, f"Asterisk, told {told} (media={way}), reaches {listener}")
    if arrived:
        return fail(check, f"Asterisk, told {told} (media={way}), reaches {listener}, but {remark}", *_let_in(config))
    found = f"Asterisk, told to connect to {told} (media={way}), does not reach {listener}: {remark}"
    advice = _way_advice(config, way, told, port)
    # A fork that no extension uses keeps nobody from calling.
    return fail(check, found, *advice) if needed or way is MediaWay.EXTERNAL else warn(check, found, *advice)


def _let_in(config: Config) -> tuple[str, ...]:
    return (f"agent.toml: [audiosocket] allow, now {config.audiosocket.allow}, must name Asterisk's address",)


def _way_advice(config: Config, way: MediaWay, told: str, port: int) -> tuple[str, ...]:
    socket = config.audiosocket
    listening = f"{socket.host}:{port}"
    if way is MediaWay.FORK:
        wanted = config.advertised_socket(port)
        first = (
            f"in the dialplan's [globals] (FreePBX: globals_custom.conf): AGENTD_SOCKET={wanted}, "
            "then: asterisk -rx 'dialplan reload'"
            if told != wanted
            else f"asterisk -rx 'dialplan show {socket.fork_context}': is it as in extensions_agentd.conf?"
        )
    elif socket.advertise:
        first = (
            f"agent.toml: [audiosocket] advertise = {socket.advertise!r} must lead to the listener on "
            f"{listening}; empty where Asterisk runs on this host"
        )
    else:
        first = "agent.toml: where Asterisk runs on another host, set [audiosocket] host and advertise"
    host, _, number = told.rpartition(":")
    return (
        first,
        f"from Asterisk's host: nc -vz {host} {number}; does a firewall drop it?",
        "see what Asterisk logged about it: grep -i audiosocket /var/log/asterisk/full (or messages.log)",
    )


async def _external(probe: Probe, host: str, uuid: UUID) -> None:
    await probe.rest.external_media(probe.channel("external"), probe.app, host, str(uuid), "slin")


async def _fork(config: Config, probe: Probe, uuid: UUID) -> None:
    near, far = probe.channel("fork"), probe.channel("far")
    await probe.rest.originate_local(near, far, probe.app, uuid.hex, config.audiosocket.fork_context)


async def _dialplan_socket(probe: Probe) -> str:
    """Where the fork of our own dialplan connects to."""
    answer: Any = await probe.rest.request("GET", "/asterisk/variable", {"variable": "AGENTD_SOCKET"})
    value = answer.get("value") if isinstance(answer, dict) else ""
    return str(value) if value else ADVISED_SOCKET


async def _reaches_stand_in(config: Config, stand_in: StandIn, uuid: UUID, connect: Connect) -> tuple[bool, str]:
    await connect(uuid)
    if not await stand_in.wait(uuid, config.audiosocket.bind_timeout):
        wrong = f"; instead: {stand_in.strangers[-1]}" if stand_in.strangers else ""
        return False, f"its UUID did not come within {config.audiosocket.bind_timeout:g} s{wrong}"
    peer, allowed = stand_in.arrived[uuid], config.audiosocket.allowed_networks
    if allowed and not any(ip_address(peer) in network for network in allowed):
        return True, f"agentd would refuse its address {peer}"
    return True, ""


async def _reaches_daemon(config: Config, daemon: RunningDaemon, uuid: UUID, connect: Connect) -> tuple[bool, str]:
    before = await refused_connections(daemon)
    if before is None:
        return await _reaches_somebody(uuid, connect)
    await connect(uuid)
    # agentd may hold a connection for bind_grace before it refuses it.
    patience = config.audiosocket.bind_grace + config.audiosocket.uuid_timeout
    with trio.move_on_after(patience):
        while True:
            now = await refused_connections(daemon) or {}
            if now.get("unexpected_uuid", 0) > before.get("unexpected_uuid", 0):
                return True, ""
            if now.get("not_allowed", 0) > before.get("not_allowed", 0):
                return True, "agentd refuses the address that it comes from"
            await trio.sleep(POLL)
    return False, f"agentd counted no such connection within {patience:g} s"


async def _reaches_somebody(uuid: UUID, connect: Connect) -> tuple[bool, str]:
    """Asterisk answers only once it has connected, so an answer without an error is all that can be told."""
    await connect(uuid)
    return True, ""
