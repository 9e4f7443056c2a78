"""The configuration: the attrs schema of agent.toml, and the one place of every default.

Loading never half-succeeds: every problem of a file is found and told at once, each with its TOML path. Secrets
are not part of the file: they come from the environment or from systemd credentials (`agentd.secrets`).
"""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import attrs

from agentd.dialplan import MediaWay
from agentd.errors import ConfigError
from agentd.schema import Problem, Text, build, http_url, json_schema, not_negative, positive, sample, text


class LogFormat(StrEnum):
    AUTO = "auto"
    CONSOLE = "console"
    JOURNAL = "journal"
    JSON = "json"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class DownstreamMode(StrEnum):
    STREAM = "stream"
    FILE = "file"


class Headless(StrEnum):
    REFUSE = "refuse"
    ACCEPT = "accept"


def _port(value: int) -> str | None:
    return None if 0 <= value <= 65535 else "a port is a number from 0 to 65535"


def _address(value: str) -> str | None:
    try:
        ip_address(value)
    except ValueError:
        return None if value == "localhost" else "must be an IP address (or localhost)"
    return None


def _networks(value: list[str]) -> str | None:
    for network in value:
        try:
            ip_network(network)
        except ValueError as error:
            return f"{error} (networks look like 10.0.0.0/8)"
    return None


def _url(value: str) -> str | None:
    if complaint := http_url(value):
        return complaint
    parts = urlsplit(value)
    rest = parts.path or parts.query or parts.fragment
    return f"must be http://host:port without {rest!r}" if rest else None


def _absolute(value: str) -> str | None:
    return None if value.startswith("/") else "must be an absolute path"


def _host_port(value: str) -> str | None:
    host, _, port = value.rpartition(":")
    if not value or (host and _is_number(port) and _port(int(port)) is None):
        return None
    return "must be address:port"


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 10


@attrs.frozen
class Asterisk:
    """Where Asterisk's ARI is. The password comes from AGENTD_ARI_PASSWORD or the credential ari-password."""

    url: Annotated[str, text("Asterisk's HTTP server (http.conf).", _url)] = "http://127.0.0.1:8088"
    username: Annotated[str, text("The user in ari.conf.")] = "agentd"
    app: Annotated[str, text("The Stasis application: Stasis(agentd,...) in the dialplan.")] = "agentd"
    request_timeout: Annotated[float, text("Seconds that an ARI request may take.", positive)] = 5.0
    require_at_start: Annotated[
        bool, text("Report readiness to systemd only once ARI is up; false: also while it is being retried.")
    ] = False


@attrs.frozen
class AudioSocket:
    """The listener that Asterisk connects to with a call's audio."""

    host: Annotated[str, text("Address to listen on.", _address)] = "127.0.0.1"
    port: Annotated[int, text("Port to listen on.", _port)] = 8090
    advertise: Annotated[
        str, text("address:port that Asterisk is told to connect to; empty: host and port above.", _host_port)
    ] = ""
    allow: Annotated[
        list[str], text("Networks that may connect; empty: any that reaches the address above.", _networks)
    ] = attrs.field(factory=list)
    max_connections: Annotated[int, text("Connections at a time.", positive)] = 500
    uuid_timeout: Annotated[float, text("Seconds until the UUID frame must have come.", positive)] = 2.0
    bind_timeout: Annotated[float, text("Seconds until a call's connection must have come.", positive)] = 5.0
    bind_grace: Annotated[
        float, text("Seconds that a connection waits for the event that names its UUID.", not_negative)
    ] = 1.0
    fork_context: Annotated[str, text("The dialplan context of the Local media fork.")] = "ai-agent-media-fork"
    reattach_tries: Annotated[int, text("Fresh media legs that are tried when a connection is lost.", not_negative)] = 3

    wideband: Annotated[
        bool, text("Carry 16 kHz where the caller's telephone, Asterisk (20.17, 21.12, 22.7) and the agent have it.")
    ] = True
    headless: Annotated[
        Headless,
        text("Connections from AudioSocket() in the dialplan, without ARI: refuse or accept. Mind who can connect."),
    ] = Headless.REFUSE
    headless_agent: Annotated[str, text("The agent of headless calls; empty: calls.default_agent.")] = ""

    @property
    def allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(network) for network in self.allow)


