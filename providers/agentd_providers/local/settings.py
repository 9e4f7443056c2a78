"""The settings of the local agent. Imports no engine, so that a configuration is checked without loading any."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import attrs

from agentd import deadlines
from agentd.config.schema import http_url, not_negative, positive, secret_name, text
from agentd_providers.credentials import Credential
from agentd_providers.model_names import ending, served_by, takes_tools_in_chat
from agentd_providers.text_normalisation.lexicon import lexicon_entries
from agentd_providers.turns.settings import TurnSettings


class Engine(StrEnum):
    MOONSHINE = "moonshine"
    VOSK = "vosk"


USUAL_MODEL: Mapping[Engine, str] = {
    Engine.MOONSHINE: "moonshine-tiny-en",
    Engine.VOSK: "vosk-model-small-en-us-0.15",
}
SMART_TURN = "smart-turn-v3.2"
"""The model that judges by its sound whether a turn is over."""


class PromptStyle(StrEnum):
    AUTO = "auto"
    CHAT = "chat"
    TRANSCRIPT = "transcript"


def _url(value: str) -> str | None:
    return http_url(value) if value else None


@attrs.frozen
class SttSettings:
    """Speech to text."""

    engine: Annotated[Engine, text("moonshine (English, built in) or vosk (20 languages, model needed).")] = (
        Engine.MOONSHINE
    )
    model: Annotated[str, text("Name (`agentd models list`) or path of the model; empty: the engine's usual one.")] = ""

    def impossible(self, language: str) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why)."""
        if self.engine is Engine.MOONSHINE and not self.model and not language.lower().startswith("en"):
            yield "engine", f"moonshine's built-in model hears English only, the agent's language is {language!r}"


_Temperature = Annotated[float, text("Randomness of the words.", not_negative)]
_MaxTokens = Annotated[int, text("Longest reply in tokens.", positive)]
_Timeout = Annotated[
    float,
    text("Seconds that the server may be silent, before and in a reply.", positive, deadlines.STAGE_TIMEOUT.check),
]
_Threads = Annotated[
    int, text("Threads that write in the embedded model; on a host with idle cores and a large model, more.", positive)
]
_ThreadsBatch = Annotated[int, text("Threads that read the prompt in the embedded model.", positive)]
_Context = Annotated[int, text("Tokens of context a call has in the embedded model.", positive)]
_Slots = Annotated[int, text("Calls whose conversations the embedded model knows at once.", positive)]


@attrs.frozen
class EmbeddedSettings:
    """The embedded language model, which agentd runs itself."""

    model: Annotated[str, text("Name (`agentd models list`) or path of a GGUF file.")] = "smollm2-135m"
    temperature: _Temperature = 0.3
    max_tokens: _MaxTokens = 80
    timeout: _Timeout = 8.0
    threads: _Threads = 1
    threads_batch: _ThreadsBatch = 2
    context: _Context = 2048
    slots: _Slots = 5


_EMBEDDED = EmbeddedSettings()


@attrs.frozen
class LlmSettings:
    """The language model: any OpenAI-compatible server, or the embedded one."""

    base_url: Annotated[
        str,
        text("An OpenAI-compatible server (http://host:port/v1); empty: agentd runs the model itself.", _url),
    ] = ""
    model: Annotated[str, text("The server's name for the model; embedded: name or path of a GGUF file.")] = (
        _EMBEDDED.model
    )
    api_key_name: Annotated[
        str, text("Environment variable or credential that holds the server's key; empty: no key.", secret_name)
    ] = ""
    style: Annotated[PromptStyle, text("chat, or transcript (for small models); auto: transcript when embedded.")] = (
        PromptStyle.AUTO
    )
    temperature: _Temperature = _EMBEDDED.temperature
    max_tokens: _MaxTokens = _EMBEDDED.max_tokens
    timeout: _Timeout = _EMBEDDED.timeout
    threads: _Threads = _EMBEDDED.threads
    threads_batch: _ThreadsBatch = _EMBEDDED.threads_batch
    context: _Context = _EMBEDDED.context
    slots: _Slots = _EMBEDDED.slots

    @property
    def embedded(self) -> EmbeddedSettings:
        """The part of it that the embedded model is run with."""
        return EmbeddedSettings(**{field.name: getattr(self, field.name) for field in attrs.fields(EmbeddedSettings)})

    @property
    def transcript_style(self) -> bool:
        """Whether the model goes on with a transcript of the call, instead of answering in a chat's form."""
        auto = PromptStyle.CHAT if self.base_url else PromptStyle.TRANSCRIPT
        return (auto if self.style is PromptStyle.AUTO else self.style) is PromptStyle.TRANSCRIPT


@attrs.frozen
class TtsSettings:
    """Text to speech by Piper."""

    voice: Annotated[str, text("Name (`agentd models list`) or path of a Piper voice (.onnx).")] = "en_US-joe-medium"
    length_scale: Annotated[float, text("Pace: below 1 faster, above 1 slower.", positive)] = 1.0
    threads: Annotated[int, text("Threads of the engine.", positive)] = 2


@attrs.frozen
class LocalSettings:
    """The local agent: speech to text, a language model and text to speech on this host."""

    end_phrases: Annotated[
        list[str], text("What a caller says to end the call; the agent says farewell and leaves.")
    ] = attrs.field(factory=lambda: ["goodbye", "good bye", "bye bye"])
    farewell: Annotated[str, text("What the agent says then; empty: it leaves without a word.")] = "Goodbye!"
    lexicon: Annotated[
        dict[str, str],
        text(
            'What is said for words that the voice says wrongly: { Siobhan = "shivawn" }, or in IPA:'
            ' { "Łódź" = "/wutɕ/" }.',
            lexicon_entries,
        ),
    ] = attrs.field(factory=dict)
    turn: TurnSettings = attrs.field(factory=TurnSettings)
    stt: SttSettings = attrs.field(factory=SttSettings)
    llm: LlmSettings = attrs.field(factory=LlmSettings)
    tts: TtsSettings = attrs.field(factory=TtsSettings)

    @property
    def takes_tools(self) -> bool:
        """Whether the model can use tools: one that goes on with a transcript has no form for them."""
        at_openai = served_by("openai.com", self.llm.base_url)
        return not self.llm.transcript_style and (not at_openai or takes_tools_in_chat(self.llm.model))

    def impossible(self, language: str) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why); asked by the configuration's check."""
        for setting, why in self.stt.impossible(language):
            yield f"stt.{setting}", why
        if self.llm.api_key_name and not self.llm.base_url:
            yield "llm.api_key_name", "is for a server of your own: set llm.base_url too"
        for setting, why in self.turn.contradictions():
            yield f"turn.{setting}", why

    def ending(self, today: str) -> Iterator[tuple[str, str]]:
        """Names that will end, as (setting, why)."""
        if served_by("openai.com", self.llm.base_url):
            yield from ending("llm.model", self.llm.model, today)


def local_credentials(settings: LocalSettings) -> Sequence[Credential]:
    """The local agent's credential where its language model is on a server that wants a key. Whether it lets us in
    shows when the doctor asks it for its models: see agentd_providers.local.needs."""
    llm = settings.llm
    if not llm.base_url or not llm.api_key_name:
        return ()
    return (Credential(llm.api_key_name, "the key of the language model's server"),)
