"""The settings of the OpenAI Realtime agent. Imports no network library.

The values are those of the session object: https://platform.openai.com/docs/api-reference/realtime-client-events/session
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import attrs

from agentd import deadlines
from agentd.config.schema import Unshown, http_url, positive, secret_name, text
from agentd_providers.credentials import Credential
from agentd_providers.model_list import ModelList, UsedModel
from agentd_providers.model_names import REALTIME, TRANSCRIBE, ending, misplaced, served_by

DOMAIN = "openai.com"
MOST_TOKENS = 4096
"""The largest `max_output_tokens` that may be asked for; beyond it there is only "inf"."""


class RealtimeAudioFormat(StrEnum):
    PCM16 = "pcm16"
    G711_ULAW = "g711_ulaw"
    G711_ALAW = "g711_alaw"


class Detection(StrEnum):
    SERVER_VAD = "server_vad"
    SEMANTIC_VAD = "semantic_vad"


class Eagerness(StrEnum):
    AUTO = "auto"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class NoiseReduction(StrEnum):
    OFF = "off"
    NEAR_FIELD = "near_field"
    FAR_FIELD = "far_field"


class Reasoning(StrEnum):
    DEFAULT = "default"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


LONGEST_PAUSE = {Eagerness.LOW: 8.0, Eagerness.AUTO: 4.0, Eagerness.MEDIUM: 4.0, Eagerness.HIGH: 2.0}
"""Seconds of silence that end any turn with semantic_vad (published for each eagerness)."""


def _websocket_url(value: str) -> str | None:
    if not value.startswith(("ws://", "wss://")):
        return "must begin with ws:// or wss://"
    if complaint := http_url("http" + value[2:]):
        return complaint if isinstance(complaint, Unshown) else complaint.replace("http://", "ws://")
    return None


def _url(value: str) -> str | None:
    return http_url(value) if value else None


def _share(value: float) -> str | None:
    return None if 0 <= value <= 1 else "must be between 0 and 1"


def _speed(value: float) -> str | None:
    return None if 0.25 <= value <= 1.5 else "must be between 0.25 and 1.5"


def _tokens(value: int) -> str | None:
    return None if 0 <= value <= MOST_TOKENS else f"must be 1 to {MOST_TOKENS}, or 0 for no limit"


def _milliseconds(value: int) -> str | None:
    return None if 0 <= value <= 10_000 else "must be between 0 and 10000"


@attrs.frozen
class RealtimeTurnSettings:
    """When the caller's turn begins and ends, which OpenAI hears, and who decides that it is answered."""

    detection: Annotated[
        Detection,
        text("server_vad (a silence ends the turn) or semantic_vad (the words do: thinking aloud is waited for)."),
    ] = Detection.SERVER_VAD
    threshold: Annotated[
        float, text("server_vad: how loud and clear speech has to be, 0 to 1; more on noisy lines.", _share)
    ] = 0.5
    silence_ms: Annotated[
        int, text("server_vad: silence that ends the turn; less answers sooner, and cuts in more often.", _milliseconds)
    ] = 500
    prefix_padding_ms: Annotated[
        int, text("server_vad: audio from before the onset that belongs to the turn.", _milliseconds)
    ] = 300
    eagerness: Annotated[
        Eagerness, text("semantic_vad: low (waits up to 8 s), medium or auto (4 s), or high (2 s).")
    ] = Eagerness.AUTO
    vendor_answers: Annotated[
        bool,
        text(
            "Whether OpenAI answers and falls silent by itself, which is faster. false: agentd asks for each answer, "
            "so that sentences that must be heard to their end are not cut short at the source."
        ),
    ] = True

    @property
    def longest_pause(self) -> float:
        """Seconds of silence after the caller's words within which the turn is surely over."""
        if self.detection is Detection.SEMANTIC_VAD:
            return LONGEST_PAUSE[self.eagerness]
        return self.silence_ms / 1000


@attrs.frozen
class RealtimeTranscriptionSettings:
    """The transcription of the caller: for logs, for the history, and for an agent that takes over."""

    model: Annotated[
        str, text("OpenAI's model for it; empty: no transcript, and a fallback does not know what was said.")
    ] = TRANSCRIBE
    language: Annotated[str, text("Two letters (ISO 639-1), such as de; empty: the agent's language.")] = ""


@attrs.frozen
class RealtimeAnnouncementSettings:
    """Words that must be exact (a failed call's announcement), by a server with /audio/speech: the model chooses its
    own."""

    base_url: Annotated[str, text("An OpenAI-compatible server (https://host/v1); empty: the agent's.", _url)] = ""
    model: Annotated[
        str,
        text("Text-to-speech model of a server that has one; empty: none, and another agent speaks them (`speaker`)."),
    ] = ""
    voice: Annotated[str, text("Its voice; empty: the agent's.")] = ""
    timeout: Annotated[float, text("Seconds that one may take.", positive, deadlines.VENDOR_WORDS.check)] = 15.0


