"""Both ways in which Asterisk brings a call's audio: does a connection that it opens reach agentd?

Where no agentd runs, a listener of the doctor's own takes its place for a moment and waits for the UUID. A
running agentd refuses a UUID that no call expects, and counts that: the count tells that the connection
reached it.
"""

import errno
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

import trio

from agentd.accepting import open_listeners
from agentd.addresses import host_port, split_host_port
from agentd.audiosocket.listener import trial_uuid
from agentd.audiosocket.transport import EXTERNAL, FORK, external_media, fork_media
from agentd.config.settings import Config
from agentd.doctor.arrivals import Arrival, Reach, StandIn, Trial, reach_daemon, reach_somebody, reach_stand_in
from agentd.doctor.daemon import RunningDaemon
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.doctor.pbx import ari_advice
from agentd.doctor.probe import Probe
from agentd.doctor.transports import LEGS
from agentd.errors import AriError, AriRejected
from agentd.media.leg import LineFormat

CHECKS: Final[Mapping[str, str]] = {EXTERNAL: "audiosocket", FORK: "media fork"}
PORT_CHECK: Final = "audiosocket port"
ADVISED_SOCKET: Final = "127.0.0.1:8090"
"""Where the dialplan's fork connects while AGENTD_SOCKET is not set (extensions_agentd.conf)."""


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
    socket, here = config.audiosocket, host_port(config.audiosocket.host, config.audiosocket.port)
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
            *await attempt(socket.port, partial(reach_daemon, config, daemon), reach),
        ]
    if daemon.health is not None:
        advice = "journalctl -u agentd -n 50"
        return [
            fail(PORT_CHECK, "a running agentd does not listen for AudioSocket", advice),
            *_skip_both("agentd does not listen"),
        ]
    try:
        listeners = await open_listeners(socket.host, socket.port)
    except OSError as error:
        if daemon.registered and error.errno == errno.EADDRINUSE:
            held = ok(PORT_CHECK, f"{here} is held, presumably by the agentd that is connected to Asterisk")
            return [held, *await attempt(socket.port, reach_somebody, f"the listener on {here}")]
        return [_cannot_listen(here, socket.port, error), *_skip_both("the port cannot be used")]
    if daemon.registered:
        for listener in listeners:
            await listener.aclose()
        return [
            fail(
                PORT_CHECK,
                f"an agentd is connected to Asterisk, but none listens on {here}",
                "was agent.toml changed since it was started? agentd check && systemctl restart agentd",
                "does an agentd on another host use the same application? Then rename one: [asterisk] app",
                "Asterisk also keeps the application of an agentd that died in a call, until that call ends",
            ),
            *_skip_both("nobody listens"),
        ]
    port = listeners[0].socket.getsockname()[1]
    stand_in = StandIn(config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, stand_in.handle, listeners)
        tried = await attempt(port, partial(reach_stand_in, config, stand_in), f"a trial listener on {here}")
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


async def _attempt_both(
    config: Config,
    probe: Probe | None,
    modules: frozenset[str],
    fork_exists: bool | None,
    port: int,
    reach: Reach,
    listener: str,
) -> list[Finding]:
    if probe is None:
        return _skip_both("Asterisk cannot be asked to connect")
    findings = []
    for way in CHECKS:
        needed = config.calls.default_media == way
        if modules and LEGS[way] not in modules:
            findings.append(skipped(CHECKS[way], f"{LEGS[way]} is not loaded"))
        elif way == FORK and fork_exists is False:
            because = f"the dialplan has no [{config.audiosocket.fork_context}]"
            findings.append(skipped(CHECKS[way], because))
        else:
            findings.append(await _attempt(config, probe, way, port, reach, listener, needed))
    return findings


async def _attempt(
    config: Config, probe: Probe, way: str, port: int, reach: Reach, listener: str, needed: bool
) -> Finding:
    check, uuid = CHECKS[way], trial_uuid()
    told = config.advertised_socket(port)
    try:
        if way == FORK:
            told = await _dialplan_socket(probe)
            arrival = await reach(Trial(uuid, partial(_fork, config, probe, uuid), any_uuid=True))
        else:
            external = partial(_external, probe, told, uuid)
            arrival = await reach(Trial(uuid, external, known_to_connect=True))
    except AriRejected as error:
        if error.status != 500 or way == FORK:
            return fail(check, str(error), *ari_advice(error, config))
        arrival = Arrival(False, "refused, or not answered within 2 s")
    except AriError as error:
        return fail(check, str(error), *ari_advice(error, config))
    if arrival.arrived is None:
        return skipped(check, "only the health page of the running agentd could tell what arrives")
    if arrival.arrived:
        found = f"Asterisk, told {told} (media={way}), reaches {listener}"
        return fail(check, f"{found}, but {arrival.remark}", *_let_in(config)) if arrival.remark else ok(check, found)
    found = f"Asterisk, told to connect to {told} (media={way}), does not reach {listener}: {arrival.remark}"
    advice = _way_advice(config, way, told, port)
    # A fork that no extension uses keeps nobody from calling.
    return fail(check, found, *advice) if needed or way == EXTERNAL else warn(check, found, *advice)


def _let_in(config: Config) -> tuple[str, ...]:
    return (f"agent.toml: [audiosocket] allow, now {config.audiosocket.allow}, must name Asterisk's address",)


def _way_advice(config: Config, way: str, told: str, port: int) -> tuple[str, ...]:
    socket = config.audiosocket
    listening = host_port(socket.host, port)
    if way == FORK:
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
    return (
        first,
        f"from Asterisk's host: nc -vz {_as_arguments(told)}; does a firewall drop it?",
        "see what Asterisk logged about it: grep -i audiosocket /var/log/asterisk/full (or messages.log)",
    )


def _as_arguments(told: str) -> str:
    """An address as `nc` takes it: host and port apart, and no brackets."""
    try:
        host, port = split_host_port(told)
    except ValueError:  # the dialplan's may be anything
        return told.replace(":", " ")
    return f"{host} {port}"


async def _external(probe: Probe, host: str, uuid: UUID) -> None:
    await probe.rest.external_media(probe.channel("external"), probe.app, external_media(host, uuid, LineFormat()))


async def _fork(config: Config, probe: Probe, uuid: UUID) -> None:
    near, far = probe.channel("fork"), probe.channel("far")
    await probe.rest.originate_local(near, far, probe.app, fork_media(config.audiosocket.fork_context, uuid))


async def _dialplan_socket(probe: Probe) -> str:
    """Where the fork of our own dialplan connects to."""
    answer: Any = await probe.rest.request("GET", "/asterisk/variable", {"variable": "AGENTD_SOCKET"})
    value = answer.get("value") if isinstance(answer, dict) else ""
    return str(value) if value else ADVISED_SOCKET
