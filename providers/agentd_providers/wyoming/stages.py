"""A Wyoming server's stages of a pipeline: see agentd_providers.pipeline.rows. Imports no engine."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from agentd.config.settings import AgentConfig
from agentd_providers.credentials import Credential
from agentd_providers.pipeline.rows import ListenStage, SpeakStage
from agentd_providers.pipeline.stages import SpeechToText, TextToSpeech
from agentd_providers.shared import SharedServices
from agentd_providers.wyoming.settings import WyomingListenSettings, WyomingSpeakSettings


def _open_listen(
    settings: WyomingListenSettings, config: AgentConfig, shared: SharedServices
) -> AbstractAsyncContextManager[SpeechToText]:
    from agentd_providers.wyoming.listen import open_wyoming_listen

    return open_wyoming_listen(settings, config.language, shared)


def _open_speak(
    settings: WyomingSpeakSettings, config: AgentConfig, shared: SharedServices
) -> AbstractAsyncContextManager[TextToSpeech]:
    from agentd_providers.wyoming.speak import open_wyoming_speak

    return open_wyoming_speak(settings, config.language, shared)


def _credentials(settings: WyomingListenSettings | WyomingSpeakSettings) -> Sequence[Credential]:
    """Wyoming knows no credentials: the question is only whether the server is there."""
    return (Credential("", "the Wyoming server", settings.uri),)


LISTEN = ListenStage(WyomingListenSettings, _open_listen, credentials=_credentials)
SPEAK = SpeakStage(WyomingSpeakSettings, _open_speak, credentials=_credentials)
