"""`agentd doctor`: walks from the configuration to the models, tries on the real PBX what a call needs, and
says for each failure what to do.

It may run beside a serving daemon. Everything that it makes on the PBX (a bridge, trial channels to nobody) has a name
of its own and is removed again; no phone rings.
"""

from collections.abc import Mapping
from pathlib import Path

import trio

from agentd import deadlines
from agentd.ari.rest import AriRest, open_rest
from agentd.chan_websocket.listener import PASSWORD
from agentd.config.secrets import Secret
from agentd.config.settings import Config
from agentd.doctor.agents import examine_agents
from agentd.doctor.audiosocket import examine_ways_in
from agentd.doctor.codecs import ask_codecs
from agentd.doctor.daemon import RunningDaemon, examine_health, find_daemon
from agentd.doctor.delay import examine_delays
from agentd.doctor.dialplan import judge_dialplan, look_at_dialplan
from agentd.doctor.findings import Finding, State, fail, ok, render, skipped, warn
from agentd.doctor.host import examine_service, judge_packages, read_configuration
from agentd.doctor.media import examine_directory, examine_playback, examine_readability
from agentd.doctor.pbx import ari_advice, ask_applications, ask_modules, greet
from agentd.doctor.probe import Probe, open_probe
from agentd.doctor.rtp import examine_rtp
from agentd.doctor.secrets import examine_password, locate
from agentd.doctor.transports import recommend
from agentd.doctor.websocket import examine_websocket
from agentd.errors import AriError, ConfigError, WebSocketError
from agentd.metrics import Metrics
from agentd.service.catalogue import installed_catalogue
from agentd.service.host_files import CREDENTIALS

__all__ = ["Finding", "State", "examine", "render"]

CLEAN_UP_DEADLINE = deadlines.DOCTOR_CLEAN_UP.seconds
PBX_CHECKS = ("asterisk", "modules", "transports", "codecs", "application", "dialplan", "event stream")


async def examine(
    path: Path, environ: Mapping[str, str], *, credentials: Path = Path(CREDENTIALS), delays: bool = False
) -> list[Finding]:
    """Examine everything that the daemon with this configuration needs; gives the findings in order. With `delays` each
    agent's engines are asked too (agentd.doctor.delay): half a minute an agent.

    `environ` is that of the daemon, as far as it is known; `credentials` the directory of its systemd
    credentials, which root may read. Takes a few seconds; every wait is bounded. Raises nothing for what it
    finds. Cancelling it still removes what it made on the PBX (at most 10 s).
    """
    catalogue = installed_catalogue()
    config, finding = read_configuration(path, environ, catalogue)
    packages = judge_packages(catalogue)
    if config is None:
        return [finding, *packages, skipped("everything else", "there is no usable configuration")]
    password, found = examine_password(environ, credentials)
    daemon = await find_daemon(config)
    findings = [finding, *packages, found]
    if password is None:
        findings += [skipped(check, "the ARI password is missing") for check in ("ari", *PBX_CHECKS)]
        findings += await _without_probe(config, daemon, "the ARI password is missing")
    else:
        async with open_rest(
            config.asterisk.url,
            config.asterisk.username,
            password.reveal(),
            Metrics(),
            config.asterisk.request_timeout,
        ) as rest:
            media_password = _media_password(environ, credentials)
            daemon = await _examine_asterisk(config, password, media_password, rest, daemon, findings)
    findings.append(await examine_health(config, daemon))
    findings += await examine_agents(config, environ, credentials, daemon)
    if delays:
        findings += await examine_delays(config)
    findings += await examine_service(path)
    return findings


async def _examine_asterisk(
    config: Config,
    password: Secret,
    media_password: Secret | None,
    rest: AriRest,
    daemon: RunningDaemon,
    findings: list[Finding],
) -> RunningDaemon:
    """Append what Asterisk tells and shows; gives what is now known of a running daemon."""
    greeting = await greet(rest, config)
    findings += greeting.findings
    if greeting.info is None:
        findings += [skipped(check, "ARI cannot be used") for check in PBX_CHECKS]
        findings += await _without_probe(config, daemon, "ARI cannot be used")
        return daemon
    version = str(greeting.info["system"]["version"])
    modules, found = await ask_modules(rest, config, version)
    findings += found
    findings.append(recommend(modules, version, config))
    findings += await ask_codecs(rest, modules)
    daemon, found = await ask_applications(rest, config, daemon)
    findings += found
    dialplan = await look_at_dialplan(rest, config, greeting.info["system"])
    findings += judge_dialplan(dialplan, config)
    async with trio.open_nursery() as nursery:
        try:
            probe = await open_probe(config, password, rest, nursery)
        except (AriError, WebSocketError) as error:
            advice = ari_advice(error, config) if isinstance(error, AriError) else ()
            loaded = "asterisk -rx 'module show like res_http_websocket' must list it as Running"
            findings.append(fail("event stream", str(error), *advice, loaded))
            findings += await _without_probe(config, daemon, "there is no event stream")
        else:
            findings.append(ok("event stream", "Asterisk opens one for an application of ours"))
            findings += await _try_out(config, probe, daemon, modules, dialplan.fork, version, media_password)
        nursery.cancel_scope.cancel()
    return daemon


def _media_password(environ: Mapping[str, str], credentials: Path) -> Secret | None:
    """The password of media WebSockets; None where there is none that can be used."""
    try:
        located = locate(PASSWORD, environ, credentials)
    except ConfigError:
        return None
    return None if located is None else located.secret


async def _try_out(
    config: Config,
    probe: Probe,
    daemon: RunningDaemon,
    modules: frozenset[str],
    fork: bool | None,
    version: str,
    media_password: Secret | None,
) -> list[Finding]:
    try:
        directory = await trio.to_thread.run_sync(examine_directory, config)
        if directory.failed:
            findings = [directory, skipped("playback", "the media directory cannot be used")]
        else:
            findings = [directory, await examine_playback(config, probe)]
        findings += await examine_ways_in(config, probe, daemon, modules, fork)
        findings += await examine_rtp(config, probe, modules)
        findings.append(await examine_websocket(config, probe, modules, version, daemon, media_password))
    finally:
        left = [f"{probe.app}-*"]
        with trio.move_on_after(CLEAN_UP_DEADLINE, shield=True):
            left = await probe.clear()
        probe.close()
    if left:
        findings.append(
            warn(
                "clean-up",
                f"what the doctor made on the PBX may still be there: {', '.join(left)}",
                "asterisk -rx 'core show channels concise'; asterisk -rx 'channel request hangup NAME'",
            )
        )
    return findings


async def _without_probe(config: Config, daemon: RunningDaemon, because: str) -> list[Finding]:
    """The findings about the media directory and the port that need no Asterisk."""
    directory = await trio.to_thread.run_sync(examine_directory, config)
    playback = (
        skipped("playback", "the media directory cannot be used")
        if directory.failed
        else await trio.to_thread.run_sync(examine_readability, config, because)
    )
    # A listener is opened and closed again; nobody is asked to connect.
    ways_in = await examine_ways_in(config, None, daemon, frozenset(), None)
    return [directory, playback, *ways_in, *await examine_rtp(config, None, frozenset())]
