"""The embedded language model as a stage of a pipeline: a small model in a server process of agentd's own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import attrs

from agentd.agent import ToolDeclaration
from agentd_providers.local import sentence_end
from agentd_providers.local.engines import locate
from agentd_providers.local.llm_server import LlmServerSettings, open_llm_server
from agentd_providers.local.settings import EmbeddedSettings
from agentd_providers.local.slots import Slots
from agentd_providers.openai.chat import ChatResponder
from agentd_providers.openai.chat_model import ChatModel, warm_up_prompt
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.pipeline.stages import Message, Piece
from agentd_providers.shared import SharedServices


@attrs.define(eq=False)
class CallResponder:
    """One call's of the embedded model: its requests go where its conversation has been read. See
    agentd_providers.pipeline.stages.Responder."""

    responder: ChatResponder
    slots: Slots

    @asynccontextmanager
    async def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[AsyncIterator[Piece]]:
        """See agentd_providers.pipeline.stages.Responder.respond."""
        with self.slots.asking(self) as slot:
            async with self.responder.respond(messages, tools, slot=slot) as pieces:
                yield pieces

    @property
    def tells_sentence_ends(self) -> bool:
        return self.responder.tells_sentence_ends

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        """See agentd_providers.pipeline.stages.Responder.sentence_end."""
        with self.slots.asking(self) as slot:
            return await self.responder.sentence_end(messages, slot=slot)


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
        context=settings.context,
    )
    async with shared.use(("llm", wanted), partial(open_llm_server, wanted, shared.on_restart), "llm") as server:
        responder = ChatResponder(
            asked,
            lambda: (server.address, server.key),
            transcript_style=not chat,
            embedded=True,
            until_up=server.until_ready,
            on_left_out=shared.on_left_out,
            # It speaks English, which is what the model knows.
            ask_sentence_end=sentence_end.ask if not chat and language.lower().startswith("en") else None,
        )
        try:
            yield ChatModel(
                responder,
                lambda: "" if server.ready else "the language model's server is being started",
                for_call=lambda: CallResponder(responder, server.slots),
            )
        finally:
            await responder.aclose()


async def read_prompt(model: ChatModel, prompt: str) -> None:
    """Have the prompt's beginning in the model's cache: it costs most of the first answer's time. Raises
    ProviderError."""
    await model.responder.warm_up(warm_up_prompt(prompt))
