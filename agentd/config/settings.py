"""The configuration: the attrs schema of agent.toml, and the one place of every default.

Secrets are not part of it: they come from the environment or from systemd credentials (agentd.config.secrets).
agentd.config.file reads and checks a file.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import urlsplit

import attrs

from agentd import deadlines
from agentd.addresses import NAME, from_here, host_port, is_address, is_everywhere, split_host_port
from agentd.config.schema import (
    NO_SETTING,
    Text,
    Unshown,
    address,
    http_url,
    networks,
    not_negative,
    port_number,
    positive,
    text,
)
from agentd.telltales import secret_in_url


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


class RtpCodec(StrEnum):
    ULAW = "ulaw"
    ALAW = "alaw"
    SLIN = "slin"


PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
"""What may follow the port in Asterisk's URL: http.conf's prefix."""


def _url(value: str) -> str | None:
    if secret_in_url(value):
        return Unshown("must hold no user, password or key: set username, and the secret AGENTD_ARI_PASSWORD")
    if complaint := http_url(value):
        return complaint
    parts = urlsplit(value)
    if rest := parts.query or parts.fragment:
        return f"must be http://host:port without {rest!r}"
    if not PREFIX.fullmatch(parts.path) or {".", ".."} & {*parts.path.split("/")}:
        return f"must be http://host:port, and the prefix of http.conf if it has one; {parts.path!r} is none"
    below = parts.path.rstrip("/").endswith("/ari")
    return "must be http://host:port without '/ari', which agentd adds itself" if below else None


def _absolute(value: str) -> str | None:
    return None if value.startswith("/") else "must be an absolute path"


def _host_port(value: str) -> str | None:
    if not value:
        return None
    try:
        host, _ = split_host_port(value)
    except ValueError as error:
        return str(error)
    return f"{host} is no address that can be connected to" if is_everywhere(host) else None


def _port(value: int) -> str | None:
    return None if 1024 <= value <= 65535 else "must be a port from 1024 to 65535"


def _connection_name(value: str) -> str | None:
    if value == "INCOMING":
        return "must not be INCOMING, Asterisk's word for the other direction: leave it empty"
    plain = re.fullmatch(r"[A-Za-z0-9_.-]{0,60}", value)
    return None if plain else "must be a name of letters, digits, hyphens, dots and underscores"


def _reachable(value: str) -> str | None:
    if not value:
        return None
    if not is_address(value) and not NAME.fullmatch(value):
        bare = "; an IPv6 address stands without brackets here" if is_address(value.strip("[]")) else ""
        return f"must be an IP address or a name, without a port{bare}"
    return f"{value} is no address that can be sent to" if is_everywhere(value) else None


@attrs.frozen
class Asterisk:
    """Where Asterisk's ARI is. The password comes from AGENTD_ARI_PASSWORD or the credential ari-password."""

    url: Annotated[str, text("Asterisk's HTTP server (http.conf), with its prefix if it has one.", _url)] = (
        "http://127.0.0.1:8088"
    )
    username: Annotated[str, text("The user in ari.conf.")] = "agentd"
    app: Annotated[str, text("The Stasis application, which an extension names in AGENTD_APP.")] = "agentd"
    request_timeout: Annotated[
        float, text("Seconds that an ARI request may take.", positive, deadlines.ARI_TIMEOUT.check)
    ] = 5.0
    require_at_start: Annotated[
        bool, text("Report readiness to systemd only once ARI is up; false: also while it is being retried.")
    ] = False


