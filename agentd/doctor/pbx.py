"""Questions to Asterisk over ARI; nothing here changes anything on the PBX."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from agentd.addresses import LOOPBACK, host_port, is_address
from agentd.ari.rest import AriRest
from agentd.ari.urls import shown_prefix
from agentd.asterisk_releases import OLDEST, lacking, parse_release
from agentd.config.settings import Config
from agentd.doctor.command_line import asterisk_cli
from agentd.doctor.daemon import RunningDaemon
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.doctor.transports import LEGS, available
from agentd.errors import AriError, AriRejected

DIALPLAN_APP: Final = "agentd"
"""The application that asterisk_conf/extensions_agentd.conf enters."""

NEEDED: Final[Mapping[str, str]] = {
    "res_audiosocket": "AudioSocket",
    "res_http_websocket": "the event stream",
    "res_stasis": "Stasis applications",
    "app_stasis": "Stasis() in the dialplan",
    "res_stasis_answer": "answering calls",
    "res_stasis_playback": "playing to callers",
    "res_stasis_snoop": "hearing callers",
    "res_ari": "ARI",
    "res_ari_applications": "ARI",
    "res_ari_asterisk": "ARI",
    "res_ari_bridges": "ARI",
    "res_ari_channels": "ARI",
    "res_ari_events": "ARI",
    "res_ari_playbacks": "ARI",
    "format_sln": "the files that agentd has played",
}
BRIDGES: Final = ("bridge_simple", "bridge_softmix")
"""Either makes the bridge of a media leg."""
BEFORE: Final[Mapping[str, str]] = {"chan_rtp": "res_rtp_multicast", "chan_websocket": "res_websocket_client"}
"""What a module cannot be loaded without (chan_rtp: "undefined symbol", seen on 22.10)."""
USEFUL: Final[Mapping[str, str]] = {
    "codec_resample": "callers with other codecs than 8 kHz ones (g722, opus) are not understood",
    "app_stack": "Gosub() in agentd's dialplan does not work",
    "func_strings": "FILTER() in agentd's dialplan does not work: no media fork gets its audio",
    "func_callerid": "the dialplan cannot tell which callers withhold their number: it costs a request a call",
    "func_dialplan": "no agent can transfer a call: whether the destination is there cannot be asked",
}


@attrs.frozen
class Greeting:
    """The first answer of Asterisk: None in `info` if there was none that is of use."""

    findings: tuple[Finding, ...]
    info: Mapping[str, Any] | None = None


async def greet(rest: AriRest, config: Config) -> Greeting:
    """Reach ARI with our credentials, and learn Asterisk's version."""
    url = config.asterisk.url
    try:
        info = await rest.request("GET", "/asterisk/info")
        version = str(info["system"]["version"])
    except AriError as error:
        advice = ari_advice(error, config)
        if isinstance(error, AriRejected) and error.status == 404:
            advice = (*prefix_advice(await asterisk_cli("http show status"), url), *advice)
        return Greeting((fail("ari", str(error), *advice),))
    except (KeyError, TypeError):
        return Greeting(
            (fail("ari", f"{url} answers, but not as Asterisk does", "check [asterisk] url in agent.toml"),)
        )
    found = f"{url} answers the user {config.asterisk.username}"
    return Greeting((ok("ari", found), judge_version(version)), info)


def ari_advice(error: AriError, config: Config) -> tuple[str, ...]:
    """The advice for an ARI request that failed. Pure."""
    ari = config.asterisk
    status = error.status if isinstance(error, AriRejected) else 0
    match status:
        case 0:
            return (
                "is Asterisk running? systemctl status asterisk",
                "asterisk -rx 'http show status' tells whether and where its HTTP server listens",
                f"http.conf: [general] {_http_settings(ari.url)} (http_agentd.conf; it needs a restart of Asterisk)",
                "or set the right address in agent.toml: [asterisk] url",
            )
        case 401:
            return (
                f"asterisk -rx 'ari show user {ari.username}': the user must be there; if not, include "
                "ari_agentd.conf in ari.conf, then: asterisk -rx 'module reload res_ari.so'",
                "its password must be the one that agentd has; `agentd init` says if the two differ",
            )
        case 403:
            return (
                f"ari.conf, section [{ari.username}]: read_only = no",
                "asterisk -rx 'module reload res_ari.so'",
            )
        case 404:
            return (
                "ari.conf, section [general]: enabled = yes",
                "http.conf, section [general]: is there a prefix? It belongs into agent.toml too: [asterisk] url = "
                f"{_bare(ari.url)}/PREFIX; without one, url = {_bare(ari.url)}",
                "asterisk -rx 'module show like res_ari' must list res_ari.so as Running",
                f"is it Asterisk that answers at {ari.url}?",
            )
    return ("see what Asterisk logged about it: /var/log/asterisk/full or messages.log",)