@attrs.frozen
class RealtimeSettings:
    """OpenAI Realtime: a model that hears the caller and speaks itself."""

    url: Annotated[
        str, text("The Realtime API; the model is added to it. Any server that speaks the same.", _websocket_url)
    ] = "wss://api.openai.com/v1/realtime"
    model: Annotated[str, text("The model's name; empty: the url names it.")] = REALTIME
    api_key_name: Annotated[
        str, text("Environment variable or credential that holds the key; empty: no key.", secret_name)
    ] = "OPENAI_API_KEY"
    connect_deadline: Annotated[
        float,
        text(
            "Seconds until a session must be ready, from the first packet to its settings accepted.",
            positive,
            deadlines.VENDOR_CONNECT.check,
        ),
    ] = 5.0
    voice: Annotated[str, text("marin, cedar, alloy, ash, ballad, coral, echo, sage, shimmer or verse.")] = "marin"
    speed: Annotated[float, text("Pace of the voice, 0.25 to 1.5.", _speed)] = 1.0
    audio: Annotated[
        RealtimeAudioFormat,
        text(
            "pcm16 (24 kHz: what wideband calls need), or g711_ulaw or g711_alaw (8 kHz, a sixth of the bandwidth, and "
            "all that an ordinary telephone line has)."
        ),
    ] = RealtimeAudioFormat.PCM16
    noise_reduction: Annotated[
        NoiseReduction, text("near_field (handsets, headsets), far_field (speakerphones), or off.")
    ] = NoiseReduction.OFF
    max_output_tokens: Annotated[
        int, text("Longest answer in tokens (about 20 a second of speech); 0: no limit.", _tokens)
    ] = 0
    reasoning: Annotated[
        Reasoning, text("How much a model that reasons thinks before it speaks; default: its own measure.")
    ] = Reasoning.DEFAULT
    session_minutes: Annotated[
        float, text("OpenAI ends a session after this time: it is replaced before.", positive)
    ] = 60.0
    turn: RealtimeTurnSettings = attrs.field(factory=RealtimeTurnSettings)
    transcription: RealtimeTranscriptionSettings = attrs.field(factory=RealtimeTranscriptionSettings)
    announcements: RealtimeAnnouncementSettings = attrs.field(factory=RealtimeAnnouncementSettings)

    @property
    def session_url(self) -> str:
        """The WebSocket's address, with the model."""
        if not self.model:
            return self.url
        return f"{self.url}{'&' if '?' in self.url else '?'}model={quote(self.model, safe='')}"

    @property
    def api_url(self) -> str:
        """Where the REST API is to be found that stands beside the Realtime API."""
        parts = urlsplit(self.url)
        path = re.sub("/realtime/?$", "", parts.path)
        return urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, path, "", ""))

    def impossible(self, language: str) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why); asked by the configuration's check."""
        if not self.model and "model=" not in self.url:
            yield "model", "is needed, or a url that names it"
        if not self.transcription.language and not re.fullmatch("[A-Za-z]{2}(-.*)?", language):
            yield "transcription.language", f"is needed: of {language!r} OpenAI has no two-letter code"
        if served_by(DOMAIN, self.url):
            yield from misplaced("model", self.model, "realtime")
            yield from misplaced("transcription.model", self.transcription.model, "speech to text")
        if served_by(DOMAIN, self.announcements.base_url or self.api_url):
            yield from misplaced("announcements.model", self.announcements.model, "speech")

    def ending(self, today: str) -> Iterator[tuple[str, str]]:
        """Names that will end, as (setting, why)."""
        if served_by(DOMAIN, self.url):
            yield from ending("model", self.model, today)
            yield from ending("transcription.model", self.transcription.model, today)
        if served_by(DOMAIN, self.announcements.base_url or self.api_url):
            yield from ending("announcements.model", self.announcements.model, today)


def credentials(settings: RealtimeSettings) -> tuple[Credential, ...]:
    """The agent's credentials: see agentd_providers.registry.Provider."""
    if not settings.api_key_name:
        return ()
    # A list of models, which only a good key is given: https://platform.openai.com/docs/api-reference/models/list
    url, announcements = f"{settings.api_url}/models", settings.announcements
    used = [
        UsedModel(
            "model", settings.model or dict(parse_qsl(urlsplit(settings.url).query)).get("model", ""), "realtime"
        ),
        UsedModel("transcription.model", settings.transcription.model, "speech to text"),
    ]
    speaks = UsedModel("announcements.model", announcements.model, "speech")
    elsewhere = announcements.base_url.rstrip("/")
    if not elsewhere:
        used.append(speaks)
    lists = (ModelList(url, tuple(each for each in used if each.model)),)
    key = Credential(settings.api_key_name, "OpenAI's API key", url, lists=lists)
    if not elsewhere or not announcements.model:
        return (key,)
    there = f"{elsewhere}/models"
    return (
        key,
        Credential(settings.api_key_name, "the key, for announcements", there, lists=(ModelList(there, (speaks,)),)),
    )
