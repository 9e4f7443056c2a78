"""The settings of the Deepgram Voice Agent. Imports no network library, so that a configuration is checked without one.

The names are Deepgram's: https://developers.deepgram.com/docs/configure-voice-agent
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

import attrs

from agentd import deadlines
from agentd.config.schema import Unshown, http_url, not_negative, positive, secret_name, text
from agentd_providers.credentials import Credential, Scheme
from agentd_providers.deepgram.names import DOMAIN, KEY_CHECK, listening, model_lists, spoken_by, thought_by
from agentd_providers.model_list import UsedModel
from agentd_providers.model_names import CHAT, DEEPGRAM_LISTEN, DEEPGRAM_VOICE, ending, served_by


class ThinkProvider(StrEnum):
    """https://developers.deepgram.com/docs/voice-agent-llm-models (aws_bedrock needs credentials of another kind)."""

    OPEN_AI = "open_ai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    GROQ = "groq"
    NVIDIA = "nvidia"
    DEEPGRAM = "deepgram"


class SpeakProvider(StrEnum):
    """https://developers.deepgram.com/docs/voice-agent-tts-models (aws_polly needs credentials of another kind)."""

    DEEPGRAM = "deepgram"
    ELEVEN_LABS = "eleven_labs"
    CARTESIA = "cartesia"
    OPEN_AI = "open_ai"


def _socket_url(value: str) -> str | None:
    if not value.startswith(("ws://", "wss://")):
        return "must begin with ws:// or wss://"
    if "?" in value or "#" in value:
        return Unshown("must hold nothing after the path: a key in it would reach logs; name it in api_key_name")
    return http_url(f"http{value[2:]}")


def _url(value: str) -> str | None:
    return http_url(value) if value else None


def _header(value: str) -> str | None:
    good = value.replace("-", "").isalnum() and value.isascii() and len(value) <= 64
    return None if good else "must be the name of an HTTP header, such as authorization"


def _share(value: float) -> str | None:
    return None if 0 <= value <= 1 else "must be from 0 to 1"


@attrs.frozen
class AgentListenSettings:
    """How Deepgram hears the caller."""

    model: Annotated[str, text("Deepgram's name for the model: nova-3, flux-general-en, flux-general-multi, ...")] = (
        DEEPGRAM_LISTEN
    )
    keyterms: Annotated[list[str], text("Words to listen for: names of products and people.")] = attrs.field(
        factory=list
    )
    smart_format: Annotated[bool, text("Write numbers, dates and the like as people do (not with flux models).")] = (
        False
    )
    eot_threshold: Annotated[
        float, text("flux models: how sure to be that the caller has finished, 0.5 to 0.9; 0: Deepgram's own.", _share)
    ] = 0.0
    eot_timeout_ms: Annotated[
        int, text("flux models: silence that ends a turn in any case; 0: Deepgram's own (5000).", not_negative)
    ] = 0

    @property
    def is_flux(self) -> bool:
        """Whether the model is one that takes the turns itself, which has settings of its own."""
        return self.model.startswith("flux")


@attrs.frozen
class AgentThinkSettings:
    """The language model that answers. Deepgram calls it, and pays for it where endpoint_url is empty."""

    provider: Annotated[ThinkProvider, text("Whose the model is.")] = ThinkProvider.OPEN_AI
    model: Annotated[str, text("The provider's name for the model.")] = CHAT
    temperature: Annotated[
        float, text("Randomness of the words, 0 to 2 (anthropic: 1); below 0: the model's own, as some models demand.")
    ] = -1.0
    endpoint_url: Annotated[
        str, text("Where Deepgram finds the model (groq, or a server of yours); empty: Deepgram's own access.", _url)
    ] = ""
    api_key_name: Annotated[
        str,
        text("Environment variable or credential with the key for endpoint_url, which Deepgram is told.", secret_name),
    ] = ""
    api_key_header: Annotated[
        str, text("The header that carries this key; in authorization it stands after Bearer.", _header)
    ] = "authorization"


