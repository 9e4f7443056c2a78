"""Whether an agentd runs that uses this configuration, and what its own health page says."""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families

from agentd import __version__, deadlines
from agentd.accepting import open_listeners
from agentd.addresses import host_port
from agentd.config.settings import Config
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.parsing import load_json
from agentd.service.page_reader import read_page

DEADLINE: Final = deadlines.DOCTOR_HEALTH.seconds


@attrs.frozen
class RunningDaemon:
    """A running daemon, as far as it is known. `health` is its page, None where none answers; `stranger` says what
    answered instead; `registered`: Asterisk has our application."""

    url: str
    health: Mapping[str, Any] | None = None
    stranger: str = ""
    registered: bool = False

    @property
    def running(self) -> bool:
        return self.health is not None or self.registered

    @property
    def ari_connected(self) -> bool:
        return bool(self.health and self.health.get("ari_connected"))

    @property
    def listening(self) -> bool:
        return bool(self.health and self.health.get("audiosocket_listening"))


async def find_daemon(config: Config) -> RunningDaemon:
    """Ask the configured health page; nobody there is an answer too."""
    url = config.health.url
    if not url:
        return RunningDaemon("")
    try:
        page = load_json(await read_page(f"{url}/health", DEADLINE))
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return RunningDaemon(url)
    except (httpx.HTTPError, trio.TooSlowError, ValueError) as error:
        return RunningDaemon(url, stranger=f"{type(error).__name__} {error}".rstrip())
    if not isinstance(page, dict) or "audiosocket_listening" not in page:
        return RunningDaemon(url, stranger="it is not agentd's page")
    return RunningDaemon(url, page)


async def refused_connections(daemon: RunningDaemon) -> Mapping[str, float] | None:
    """AudioSocket connections that the daemon has refused so far, by reason; None if it cannot be asked."""
    try:
        text = (await read_page(f"{daemon.url}/metrics", DEADLINE)).decode(errors="replace")
        return {
            sample.labels["reason"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "agentd_audiosocket_refused_total"
        }
    except (httpx.HTTPError, trio.TooSlowError, ValueError, KeyError):
        return None


async def examine_health(config: Config, daemon: RunningDaemon) -> Finding:
    """The health page: a running daemon's, or the port that one would take."""
    port = config.health.port
    if not port:
        return skipped("health", "health.port is 0: agentd takes any free port, which its log tells")
    if daemon.stranger:
        return fail(
            "health",
            f"another program answers at {daemon.url}: {daemon.stranger}",
            f"see who: ss -ltnp 'sport = :{port}'",
            "give agentd another port: [health] port, or HEALTH_PORT in /etc/agentd/agentd.env",
        )
    if daemon.health is None:
        return await _free_port(config, daemon)
    health = daemon.health
    if health.get("status") != "ok":
        wrong = [what for what in ("ari_connected", "audiosocket_listening") if not health.get(what)]
        wrong += [
            f"agent {name}: {state['detail']}" for name, state in health["providers"].items() if not state["ready"]
        ]
        wrong += [
            f"{name} is being started again: {part['detail']}"
            for name, part in health.get("parts", {}).items()
            if not part["up"]
        ]
        return fail(
            "health",
            f"agentd answers 503 at {daemon.url}/health: {'; '.join(wrong)}",
            "journalctl -u agentd -n 50",
        )
    if health.get("version") != __version__:
        return warn(
            "health",
            f"the running agentd is version {health.get('version')}, this is {__version__}",
            "agentd check && systemctl restart agentd",
        )
    return ok("health", f"{daemon.url}/health: all is well, {health.get('active_calls')} calls now")


async def _free_port(config: Config, daemon: RunningDaemon) -> Finding:
    host, port = config.health.host, config.health.port
    here = host_port(host, port)
    if daemon.registered:
        return warn(
            "health",
            f"agentd is connected to Asterisk, but its health page is not at {daemon.url}",
            "does it run with HEALTH_PORT or HEALTH_HOST set (/etc/agentd/agentd.env)? "
            "Give the doctor the same: HEALTH_PORT=... agentd doctor",
        )
    try:
        for listener in await open_listeners(host, port):
            await listener.aclose()
    except OSError as error:
        return fail(
            "health",
            f"agentd cannot take {here}: {error}",
            f"see who has it: ss -ltnp 'sport = :{port}'",
            "or give agentd another: [health] host and port, or HEALTH_HOST and HEALTH_PORT",
        )
    return ok("health", f"no agentd runs; {here} is free for it")
