"""The embedded language model as a stage of a pipeline: a small model in a server process of agentd's own."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial

import attrs
import structlog
import trio

from agentd.agent import ToolDeclaration
from agentd.errors import ProviderError
from agentd_providers.local import sentence_end
from agentd_providers.local.admission import Admission
from agentd_providers.local.engines import locate
from agentd_providers.local.llm_server import LlmServerSettings, open_llm_server
from agentd_providers.local.places import Place, Wish, a_place
from agentd_providers.local.settings import EmbeddedSettings
from agentd_providers.local.slots import Slots
from agentd_providers.openai.chat import ChatResponder
from agentd_providers.openai.chat_model import ChatModel, warm_up_prompt
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.openai.stretches import Stretches
from agentd_providers.pipeline.stages import Message, Piece
from agentd_providers.shared import SharedServices

log = structlog.get_logger("agentd_providers.local")

GOES_ON = 0.03
"""Probability of a sentence's end below which the caller is expected to go on: the answer is hardly wanted yet."""
DOUBTFUL = 0.4
"""Seconds that an answer can wait which is hardly wanted yet: the caller is given about a second more to go on."""
REST = 0.3
"""Seconds that the rest of an answer can wait: its first clause takes longer to be heard, and its next to be spoken."""


@attrs.define(eq=False)
class CallResponder:
    """One call's of the embedded model: its requests go where its conversation has been read, and begin when they are
    due. A written dialogue's reply is asked for no further than it is read: up to the end of its first clause, and all
    of the rest. One that can wait is left where it is when others cannot, and gone on with later.
    See agentd_providers.pipeline.stages.Responder."""

    responder: ChatResponder
    slots: Slots
    admission: Admission
    _unfinished: Sequence[Message] = attrs.field(default=(), init=False)
    """The conversation of which the model has said that the last sentence hardly ends there."""

    @asynccontextmanager
    async def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[AsyncIterator[Piece]]:
        """See agentd_providers.pipeline.stages.Responder.respond."""
        wish = Wish(trio.current_time(), DOUBTFUL if list(messages) == self._unfinished else 0.0)
        if self.responder.transcript_style:
            async with AsyncExitStack() as stretch:
                reply = self.responder.in_stretches()
                first = await stretch.enter_async_context(self._stretch(messages, reply, wish))
                async with aclosing(self._written(messages, reply, wish, first, stretch)) as pieces:
                    yield pieces
        else:
            async with self._place(wish) as (_, slot), self.responder.respond(messages, tools, slot=slot) as pieces:
                yield pieces

    async def _written(
        self,
        messages: Sequence[Message],
        reply: Stretches,
        wish: Wish,
        pieces: AsyncIterator[Piece],
        stretch: AsyncExitStack,
    ) -> AsyncGenerator[Piece, None]:
        """All of a reply. Its first stretch, `pieces`, is open on `stretch`; so is each other one while it is read."""
        while True:
            behind: list[Piece] = []
            async for piece in pieces:
                if reply.pauses:
                    behind.append(piece)
                else:
                    yield piece
            await stretch.aclose()  # before anybody takes the time to speak: the server is free for others
            for piece in behind:
                yield piece
            if reply.over:
                return
            if reply.pauses:  # else it has stepped aside
                wish = Wish(trio.current_time(), REST)
            pieces = await stretch.enter_async_context(self._stretch(messages, reply, wish))

    @asynccontextmanager
    async def _stretch(
        self, messages: Sequence[Message], reply: Stretches, wish: Wish
    ) -> AsyncIterator[AsyncIterator[Piece]]:
        """More of a reply: up to the end of a stretch, or until it steps aside."""
        async with self._place(wish, lambda: not reply.finished) as (place, slot), AsyncExitStack() as answer:
            pieces: AsyncIterator[Piece] | None = None
            with place.kept():
                pieces = await answer.enter_async_context(self.responder.respond(messages, slot=slot, reply=reply))
            async with aclosing(_while_kept(place, pieces)) as kept:
                yield kept

    @property
    def tells_sentence_ends(self) -> bool:
        return self.responder.tells_sentence_ends

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        """See agentd_providers.pipeline.stages.Responder.sentence_end."""
        async with self._place(Wish(trio.current_time())) as (_, slot):
            ends = await self.responder.sentence_end(messages, slot=slot)
        self._unfinished = list(messages) if ends < GOES_ON else ()
        return ends

    @asynccontextmanager
    async def _place(self, wish: Wish, may_leave: Callable[[], bool] | None = None) -> AsyncIterator[tuple[Place, int]]:
        """A place at the server (see `a_place`), and the slot that is to be asked for."""
        async with a_place(self.admission, wish, may_leave) as place:
            with self.slots.asking(self) as slot:
                yield place, slot


async def _while_kept(place: Place, pieces: AsyncIterator[Piece] | None) -> AsyncGenerator[Piece, None]:
    """What comes for as long as the place is kept."""
    while pieces is not None:
        piece: Piece | None = None
        with place.kept():
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece


@attrs.define(eq=False)
class EmbeddedModel(ChatModel):
    """The model on a server of agentd's own, which has so many `slots`."""

    slots: int = 1
    background: trio.Nursery | None = None
    """Where prompts are read for which nobody waits; None: nowhere."""

    async def read_in_other_slots(self, messages: Sequence[Message]) -> None:
        """Have each slot but the first read it, one after the other: a call may be given any."""
        for slot in range(1, self.slots):
            try:
                await self.responder.warm_up(messages, slot=slot)
            except ProviderError as error:  # a caller would wait for the reading, and is told what fails
                log.debug("a prompt was not read ahead", slot=slot, error=str(error))
                return


@asynccontextmanager
async def open_embedded(
    settings: EmbeddedSettings, language: str, shared: SharedServices, *, chat: bool = False
) -> AsyncIterator[EmbeddedModel]:
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
            async with trio.open_nursery() as nursery:
                yield EmbeddedModel(
                    responder,
                    lambda: "" if server.ready else "the language model's server is being started",
                    for_call=lambda: CallResponder(responder, server.slots, server.admission),
                    slots=settings.slots,
                    background=nursery,
                )
                nursery.cancel_scope.cancel()
        finally:
            await responder.aclose()


async def read_prompt(model: EmbeddedModel, prompt: str) -> None:
    """Have the prompt's beginning in the model's cache: it costs most of the first answer's time. The other slots read
    it later, beside what else is done. Raises ProviderError."""
    messages = warm_up_prompt(prompt)
    await model.responder.warm_up(messages, slot=0)
    if model.background is not None:
        model.background.start_soon(model.read_in_other_slots, messages)
