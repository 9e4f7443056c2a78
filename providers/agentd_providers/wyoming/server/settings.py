"""The settings of `agentd speech-server`. Imports no engine."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

import attrs

from agentd import deadlines
from agentd.config.schema import address, networks, not_negative, port_number, positive, text
from agentd_providers.local.settings import Engine, SttSettings, TtsSettings


@attrs.frozen
class SpeechServerSettings:
    """Of `agentd speech-server`, which lends this host's speech engines to others. The daemon does not read it."""

    host: Annotated[
        str, text("Address to listen on. Mind that Wyoming has neither passwords nor encryption.", address)
    ] = "127.0.0.1"
    port: Annotated[int, text("Port to listen on.", port_number)] = 10300
    allow: Annotated[
        list[str], text("Networks that may connect; empty: any that reaches the address above.", networks)
    ] = attrs.field(factory=list)
    health_host: Annotated[str, text("Address of GET /health and GET /metrics.", address)] = "127.0.0.1"
    health_port: Annotated[int, text("Port of GET /health and GET /metrics.", port_number)] = 15001
    transcribes: Annotated[bool, text("Whether it serves speech to text.")] = True
    synthesises: Annotated[bool, text("Whether it serves text to speech.")] = True
    processes: Annotated[
        int, text("Engine processes of each kind: so many requests are worked at at once.", positive)
    ] = 1
    max_waiting: Annotated[
        int, text("Requests of each kind that may wait for an engine; further ones are refused.", not_negative)
    ] = 4
    max_connections: Annotated[int, text("Connections at a time.", positive)] = 50
    max_utterance: Annotated[float, text("Seconds of audio that an utterance may have.", positive)] = 60.0
    max_text: Annotated[int, text("Characters that a text to be spoken may have.", positive)] = 2000
    idle_timeout: Annotated[
        float, text("Seconds that a client may send nothing, or take nothing; then it is disconnected.", positive)
    ] = 60.0
    drain_timeout: Annotated[
        float,
        text("Seconds that running requests may take at shutdown.", not_negative, deadlines.SPEECH_DRAIN.check),
    ] = 10.0
    languages: Annotated[
        list[str],
        text("What the model of speech to text hears (BCP 47), told to clients; empty: English for moonshine."),
    ] = attrs.field(factory=list)
    stt: SttSettings = attrs.field(factory=SttSettings)
    tts: TtsSettings = attrs.field(factory=TtsSettings)

    @property
    def allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(network) for network in self.allow)

    def impossible(self) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why)."""
        if not self.transcribes and not self.synthesises:
            yield "transcribes", "nothing is left to serve: transcribes and synthesises are both false"
        if self.transcribes and self.stt.engine is Engine.VOSK and not self.languages:
            yield "languages", "must tell what the Vosk model hears: clients look for their language"
        if self.port and self.port == self.health_port:
            yield "health_port", f"port {self.port} is speech_server.port already"