@attrs.frozen
class Media:
    """The directory of audio files that agentd writes and Asterisk plays."""

    directory: Annotated[str, text("Absolute path, writable for agentd, readable for Asterisk.", _absolute)] = (
        "/var/spool/agentd/media"
    )


@attrs.frozen
class Calls:
    """How calls are taken and ended."""

    max_calls: Annotated[int, text("Calls at a time; further ones go on in the dialplan.", positive)] = 100
    default_agent: Annotated[
        str, text("The agent of extensions that name none; empty: the only one, or the one named default.")
    ] = ""
    default_media: Annotated[
        MediaWay, text("How media legs are made where the dialplan does not say: external or fork.")
    ] = MediaWay.EXTERNAL
    drain_timeout: Annotated[
        float, text("Seconds that running calls may take to finish at shutdown.", not_negative)
    ] = 30.0
    failure_sound: Annotated[
        str, text("What a failed call hears where nothing else is configured: a sound that Asterisk has.")
    ] = "sound:sorry"


@attrs.frozen
class Health:
    """GET /health and GET /metrics. HEALTH_HOST and HEALTH_PORT in the environment override."""

    host: Annotated[str, text("Address to listen on.", _address)] = "0.0.0.0"
    port: Annotated[int, text("Port to listen on.", _port)] = 15000


@attrs.frozen
class Logging:
    """Logs. Under systemd they go to the journal with fields (CALL_ID, CHANNEL, AGENT, STATE)."""

    format: Annotated[
        LogFormat, text("auto (journal under systemd, console on a terminal, else json), or one of these.")
    ] = LogFormat.AUTO
    level: Annotated[LogLevel, text("The least that is logged.")] = LogLevel.INFO
    transcripts: Annotated[bool, text("Log the words that are spoken. Mind the law of your country.")] = False


@attrs.frozen
class Liveness:
    """What happens when nothing does, or for too long. Times in seconds; 0 or an empty text switches off."""

    check_in_after: Annotated[
        float, text("Silence of both after which the caller is asked whether anybody is there.", not_negative)
    ] = 12.0
    check_in: Annotated[str, text("What is asked then.")] = "Are you still there?"
    check_ins: Annotated[int, text("How often it is asked before the call ends.", not_negative)] = 2
    silence_farewell: Annotated[str, text("What a silent caller hears at the end.")] = (
        "I cannot hear you, so I will end the call now. Goodbye!"
    )
    slow_after: Annotated[float, text("Seconds that an answer may take before the filler.", not_negative)] = 2.0
    filler: Annotated[str, text("What is said while an answer takes its time.")] = "One moment, please."
    max_duration: Annotated[float, text("The longest that a call may last.", not_negative)] = 3600.0
    warn_before: Annotated[float, text("How long before its end the caller is warned.", not_negative)] = 60.0
    duration_warning: Annotated[str, text("The warning.")] = "Please note that our call has to end in a minute."
    duration_farewell: Annotated[str, text("What is said when the time is over.")] = (
        "Our time is over. Thank you for your call, goodbye!"
    )


@attrs.frozen
class AgentConfig:
    """One agent. `[agents.NAME]`; its provider's own settings are in `[agents.NAME.PROVIDER]`."""

    provider: Annotated[str, text("Who provides the agent: local, or what an installed package adds.")] = "local"
    greeting: Annotated[str, text("What the caller hears first; empty: the agent waits.")] = (
        "Hello, how can I help you?"
    )
    prompt: Annotated[
        str,
        text("The system prompt. {caller_number}, {caller_name} and {extension} stand for the call's own."),
    ] = "You are a friendly telephone assistant. Answer in one or two short sentences."
    language: Annotated[str, text("The language that is spoken (BCP 47).")] = "en-US"
    downstream_mode: Annotated[DownstreamMode, text("How the agent's voice reaches the caller: stream, or file.")] = (
        DownstreamMode.STREAM
    )
    greeting_interruptible: Annotated[bool, text("Whether the caller may interrupt the greeting.")] = True
    uninterruptible: Annotated[
        list[str],
        text("Sentences that must be heard to their end (a legal notice): what contains one is not interrupted."),
    ] = attrs.field(factory=list)
    failure_announcement: Annotated[
        str,
        text("Words that a failed call hears, spoken with the agent's voice; empty: calls.failure_sound."),
    ] = "I am sorry, something went wrong on our side. You are being transferred."
    shutdown_announcement: Annotated[
        str, text("Words that a call hears when agentd stops under it; empty: nothing.")
    ] = "I am sorry, I have to end our conversation now."
    liveness: Liveness = attrs.field(factory=Liveness)
    settings: Annotated[object, Text("The provider's settings, of the provider's own type.", ())] = None

    @property
    def phrases(self) -> tuple[str, ...]:
        """Every text that the agent is asked to say as it stands; none is empty."""
        liveness = self.liveness
        texts = (self.greeting, liveness.check_in, liveness.filler, liveness.duration_warning)
        return tuple(text for text in texts if text)