@attrs.frozen
class AudioSocket:
    """The listener that Asterisk connects to with a call's audio."""

    host: Annotated[str, text("Address to listen on.", address)] = "127.0.0.1"
    port: Annotated[int, text("Port to listen on.", port_number)] = 8090
    advertise: Annotated[
        str, text("address:port that Asterisk is told to connect to; empty: host and port above.", _host_port)
    ] = ""
    allow: Annotated[
        list[str], text("Networks that may connect; empty: any that reaches the address above.", networks)
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
        bool, text("Carry 16 kHz where the telephone, Asterisk (20.17, 21.12, 22.7, 23.1) and the agent have it.")
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
class Rtp:
    """ExternalMedia RTP, for calls with media=rtp: UDP both ways, a port for each call."""

    host: Annotated[str, text("Address to send from and to receive on.", address)] = "127.0.0.1"
    advertise: Annotated[
        str, text("Address that Asterisk is told to send to, without a port; empty: host above.", _reachable)
    ] = ""
    first_port: Annotated[int, text("First of the ports; outside of Asterisk's own (rtp.conf).", _port)] = 21000
    last_port: Annotated[int, text("Last of the ports: as many calls at a time.", _port)] = 21999
    codec: Annotated[
        RtpCodec, text("What calls carry; best what the telephones have: ulaw, alaw, or slin for any.")
    ] = RtpCodec.ULAW
    silence_timeout: Annotated[
        float,
        text(
            "Seconds without a packet after which Asterisk is asked whether the leg still stands. On hold, or muted, "
            "a telephone may send none.",
            positive,
        ),
    ] = 30.0


@attrs.frozen
class MediaWebSocket:
    """chan_websocket, for calls with media=websocket: agentd connects to Asterisk's HTTP server, or Asterisk to agentd.
    The password of the latter comes from AGENTD_WEBSOCKET_PASSWORD or the credential websocket-password."""

    connection: Annotated[
        str,
        text(
            "The connection of websocket_client.conf by which Asterisk connects to agentd; empty: agentd connects to "
            "Asterisk, at the URL above.",
            _connection_name,
        ),
    ] = ""
    host: Annotated[str, text("Address to listen on where Asterisk connects.", address)] = "127.0.0.1"
    port: Annotated[int, text("Port to listen on.", port_number)] = 8091
    username: Annotated[str, text("The user that Asterisk has to name.")] = "asterisk"
    allow: Annotated[
        list[str], text("Networks that may connect; empty: any that reaches the address above.", networks)
    ] = attrs.field(factory=list)
    max_connections: Annotated[int, text("Connections at a time.", positive)] = 500
    wideband: Annotated[bool, text("Carry 16 kHz where the telephone and the agent have it.")] = True

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
        str, text("How media legs are made where the dialplan does not say: external, fork, rtp or websocket.")
    ] = "external"
    drain_timeout: Annotated[
        float, text("Seconds that running calls may take to finish at shutdown.", not_negative)
    ] = 30.0
    records_directory: Annotated[
        str,
        text(
            "Where running calls are noted for a restart of agentd, where systemd does not say; it has to be in "
            "memory (tmpfs).",
            _absolute,
        ),
    ] = "/run/agentd"
    failure_sound: Annotated[
        str, text("What a failed call hears where nothing else is configured: a sound that Asterisk has.")
    ] = "sound:sorry"


@attrs.frozen
class Health:
    """GET /health and GET /metrics. HEALTH_HOST and HEALTH_PORT in the environment override."""

    host: Annotated[str, text("Address to listen on.", address)] = "0.0.0.0"
    port: Annotated[int, text("Port to listen on.", port_number)] = 15000

    @property
    def url(self) -> str:
        """Where the pages are for who is on this host; empty where the port is any that is free."""
        return f"http://{host_port(from_here(self.host), self.port)}" if self.port else ""


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
    """Care for calls in which nothing happens, or for too long. Times in seconds; 0 or an empty text switches off."""

    check_in_after: Annotated[
        float, text("Silence of both after which the caller is asked whether anybody is there.", not_negative)
    ] = 12.0
    check_in: Annotated[str, text("What is asked then.")] = "Are you still there?"
    check_ins: Annotated[int, text("How often it is asked before the call ends.", not_negative)] = 2
    silence_farewell: Annotated[str, text("What a silent caller hears at the end.")] = (
        "I cannot hear you, so I will end the call now. Goodbye!"
    )
    dead_air_after: Annotated[
        float,
        text("Silence of both, whatever the cause, after which a call is given up as failed.", not_negative),
    ] = 20.0
    slow_after: Annotated[float, text("Seconds that an answer may take before the filler.", not_negative)] = 2.0
    filler: Annotated[str, text("What is said while an answer takes its time.")] = "One moment, please."
    max_duration: Annotated[float, text("The longest that a call may last.", not_negative)] = 3600.0
    warn_before: Annotated[float, text("How long before its end the caller is warned.", not_negative)] = 60.0
    duration_warning: Annotated[str, text("The warning.")] = "Please note that our call has to end in a minute."
    duration_farewell: Annotated[str, text("What is said when the time is over.")] = (
        "Our time is over. Thank you for your call, goodbye!"
    )


