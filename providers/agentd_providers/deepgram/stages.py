"""Deepgram's stages of a pipeline: see agentd_providers.pipeline.rows. Imports no engine."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from agentd.config.settings import AgentConfig
from agentd_providers.credentials import Credential, Scheme
from agentd_providers.deepgram.names import KEY_CHECK, model_lists
from agentd_providers.deepgram.speech_settings import DeepgramListenSettings, DeepgramSpeakSettings
from agentd_providers.model_list import UsedModel
from agentd_providers.pipeline.rows import ListenStage, SpeakStage
from agentd_providers.pipeline.stages import SpeechToText, TextToSpeech
from agentd_providers.shared import SharedServices


def _open_listen(
    settings: DeepgramListenSettings, config: AgentConfig, shared: SharedServices
) -> AbstractAsyncContextManager[SpeechToText]:
    from agentd_providers.deepgram.listen import open_deepgram_listen

    return open_deepgram_listen(settings, config.language, shared)


def _open_speak(
    settings: DeepgramSpeakSettings, config: AgentConfig, shared: SharedServices
) -> AbstractAsyncContextManager[TextToSpeech]:
    from agentd_providers.deepgram.speak import open_deepgram_speak

    return open_deepgram_speak(settings, config.language, shared)


def _credentials(settings: DeepgramListenSettings | DeepgramSpeakSettings) -> Sequence[Credential]:
    """How a key is tested: https://developers.deepgram.com/guides/fundamentals/authenticating."""
    what = "the key" if settings.api_key_name else "the server"
    api = settings.base_url.rstrip("/")
    used = (
        UsedModel("model", settings.model, "speech to text")
        if isinstance(settings, DeepgramListenSettings)
        else UsedModel("voice", settings.voice, "speech")
    )
    return (Credential(settings.api_key_name, what, f"{api}{KEY_CHECK}", Scheme.TOKEN, lists=model_lists(api, used)),)


LISTEN = ListenStage(DeepgramListenSettings, _open_listen, credentials=_credentials)
# Aura-2 reads dates, times and currencies: https://deepgram.com/learn/introducing-aura-2-enterprise-text-to-speech
SPEAK = SpeakStage(DeepgramSpeakSettings, _open_speak, credentials=_credentials, reads_numbers=True)
