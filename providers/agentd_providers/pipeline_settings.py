"""The settings of an agent that is put together of stages: who listens, who thinks, who speaks. Imports no engine."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated

import attrs

from agentd.config.schema import text
from agentd_providers.credentials import Credential, Scheme
from agentd_providers.deepgram.speech_settings import DeepgramListenSettings, DeepgramSpeakSettings
from agentd_providers.local.settings import EmbeddedSettings, LocalSettings, SttSettings, TtsSettings
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.openai.speech_settings import OpenAiListenSettings, OpenAiSpeakSettings
from agentd_providers.turns.settings import TurnSettings
from agentd_providers.wyoming.settings import WyomingListenSettings, WyomingSpeakSettings

VENDORS = ("https://api.deepgram.com", "https://api.openai.com")
_LOCAL = LocalSettings()
_Keyed = DeepgramListenSettings | DeepgramSpeakSettings | OpenAiListenSettings | OpenAiSpeakSettings | ChatSettings


class Speech(StrEnum):
    """Who does speech to text, or text to speech."""

    LOCAL = "local"
    DEEPGRAM = "deepgram"
    OPENAI = "openai"
    WYOMING = "wyoming"


class Think(StrEnum):
    """Who runs the language model."""

    EMBEDDED = "embedded"
    OPENAI = "openai"


@attrs.frozen
class PipelineAgentSettings:
    """A pipeline: speech to text, a language model and text to speech, each chosen freely."""

    listen: Annotated[
        Speech, text("Speech to text: local, deepgram, openai (any such server) or wyoming; its table is listen_NAME.")
    ] = Speech.LOCAL
    think: Annotated[
        Think, text("The language model: embedded (no tools), or openai (any such server); its table is think_NAME.")
    ] = Think.OPENAI
    speak: Annotated[
        Speech, text("Text to speech: local, deepgram, openai (any such server) or wyoming; its table is speak_NAME.")
    ] = Speech.LOCAL
    end_phrases: Annotated[
        list[str], text("What a caller says to end the call; the agent says farewell and leaves.")
    ] = attrs.field(factory=lambda: list(_LOCAL.end_phrases))
    farewell: Annotated[str, text("What the agent says then; empty: it leaves without a word.")] = _LOCAL.farewell
    turn: TurnSettings = attrs.field(factory=TurnSettings)
    listen_local: SttSettings = attrs.field(factory=SttSettings)
    listen_deepgram: DeepgramListenSettings = attrs.field(factory=DeepgramListenSettings)
    listen_openai: OpenAiListenSettings = attrs.field(factory=OpenAiListenSettings)
    listen_wyoming: WyomingListenSettings = attrs.field(factory=WyomingListenSettings)
    think_embedded: EmbeddedSettings = attrs.field(factory=EmbeddedSettings)
    think_openai: ChatSettings = attrs.field(factory=ChatSettings)
    speak_local: TtsSettings = attrs.field(factory=TtsSettings)
    speak_deepgram: DeepgramSpeakSettings = attrs.field(factory=DeepgramSpeakSettings)
    speak_openai: OpenAiSpeakSettings = attrs.field(factory=OpenAiSpeakSettings)
    speak_wyoming: WyomingSpeakSettings = attrs.field(factory=WyomingSpeakSettings)

    def impossible(self, language: str) -> Iterator[tuple[str, str]]:
        """What cannot work together, as (setting, why); asked by the configuration's check."""
        if self.listen is Speech.LOCAL:
            for setting, why in self.listen_local.impossible(language):
                yield f"listen_local.{setting}", why
        for table, chosen in self.chosen:
            if isinstance(chosen, _Keyed) and not chosen.api_key_name and chosen.base_url.startswith(VENDORS):
                yield f"{table}.api_key_name", f"must name a key: {chosen.base_url} lets nobody in without one"
        if self.speak is Speech.DEEPGRAM and not _speaks(self.speak_deepgram.voice, language):
            voice = self.speak_deepgram.voice
            yield "speak_deepgram.voice", f"{voice!r} does not speak the agent's language, which is {language!r}"
        for setting, why in self.turn.contradictions():
            yield f"turn.{setting}", why

    @property
    def takes_tools(self) -> bool:
        """Whether the model can use tools: the embedded one is too small for them."""
        return self.think is not Think.EMBEDDED

    @property
    def chosen(self) -> Sequence[tuple[str, object]]:
        """The tables of the chosen stages, by name."""
        names = (f"listen_{self.listen}", f"think_{self.think}", f"speak_{self.speak}")
        return tuple((name, getattr(self, name)) for name in names)


def _speaks(voice: str, language: str) -> bool:
    """Whether a voice of Deepgram's speaks a language; its name ends in it, aura-2-thalia-en
    (https://developers.deepgram.com/docs/tts-models)."""
    spoken = voice.rpartition("-")[2].lower()
    return len(spoken) != 2 or spoken == language.lower()[:2]


def pipeline_credentials(settings: PipelineAgentSettings) -> Sequence[Credential]:
    """What the chosen stages need: keys, or only servers that are there (Wyoming knows no credentials)."""
    found = []
    for table, chosen in settings.chosen:
        if isinstance(chosen, _Keyed):
            found.append(
                _credential(chosen, f"the key for {table}" if chosen.api_key_name else f"the server of {table}")
            )
        elif isinstance(chosen, WyomingListenSettings | WyomingSpeakSettings):
            found.append(Credential("", f"the Wyoming server of {table}", chosen.uri))
    return tuple(found)


def _credential(settings: _Keyed, what: str) -> Credential:
    """OpenAI-compatible servers list their models (https://platform.openai.com/docs/api-reference/models/list); how a
    key of Deepgram's is tested: https://developers.deepgram.com/guides/fundamentals/authenticating."""
    if isinstance(settings, DeepgramListenSettings | DeepgramSpeakSettings):
        return Credential(settings.api_key_name, what, f"{settings.base_url.rstrip('/')}/v1/auth/token", Scheme.TOKEN)
    return Credential(settings.api_key_name, what, f"{settings.base_url.rstrip('/')}/models")