@attrs.frozen
class Config:
    """The whole of agent.toml."""

    asterisk: Asterisk = attrs.field(factory=Asterisk)
    audiosocket: AudioSocket = attrs.field(factory=AudioSocket)
    media: Media = attrs.field(factory=Media)
    calls: Calls = attrs.field(factory=Calls)
    health: Health = attrs.field(factory=Health)
    logging: Logging = attrs.field(factory=Logging)
    agents: Mapping[str, AgentConfig] = attrs.field(factory=dict)

    def advertised_socket(self, bound_port: int) -> str:
        """The listener as Asterisk reaches it, "address:port"."""
        if self.audiosocket.advertise:
            return self.audiosocket.advertise
        host = self.audiosocket.host
        return f"{'127.0.0.1' if host in ('0.0.0.0', '::', 'localhost') else host}:{bound_port}"

    @property
    def headless_agent(self) -> str:
        """The agent of calls that come without ARI."""
        return self.audiosocket.headless_agent or self.default_agent

    @property
    def default_agent(self) -> str:
        """The agent of an extension that names none; empty when there is none to choose."""
        if self.calls.default_agent:
            return self.calls.default_agent
        if len(self.agents) == 1:
            return next(iter(self.agents))
        return "default" if "default" in self.agents else ""


def parse_config(raw: Mapping[str, Any], environ: Mapping[str, str], source: str = "agent.toml") -> Config:
    """Make a Config of parsed TOML.

    Raises ConfigError with one line for every problem: unknown keys (with the nearest known one), wrong
    types, bad values, combinations that cannot work.
    """
    from providers.registry import settings_class  # the one place of the core that knows the registry

    problems: list[Problem] = []
    body = {name: value for name, value in raw.items() if name != "agents"}
    base = build(Config, body, "", problems, skip=("agents",))
    agents: dict[str, AgentConfig] = {}
    raw_agents = raw.get("agents", {})
    if not isinstance(raw_agents, dict) or not all(isinstance(table, dict) for table in raw_agents.values()):
        problems.append(Problem("agents", "must be tables: [agents.NAME]"))
        raw_agents = {}
    for name, table in raw_agents.items():
        agents[name] = _parse_agent(name, table, problems, settings_class)
    config = attrs.evolve(base, agents=agents, health=_health_override(base.health, environ, problems))
    problems += _impossible(config)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in sorted(problems, key=lambda problem: problem.path))
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{source}: {count}\n{lines}")
    return config


def _parse_agent(name: str, table: Mapping[str, Any], problems: list[Problem], settings_class: Any) -> AgentConfig:
    path = f"agents.{name}"
    provider = table.get("provider", AgentConfig().provider)
    own = {key: value for key, value in table.items() if key != provider}
    agent = build(AgentConfig, own, path, problems, skip=("settings",), also=(str(provider),))
    try:
        schema = settings_class(agent.provider)
    except ConfigError as error:
        problems.append(Problem(f"{path}.provider", str(error)))
        return agent
    settings_raw = table.get(agent.provider, {})
    if not isinstance(settings_raw, dict):
        problems.append(Problem(f"{path}.{agent.provider}", f"must be a table: [{path}.{agent.provider}]"))
        return agent
    settings = build(schema, settings_raw, f"{path}.{agent.provider}", problems)
    if impossible := getattr(settings, "impossible", None):
        problems += [Problem(f"{path}.{agent.provider}.{where}", why) for where, why in impossible(agent.language)]
    return attrs.evolve(agent, settings=settings)