@attrs.frozen
class Failover:
    """When this agent is given up, and what the caller hears while another one, or itself again, takes over."""

    open_within: Annotated[
        float,
        text(
            "Seconds that a session may take to open where another agent could take the call.",
            positive,
            deadlines.SESSION_OPEN.check,
        ),
    ] = 1.5
    mute_after: Annotated[
        float,
        text(
            "Seconds without any sign of life after the caller has spoken, or in mid-speech: then it is given up.",
            positive,
            deadlines.SESSION_MUTE.check,
        ),
    ] = 1.2
    hold_message: Annotated[
        str,
        text(
            "What the caller hears, in the next agent's voice, when an answer is cut short or does not come.",
            formerly="bridge",
        ),
    ] = "One moment, please."
    apology: Annotated[
        str, text("What the caller hears when an answer failed and nobody else can give it; empty: nothing.")
    ] = "I am sorry, I could not answer that. Please say it again."
    restart_words: Annotated[
        str, text("What a caller hears first whose call a restart or a crash of agentd has cut into; empty: nothing.")
    ] = "Sorry, I am back."


@attrs.frozen
class ToolConfig:
    """A tool of agents. `[tools.NAME]`; the settings of its kind are in `[tools.NAME.KIND]`."""

    kind: Annotated[
        str, text("hang_up, transfer, send_dtmf, http_request, or what an installed package adds; empty: as NAME.")
    ] = ""
    description: Annotated[str, text("What the model is told that the tool is for; empty: the kind's own words.")] = ""
    deadline: Annotated[float, text("Seconds that it may take.", positive, deadlines.TOOL.check)] = 8.0
    settings: Annotated[object, Text("The settings of its kind, of the kind's own type.", ())] = None


@attrs.frozen
class AgentConfig:
    """One agent. `[agents.NAME]`; its provider's own settings are in `[agents.NAME.PROVIDER]`."""

    provider: Annotated[
        str, text("Who provides the agent: local, pipeline, deepgram, openai_realtime, or what a package adds.")
    ] = "local"
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
    fallback: Annotated[
        list[str], text("Agents that take over, in this order, when this one cannot be reached or fails.")
    ] = attrs.field(factory=list)
    speaker: Annotated[
        str,
        text(
            "The agent in whose voice exact words are spoken (greeting, check-ins, announcements) that this one's own "
            "voice cannot; empty: announcements by the first of `fallback` that can."
        ),
    ] = ""
    tools: Annotated[
        list[str], text("What the model may do: hang_up, send_dtmf, or the name of a table [tools.NAME].")
    ] = attrs.field(factory=list)
    liveness: Liveness = attrs.field(factory=Liveness)
    failover: Failover = attrs.field(factory=Failover)
    settings: Annotated[object, Text("The provider's settings, of the provider's own type.", ())] = None

    @property
    def phrases(self) -> tuple[str, ...]:
        """Every text that the agent is asked to say as it stands; none is empty."""
        liveness = self.liveness
        texts = (
            self.greeting,
            liveness.check_in,
            liveness.filler,
            liveness.duration_warning,
            self.failover.apology,
            self.failover.restart_words,
        )
        return tuple(text for text in texts if text)

    @property
    def announcements(self) -> tuple[str, ...]:
        """Every text that a call hears before it ends, in the agent's voice; none is empty."""
        liveness = self.liveness
        texts = (
            self.failure_announcement,
            self.shutdown_announcement,
            liveness.silence_farewell,
            liveness.duration_farewell,
        )
        return tuple(text for text in texts if text)


@attrs.frozen
class Config:
    """The whole of agent.toml."""

    asterisk: Asterisk = attrs.field(factory=Asterisk)
    audiosocket: AudioSocket = attrs.field(factory=AudioSocket)
    rtp: Rtp = attrs.field(factory=Rtp)
    websocket: MediaWebSocket = attrs.field(factory=MediaWebSocket)
    media: Media = attrs.field(factory=Media)
    calls: Calls = attrs.field(factory=Calls)
    health: Health = attrs.field(factory=Health)
    logging: Logging = attrs.field(factory=Logging)
    agents: Mapping[str, AgentConfig] = attrs.field(factory=dict)
    tools: Mapping[str, ToolConfig] = attrs.field(factory=dict)
    """Every tool that some agent has, by name: those that need no table too."""
    notes: tuple[str, ...] = attrs.field(default=(), metadata=NO_SETTING)
    """Notes on a file that is good: settings under names of former releases, secrets that may stand in it."""

    def advertised_socket(self, bound_port: int) -> str:
        """The listener as Asterisk reaches it, "address:port"."""
        if self.audiosocket.advertise:
            return self.audiosocket.advertise
        return host_port(from_here(self.audiosocket.host), bound_port)

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
