"""The embedded language model as a stage of a pipeline: a small model in a server process of agentd's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from agentd.agent import CallInfo
from providers.local import sentence_end
from providers.local.engines import locate
from providers.local.llm_server import LlmServerSettings, open_llm_server
from providers.local.settings import EmbeddedSettings
from providers.openai.chat import ChatModel, ChatResponder
from providers.openai.chat_settings import ChatSettings
from providers.shared import SharedServices
from providers.stages import Message, Role, fill_in


@asynccontextmanager
async def open_embedded(
    settings: EmbeddedSettings, language: str, shared: SharedServices, *, chat: bool = False
) -> AsyncIterator[ChatModel]:
    """The embedded model, its server running; asked to go on with a written dialogue, or with `chat` in messages.

    Raises ProviderError when it cannot be started.
    """
    wanted = LlmServerSettings(
        await locate(settings.model), settings.threads, settings.threads_batch, settings.context, settings.slots
    )
    asked = ChatSettings(
        api_key_name="",
        base_url="",
        model=settings.model,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        timeout=settings.timeout,
    )
    async with shared.use(("llm", wanted), partial(open_llm_server, wanted, shared.on_restart)) as server:
        responder = ChatResponder(
            asked,
            lambda: (server.base_url, server.key),
            transcript_style=not chat,
            embedded=True,
            # What is spoken is what the model knows: English.
            ask_sentence_end=sentence_end.ask if not chat and language.lower().startswith("en") else None,
        )
        try:
            yield ChatModel(responder, lambda: "" if server.ready else "the language model's server is being started")
        finally:
            await responder.aclose()


async def read_prompt(model: ChatModel, prompt: str) -> None:
    """Have the prompt's beginning in the model's cache: it costs most of the first answer's time. Raises
    ProviderError."""
    filled = fill_in(prompt, CallInfo("warm-up"))
    await model.responder.warm_up([Message(Role.SYSTEM, filled), Message(Role.USER, "Hello.")])