def _health_override(health: Health, environ: Mapping[str, str], problems: list[Problem]) -> Health:
    """HEALTH_HOST and HEALTH_PORT of the environment."""
    raw: dict[str, Any] = {"host": environ.get("HEALTH_HOST") or health.host, "port": health.port}
    if port := environ.get("HEALTH_PORT"):
        raw["port"] = int(port) if _is_number(port) else port
    found: list[Problem] = []
    made = build(Health, raw, "health", found)
    problems += [
        Problem(f"environment HEALTH_{problem.path.rpartition('.')[2].upper()}", problem.message)
        for problem in found
        if f"HEALTH_{problem.path.rpartition('.')[2].upper()}" in environ
    ]
    return made


def _impossible(config: Config) -> list[Problem]:
    """Combinations that are well-formed and cannot work."""
    problems: list[Problem] = []
    if not config.agents:
        problems.append(Problem("agents", "no agent is configured: add a table [agents.default]"))
    if config.agents and config.calls.default_agent and config.calls.default_agent not in config.agents:
        problems.append(
            Problem(
                "calls.default_agent",
                f"there is no agent {config.calls.default_agent!r}; there are: {', '.join(config.agents)}",
            )
        )
    for name, agent in config.agents.items():
        times = agent.liveness
        if times.max_duration and times.warn_before >= times.max_duration:
            problems.append(
                Problem(
                    f"agents.{name}.liveness.warn_before",
                    f"must be less than max_duration ({times.max_duration:g}), not {times.warn_before:g}",
                )
            )
    headless = config.audiosocket
    if config.agents and headless.headless_agent and headless.headless_agent not in config.agents:
        problems.append(
            Problem(
                "audiosocket.headless_agent",
                f"there is no agent {headless.headless_agent!r}; there are: {', '.join(config.agents)}",
            )
        )
    if config.agents and headless.headless is Headless.ACCEPT and not config.headless_agent:
        problems.append(Problem("audiosocket.headless_agent", "must name the agent of headless calls"))
    same_port = config.health.port and config.health.port == config.audiosocket.port
    hosts = {host.replace("localhost", "127.0.0.1") for host in (config.health.host, config.audiosocket.host)}
    if same_port and (len(hosts) == 1 or hosts & {"0.0.0.0", "::"}):
        problems.append(Problem("health.port", f"port {config.health.port} is audiosocket.port already"))
    if config.audiosocket.bind_grace >= config.audiosocket.bind_timeout:
        problems.append(Problem("audiosocket.bind_grace", "must be shorter than audiosocket.bind_timeout"))
    return problems


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and check a configuration file. Raises ConfigError."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; `agentd sample` prints a configuration to begin with"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    return parse_config(raw, environ, str(path))


SAMPLE_HEAD = """\
# agent.toml: the configuration of agentd. Every setting is shown with its default.
# Check a changed file with `agentd check --config agent.toml`.
#
# Secrets are not in this file. They come from the environment or from systemd credentials:
#   AGENTD_ARI_PASSWORD or the credential "ari-password": the password of the user in ari.conf
#   api_key_name of an agent: the name of its environment variable or credential"""


def sample_toml() -> str:
    """The commented sample: one local agent named default, every setting at its default."""
    from providers.registry import settings_class

    lines = [SAMPLE_HEAD, *sample(Config, "", skip=("agents",))]
    provider = AgentConfig().provider
    lines += ["", "# --- Agents: as many as you like, each with a table [agents.NAME] of its own."]
    lines += sample(AgentConfig, "agents.default", skip=("settings",))
    lines += sample(settings_class(provider), f"agents.default.{provider}")
    return "\n".join(lines) + "\n"


def config_schema() -> dict[str, Any]:
    """JSON Schema of agent.toml, with the settings of every provider that is installed."""
    from providers.registry import provider_names, settings_class

    schema = json_schema(Config, skip=("agents",))
    agent = json_schema(AgentConfig, skip=("settings",))
    for name in provider_names():
        agent["properties"][name] = json_schema(settings_class(name))
    schema["properties"]["agents"] = {"type": "object", "additionalProperties": agent}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "agent.toml", **schema}