def _bare(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _http_settings(url: str) -> str:
    """What http.conf has to say for Asterisk to be found at this URL."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host = parts.hostname or ""
    bound = host if is_address(host) else LOOPBACK[0]
    port = parts.port or (443 if secure else 80)
    prefix = f", prefix = {parts.path.strip('/')}" if parts.path.strip("/") else ""
    listening = f"tlsenable = yes, tlsbindaddr = {host_port(bound, port)}" if secure else ""
    return f"enabled = yes, {listening or f'bindaddr = {bound}, bindport = {port}'}{prefix}"


def prefix_advice(status: str | None, url: str) -> tuple[str, ...]:
    """What `asterisk -rx 'http show status'` tells of a prefix that `url` does not have; None: nobody told. Pure."""
    if status is None or (told := shown_prefix(status)) == urlsplit(url).path.rstrip("/"):
        return ()
    said = f"this host's Asterisk has the prefix {told}" if told else "this host's Asterisk has no prefix"
    return (f"{said} (http.conf): agent.toml: [asterisk] url = {_bare(url)}{told}",)


def judge_version(version: str) -> Finding:
    """Whether this Asterisk can carry agentd's calls, and its row of the table of releases. Pure."""
    check = "asterisk"
    if (release := parse_release(version)) is None:
        return warn(check, f"version {version!r} is none that the doctor can read; agentd needs {OLDEST} or later")
    if release.major < OLDEST:
        return fail(check, f"version {version} is too old", "install Asterisk 20 or 22")
    missing = lacking(release)
    notes = [f"without {each.what.replace('`', '')}: {each.without}" for each in missing]
    newer = [f"{release.major}.{each.since[release.major]}" for each in missing if release.major in each.since]
    if release.minor is None and missing:
        notes.insert(0, f"a working copy of branch {release.major}, taken for its first release")
    if newer:
        notes.append(f"{max(newer, key=_by_numbers)} has all of it")
    return ok(check, f"version {version}" + "".join(f"; {note}" for note in notes))


def _by_numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


async def ask_modules(rest: AriRest, config: Config, version: str) -> tuple[frozenset[str], list[Finding]]:
    """The modules that run, without their .so; empty where that cannot be told."""
    try:
        answer = await rest.request("GET", "/asterisk/modules")
        running = frozenset(
            str(module["name"]).removesuffix(".so") for module in answer if module["status"] == "Running"
        )
    except AriError as error:
        return frozenset(), [fail("modules", f"cannot be told: {error}", *ari_advice(error, config))]
    except (KeyError, TypeError) as error:
        return frozenset(), [skipped("modules", f"Asterisk's answer cannot be read ({error!r})")]
    return running, judge_modules(running, config, version)


def judge_modules(running: frozenset[str], config: Config, version: str) -> list[Finding]:
    """Whether every module is there that this configuration needs, of those that an Asterisk of this version can have.
    Pure."""
    default = config.calls.default_media
    possible = available(frozenset(LEGS.values()), version)
    missing = {name: what for name, what in NEEDED.items() if name not in running}
    if default in LEGS and LEGS[default] not in running:
        missing[LEGS[default]] = f"media={default}, the default of this configuration"
    if not running.intersection(BRIDGES):
        missing[BRIDGES[0]] = "bridges"
    if missing:
        return [fail("modules", "not loaded: " + _listed(missing), *_loading(missing))]
    lacking = {name: what for name, what in USEFUL.items() if name not in running}
    lacking |= {
        way.module: f"extensions with media={way.name} do not work" for way in possible if way.module not in running
    }
    if lacking:
        return [warn("modules", "not loaded: " + _listed(lacking), *_loading(lacking))]
    return [ok("modules", "all that agentd needs are loaded")]


def _listed(modules: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({what})" for name, what in modules.items())


def _loading(modules: Mapping[str, str]) -> tuple[str, ...]:
    loaded = [each for name in modules for each in (BEFORE.get(name), name) if each]
    return (
        *(f"asterisk -rx 'module load {name}.so'" for name in loaded),
        "and for good: no `noload` line in modules.conf; with autoload=no: #tryinclude modules_agentd.conf",
    )


async def ask_applications(rest: AriRest, config: Config, daemon: RunningDaemon) -> tuple[RunningDaemon, list[Finding]]:
    """Whether Asterisk has our application, and which others it has."""
    try:
        answer = await rest.request("GET", "/applications")
        names = {str(application["name"]) for application in answer}
    except AriError as error:
        return daemon, [fail("application", f"cannot be told: {error}", *ari_advice(error, config))]
    except (KeyError, TypeError) as error:
        return daemon, [skipped("application", f"Asterisk's answer cannot be read ({error!r})")]
    app = config.asterisk.app
    findings = [judge_application(app, app in names, daemon)]
    if foreign := sorted(names - {app}):
        findings.append(
            ok(
                "application",
                f"for your information, other programs have: {', '.join(foreign)}. One that nobody minds any "
                "more fills Asterisk's log: stop the program that registers it",
            )
        )
    return attrs.evolve(daemon, registered=app in names), findings


def judge_application(app: str, registered: bool, daemon: RunningDaemon) -> Finding:
    """Whether callers reach an agentd. Pure."""
    check = "application"
    if registered and daemon.health is not None and not daemon.ari_connected:
        return fail(
            check,
            f"somebody has the application {app}, and it is not the agentd that runs here",
            "let only one agentd use it, or give this one another name: [asterisk] app, and Stasis(NAME,...)",
        )
    if registered:
        return ok(check, f"{app} is registered: an agentd is connected to this Asterisk")
    if daemon.ari_connected:
        return fail(
            check,
            f"the agentd that runs here is connected, but not as {app} to this Asterisk",
            "was agent.toml changed since? agentd check && systemctl restart agentd",
        )
    if daemon.running:
        return fail(
            check,
            f"{app} is not registered: the agentd that runs here is not connected to Asterisk",
            "journalctl -u agentd -n 50 says why; it tries again by itself",
        )
    return warn(
        check,
        f"{app} is not registered: no agentd runs, so callers go to the fallback of the dialplan",
        "systemctl start agentd",
    )
