"""The stages of OpenAI, or of a server that speaks its language: see agentd_providers.pipeline.rows. Imports
no engine."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING

import trio

from agentd.config.settings import AgentConfig
from agentd.installation import how_to_add, installed
from agentd_providers.credentials import Credential
from agentd_providers.model_list import ModelList, UsedModel
from agentd_providers.model_names import served_by, takes_tools_in_chat
from agentd_providers.needs import Modules, Need
from agentd_providers.openai.chat_settings import DOMAIN, ChatSettings
from agentd_providers.openai.speech_settings import OpenAiListenSettings, OpenAiSpeakSettings
from agentd_providers.pipeline.rows import ListenStage, SpeakStage, ThinkStage
from agentd_providers.pipeline.stages import LanguageModel, SentenceJudge, SpeechToText, TextToSpeech
from agentd_providers.shared import SharedServices

if TYPE_CHECKING:
    from agentd_providers.openai.chat_model import ChatModel


def _open_listen(
    settings: OpenAiListenSettings, config: AgentConfig, shared: SharedServices
) -> AbstractAsyncContextManager[SpeechToText]:
    from agentd_providers.openai.listen import open_openai_listen

    return open_openai_listen(settings, config.language, shared)


def _open_think(
    settings: ChatSettings, _config: AgentConfig, shared: SharedServices
) -> AbstractAsyncContextManager[LanguageModel]:
    with installed("the openai client", "pipeline"):
        from agentd_providers.openai.chat_model import open_chat
    return open_chat(settings, shared)


async def begin_warm_up(model: "ChatModel", config: AgentConfig) -> None:
    """See agentd_providers.openai.chat_model.ChatModel.begin_warm_up."""
    await trio.lowlevel.checkpoint()
    model.begin_warm_up(config.prompt)


def sentences_of(model: "ChatModel") -> SentenceJudge | None:
    """Who is asked whether a sentence ends, beside this model's replies."""
    return model.sentences


def _open_speak(
    settings: OpenAiSpeakSettings, config: AgentConfig, shared: SharedServices
) -> AbstractAsyncContextManager[TextToSpeech]:
    from agentd_providers.openai.speak import open_openai_speak

    return open_openai_speak(settings, config.language, shared)


def _credentials(
    kind: str, settings: OpenAiListenSettings | ChatSettings | OpenAiSpeakSettings
) -> Sequence[Credential]:
    """Such servers list their models (https://platform.openai.com/docs/api-reference/models/list)."""
    what = "the key" if settings.api_key_name else "the server"
    url = f"{settings.base_url.rstrip('/')}/models"
    lists = (ModelList(url, (UsedModel("model", settings.model, kind),)),) if settings.model else ()
    return (Credential(settings.api_key_name, what, url, lists=lists),)


def _takes_tools(settings: ChatSettings) -> bool:
    return not served_by(DOMAIN, settings.base_url) or takes_tools_in_chat(settings.model)


def client_needs(_settings: object = None) -> Sequence[Need]:
    """Of who asks a language model: OpenAI's own client."""
    return (Modules(("openai",), how_to_add("pipeline")),)


LISTEN = ListenStage(OpenAiListenSettings, _open_listen, credentials=partial(_credentials, "speech to text"))
THINK = ThinkStage(
    ChatSettings,
    _open_think,
    credentials=partial(_credentials, "chat"),
    needs=client_needs,
    prepare=begin_warm_up,
    takes_tools=_takes_tools,
    sentences=sentences_of,
)
SPEAK = SpeakStage(OpenAiSpeakSettings, _open_speak, credentials=partial(_credentials, "speech"))
