"""This host's stages of a pipeline: see agentd_providers.pipeline.rows. Imports no engine."""

from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING

from agentd.config.settings import AgentConfig
from agentd.installation import installed
from agentd_providers.local.needs import embedded_needs, listen_needs, speak_needs
from agentd_providers.local.settings import EmbeddedSettings, SttSettings, TtsSettings
from agentd_providers.pipeline.rows import ListenStage, SpeakStage, ThinkStage
from agentd_providers.pipeline.stages import LanguageModel, SpeechToText, TextToSpeech, TurnCues
from agentd_providers.shared import SharedServices
from agentd_providers.turns.settings import SentenceCue, TurnSettings

if TYPE_CHECKING:
    from agentd_providers.local.embedded import EmbeddedModel
    from agentd_providers.local.engines import LocalSpeechToText


def open_cues(
    settings: TurnSettings, shared: SharedServices, *, language: str = ""
) -> AbstractAsyncContextManager[TurnCues]:
    """The cues by which this host takes turns, whoever listens. `language` is that of an agent whose replies another
    model writes than the embedded one, which may then be a cue. Raises ProviderError when something is not
    installed."""
    with installed("voice activity", "pipeline"):
        from agentd_providers.local.engines import open_turn_cues
    if not language or settings.sentence_cue is not SentenceCue.EMBEDDED:
        return open_turn_cues(settings, shared)
    with installed("the embedded language model", "local"):
        from agentd_providers.local.embedded_sentences import open_embedded_sentences
    return open_turn_cues(settings, shared, partial(open_embedded_sentences, language, shared))


def _open_listen(
    settings: SttSettings, config: AgentConfig, shared: SharedServices
) -> AbstractAsyncContextManager[SpeechToText]:
    with installed("speech to text on this host", "local"):
        from agentd_providers.local.engines import open_local_listen
    return open_local_listen(settings, config.language, shared)


async def _load(engine: "LocalSpeechToText", _config: AgentConfig) -> None:
    await engine.load()


def _open_think(
    settings: EmbeddedSettings, config: AgentConfig, shared: SharedServices
) -> AbstractAsyncContextManager[LanguageModel]:
    return open_embedded_model(settings, config, shared, chat=False)


def open_embedded_model(
    settings: EmbeddedSettings, config: AgentConfig, shared: SharedServices, *, chat: bool
) -> AbstractAsyncContextManager[LanguageModel]:
    """See agentd_providers.local.embedded.open_embedded. Raises ProviderError when it is not installed."""
    with installed("the embedded language model", "local"):
        from agentd_providers.local.embedded import open_embedded
    return open_embedded(settings, config.language, shared, chat=chat)


async def read_prompt(model: "EmbeddedModel", config: AgentConfig) -> None:
    """See agentd_providers.local.embedded.read_prompt."""
    from agentd_providers.local import embedded

    await embedded.read_prompt(model, config.prompt)


def _open_speak(
    settings: TtsSettings, config: AgentConfig, shared: SharedServices
) -> AbstractAsyncContextManager[TextToSpeech]:
    with installed("text to speech on this host", "local"):
        from agentd_providers.local.engines import open_local_speak
    return open_local_speak(settings, config.language, shared)


LISTEN = ListenStage(SttSettings, _open_listen, needs=listen_needs, prepare=_load)
EMBEDDED = ThinkStage(
    EmbeddedSettings, _open_think, needs=embedded_needs, prepare=read_prompt, takes_tools=lambda _settings: False
)
SPEAK = SpeakStage(TtsSettings, _open_speak, needs=speak_needs, distant=False, takes_ipa=True)