@attrs.frozen
class AgentSpeakSettings:
    """The voice that the caller hears."""

    provider: Annotated[SpeakProvider, text("Whose the voice is.")] = SpeakProvider.DEEPGRAM
    model: Annotated[str, text("The provider's name for the model; Deepgram's are voices.")] = DEEPGRAM_VOICE
    voice: Annotated[str, text("The voice (open_ai: its name, cartesia: its id); Deepgram's is in the model.")] = ""
    endpoint_url: Annotated[
        str, text("Where Deepgram finds the voice; needed for eleven_labs and open_ai, with your own key.", _url)
    ] = ""
    api_key_name: Annotated[
        str,
        text("Environment variable or credential with the key for endpoint_url, which Deepgram is told.", secret_name),
    ] = ""
    api_key_header: Annotated[
        str, text("The header that carries this key (eleven_labs: xi-api-key); in authorization after Bearer.", _header)
    ] = "authorization"


@attrs.frozen
class DeepgramAgentSettings:
    """The Deepgram Voice Agent: Deepgram hears, thinks and speaks, and takes the turns."""

    url: Annotated[str, text("Deepgram's Voice Agent, or a Deepgram server of your own.", _socket_url)] = (
        "wss://agent.deepgram.com/v1/agent/converse"
    )
    speech_url: Annotated[
        str,
        text(
            "Deepgram's API for announcements, which it speaks in the agent's voice; empty: that of the same region "
            "(or server) as url.",
            _url,
        ),
    ] = ""
    api_key_name: Annotated[str, text("Environment variable or credential that holds Deepgram's key.", secret_name)] = (
        "DEEPGRAM_API_KEY"
    )
    connect_deadline: Annotated[
        float,
        text(
            "Seconds that Deepgram may take to be ready for a call, connecting included.",
            positive,
            deadlines.VENDOR_CONNECT.check,
        ),
    ] = 5.0
    speech_timeout: Annotated[
        float,
        text("Seconds that Deepgram may be silent in an announcement.", positive, deadlines.VENDOR_WORDS.check),
    ] = 5.0
    keep_alive: Annotated[
        float,
        text(
            "Seconds without audio after which Deepgram is told that the call goes on; it waits 10.",
            positive,
            deadlines.DEEPGRAM_TOLD.check,
        ),
    ] = 5.0
    session_limit: Annotated[
        float, text("Seconds after which Deepgram ends a session, however lively (two hours).", positive)
    ] = 7200.0
    renew_before: Annotated[
        float, text("Seconds before that limit from which on a new session takes over, in a quiet moment.", positive)
    ] = 300.0
    answer_within: Annotated[
        float,
        text(
            "Seconds that an answer may take to begin; then another agent answers, if there is one.",
            positive,
            deadlines.VENDOR_ANSWER.check,
        ),
    ] = 8.0
    mip_opt_out: Annotated[bool, text("Keep the calls out of Deepgram's model improvement programme (at a price).")] = (
        False
    )
    tags: Annotated[list[str], text("Labels for your usage reports at Deepgram.")] = attrs.field(factory=list)
    listen: AgentListenSettings = attrs.field(factory=AgentListenSettings)
    think: AgentThinkSettings = attrs.field(factory=AgentThinkSettings)
    speak: AgentSpeakSettings = attrs.field(factory=AgentSpeakSettings)

    @property
    def speech_api(self) -> str:
        """Where announcements are spoken. A region has all of Deepgram at one host, such as api.eu.deepgram.com
        (https://developers.deepgram.com/reference/regional-endpoints)."""
        if self.speech_url:
            return self.speech_url
        parts = urlsplit(self.url)
        host = "api.deepgram.com" if parts.netloc == "agent.deepgram.com" else parts.netloc
        return f"{'https' if parts.scheme == 'wss' else 'http'}://{host}"

    def impossible(self, language: str) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why); asked by the configuration's check."""
        yield from self._names(language)
        if not self.api_key_name:
            yield "api_key_name", "Deepgram lets nobody in without a key: name the variable that holds it"
        if self.renew_before >= self.session_limit:
            yield "renew_before", "must be less than session_limit"
        if not self.listen.model:
            yield "listen.model", "must name a model"
        if not self.listen.is_flux and (self.listen.eot_threshold or self.listen.eot_timeout_ms):
            yield "listen.model", "eot_threshold and eot_timeout_ms are for flux models only"
        if self.listen.eot_threshold and not 0.5 <= self.listen.eot_threshold <= 0.9:
            yield "listen.eot_threshold", "must be from 0.5 to 0.9"
        if not self.think.model:
            yield "think.model", "must name a model"
        if self.think.provider is ThinkProvider.GROQ and not self.think.endpoint_url:
            yield "think.endpoint_url", "groq's has to be given, with a key of your own"
        most = 1 if self.think.provider is ThinkProvider.ANTHROPIC else 2
        if self.think.temperature > most:
            yield "think.temperature", f"must be at most {most}"
        if not self.speak.model:
            yield "speak.model", "must name a model"
        if self.speak.provider in (SpeakProvider.ELEVEN_LABS, SpeakProvider.OPEN_AI) and not self.speak.endpoint_url:
            yield "speak.endpoint_url", f"that of {self.speak.provider} has to be given, with a key of your own"
        if self.speak.provider in (SpeakProvider.OPEN_AI, SpeakProvider.CARTESIA) and not self.speak.voice:
            yield "speak.voice", f"{self.speak.provider} needs one"
        for name, part in (("think", self.think), ("speak", self.speak)):
            if part.api_key_name and not part.endpoint_url:
                yield f"{name}.api_key_name", f"is for a server of your own: set {name}.endpoint_url too"

    def _names(self, language: str) -> Iterator[tuple[str, str]]:
        """Names that cannot work where they stand."""
        if not self.listen.is_flux:
            for why in listening(self.listen.model, self.listen.keyterms):
                yield "listen.model", why
        elif self.listen.model.endswith("-en") and not language.lower().startswith("en"):
            # https://developers.deepgram.com/docs/flux/language-prompting
            yield "listen.model", f"{self.listen.model!r} hears English only: take flux-general-multi or nova-3"
        if not self.think.endpoint_url:
            for why in thought_by(self.think.provider, self.think.model, mip_opt_out=self.mip_opt_out):
                yield "think.model", why
        if not self.speak.endpoint_url:
            for why in spoken_by(self.speak.provider, self.speak.model):
                yield "speak.model", why

    def ending(self, today: str) -> Iterator[tuple[str, str]]:
        """Names that will end, as (setting, why)."""
        at_openai = not self.think.endpoint_url or served_by("openai.com", self.think.endpoint_url)
        if self.think.provider is ThinkProvider.OPEN_AI and at_openai:
            yield from ending("think.model", self.think.model, today)
        if self.speak.provider is SpeakProvider.OPEN_AI and served_by("openai.com", self.speak.endpoint_url):
            yield from ending("speak.model", self.speak.model, today)


def credentials(settings: DeepgramAgentSettings) -> Sequence[Credential]:
    """The credentials that the settings need."""
    api = settings.speech_api.rstrip("/")
    check = f"{api}{KEY_CHECK}" if served_by(DOMAIN, settings.url) else ""
    used = [UsedModel("listen.model", settings.listen.model, "speech to text")]
    if settings.speak.provider is SpeakProvider.DEEPGRAM:
        used.append(UsedModel("speak.model", settings.speak.model, "speech"))
    lists = model_lists(api, *used) if check else ()
    wanted = [
        Credential(settings.api_key_name, "Deepgram's API key", check, Scheme.TOKEN, lists=lists),
        Credential(settings.think.api_key_name, f"the key of {settings.think.endpoint_url}"),
        Credential(settings.speak.api_key_name, f"the key of {settings.speak.endpoint_url}"),
    ]
    return [credential for credential in wanted if credential.secret]
