"""chan_websocket: has Asterisk one that agentd can use, and do media WebSockets come about and carry?"""

from pathlib import Path
from typing import Final
from uuid import uuid4

import trio

from agentd.asterisk_releases import WEBSOCKET, has
from agentd.chan_websocket.listener import PASSWORD, MediaWebSocketListener
from agentd.chan_websocket.transport import NAME, ChanWebSocket, external_media
from agentd.config.secrets import Secret
from agentd.config.settings import Config
from agentd.doctor.both_ways import ARRIVAL_DEADLINE, ENDS, LINE, ends_that_hear
from agentd.doctor.daemon import RunningDaemon
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.doctor.pbx import ari_advice
from agentd.doctor.probe import Probe
from agentd.doctor.secrets import how_to_give
from agentd.doctor.transports import LEGS
from agentd.errors import AriError, AriRejected, MediaTimeout, ungrouped
from agentd.metrics import Metrics
from agentd.service.host_files import CREDENTIALS

CHECK: Final = "websocket"


async def examine_websocket(
    config: Config,
    probe: Probe,
    modules: frozenset[str],
    version: str,
    daemon: RunningDaemon,
    password: Secret | None,
) -> Finding:
    """Whether calls with media=websocket are carried, with this Asterisk (`version`, `modules`; none: not known), by
    the direction of connecting that is configured. `password` is that of media WebSockets.

    What is wrong fails where it is the default of calls, and is a warning else.
    """
    judge = fail if config.calls.default_media == NAME else warn
    wanted = judge is fail or bool(config.websocket.connection)
    if version and not has(version, WEBSOCKET):
        why = f"Asterisk {version} has no chan_websocket that agentd can use: it needs 20.18, 22.8, 23.2 or later"
        return judge(CHECK, why, "update Asterisk, or use another media=") if wanted else skipped(CHECK, why)
    if modules and LEGS[NAME] not in modules:
        return skipped(CHECK, f"{LEGS[NAME]} is not loaded")
    if config.websocket.connection and password is None:
        missing = f"the password of media WebSockets is missing: {PASSWORD}"
        return judge(CHECK, missing, *how_to_give(PASSWORD, Path(CREDENTIALS)))
    try:
        if config.websocket.connection and daemon.running:
            return await _ask(config, probe)
        return await _attempt(config, probe, password)
    except AriRejected as error:
        if error.status == 400 and config.websocket.connection:
            return judge(CHECK, str(error), *_client_advice(config))
        return judge(CHECK, str(error), *ari_advice(error, config))
    except AriError as error:
        return judge(CHECK, str(error), *ari_advice(error, config))
    except OSError as error:
        return judge(CHECK, str(error), "[websocket] host and port must be free on this host")
    except MediaTimeout as error:
        return judge(CHECK, str(error), *_advice(config))


async def _ask(config: Config, probe: Probe) -> Finding:
    """Whether Asterisk knows the connection. Whom it connects to is the agentd that runs, which expects no trial."""
    name = config.websocket.connection
    try:
        await probe.rest.external_media(probe.channel(CHECK), probe.app, external_media(name, uuid4(), LINE))
    except AriRejected as error:
        if error.status == 400:
            raise
    return ok(CHECK, f"Asterisk knows the connection {name}; the agentd that runs has the port, so nothing was carried")


async def _attempt(config: Config, probe: Probe, password: Secret | None) -> Finding:
    """Two legs. Raises AriError, OSError or MediaTimeout."""
    judge = fail if config.calls.default_media == NAME else warn
    settings, metrics = config.websocket, Metrics()
    with ungrouped(AriError, OSError, MediaTimeout):
        async with trio.open_nursery() as nursery:
            transport = ChanWebSocket(lambda: config, metrics, nursery, config.asterisk.url, settings.connection)
            if password is not None and settings.connection:
                listener = MediaWebSocketListener(
                    settings.host,
                    settings.port,
                    transport.expected,
                    metrics,
                    settings.username,
                    password,
                    settings.max_connections,
                    settings.allowed_networks,
                    nursery,
                )
                await nursery.start(listener.run)
            heard = await ends_that_hear(transport, probe)
            nursery.cancel_scope.cancel()
    way = f"{transport.way} (media=websocket)"
    if heard == len(ENDS):
        return ok(CHECK, f"{way}, and plays what it is sent")
    silent = "on one of two legs only" if heard else "not at all"
    return judge(CHECK, f"{way}: audio came {silent} within {ARRIVAL_DEADLINE:g} s", *_advice(config))


def _advice(config: Config) -> tuple[str, ...]:
    logged = "see what Asterisk logged about it: grep -i websocket /var/log/asterisk/full (or messages.log)"
    if config.websocket.connection:
        return (*_client_advice(config), logged)
    return (f"can this host open {config.asterisk.url}/media? A proxy in between has to pass WebSockets on", logged)


def _client_advice(config: Config) -> tuple[str, ...]:
    settings = config.websocket
    return (
        f"websocket_client.conf: section [{settings.connection}] with type = websocket_client, connection_type = "
        f"per_call_config, protocols = media, username = {settings.username}, the password of {PASSWORD}, and the uri "
        f"of [websocket] host and port as Asterisk reaches them: ws://{settings.host}:{settings.port}",
        "asterisk -rx 'module reload res_websocket_client.so'",
        "or take [websocket] connection out of agent.toml: then agentd connects to Asterisk",
    )
