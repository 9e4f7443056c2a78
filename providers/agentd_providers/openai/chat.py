"""A pipeline's language model on any OpenAI-compatible server, streaming, through the openai client.

https://platform.openai.com/docs/api-reference/chat/create; llama.cpp's server (docs/function-calling.md in its
repository), vLLM (https://docs.vllm.ai/en/latest/features/tool_calling/), Ollama (docs/openai.md) and LM Studio
(https://lmstudio.ai/docs/api/tools) answer the same requests. The client asks; what comes is read by
agentd_providers.openai.reply, for the client takes an answer that is cut for a whole one, and passes over what it does
not know.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

import attrs
import httpx2
import openai
import structlog
import trio

from agentd import deadlines
from agentd.agent import ToolDeclaration
from agentd.errors import ProviderError, ProviderProtocolError, ProviderUnavailable
from agentd_providers.openai import llama_cpp
from agentd_providers.openai.answer import Answer
from agentd_providers.openai.chat_forms import TRANSCRIPT_EXAMPLES, chat, declared, transcript
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.openai.client import make_client
from agentd_providers.openai.context import Fitted, ModelContext, estimate, refused_length
from agentd_providers.openai.refusals import concealing, judged, told
from agentd_providers.openai.reply import ReplyReader
from agentd_providers.openai.returned import sealed_calls
from agentd_providers.openai.served import Served
from agentd_providers.openai.stretches import Stretches
from agentd_providers.openai.ways import MOST_LESSONS
from agentd_providers.pipeline.clauses import ClauseCutter
from agentd_providers.pipeline.stages import CutShort, Message, Piece
from agentd_providers.vendor.access import VendorAccess

log = structlog.get_logger("agentd_providers.openai")

LOSS_NOTICED = 0.1
"""Seconds within which it is known that the embedded server has ended."""

_NOTHING: Mapping[str, Any] = {}

WARM_UP_PATIENCE = deadlines.CHAT_WARM_UP.seconds
LOADING, LOADING_MOST = 2.0, deadlines.STAGE_TIMEOUT.most
"""A caller waits so many times as long for a model that may have to be loaded; no longer than so many seconds."""

AskSentenceEnd = Callable[[openai.AsyncOpenAI, str, str, int], Awaitable[float]]
"""From client, model, transcript and slot to the probability that a sentence ends there."""


@attrs.define(eq=False)
class ChatResponder:
    """Streams replies from the server at `endpoint()`, which gives (address, key) of the moment: see
    agentd_providers.openai.client. `served` is what is known of the model there."""

    settings: ChatSettings
    endpoint: Callable[[], tuple[str, str]]
    transcript_style: bool = False
    """The model is asked to go on with a written dialogue, as suits small ones; it is told of no tools."""
    embedded: bool = False
    ask_sentence_end: AskSentenceEnd | None = None
    until_up: Callable[[], Awaitable[None]] | None = None
    """Waits for an endpoint, where there may be none for a moment. Raises ProviderUnavailable if it may take long."""
    on_left_out: Callable[[int], None] = lambda _turns: None
    """Told how many of a conversation's oldest turns a prompt goes without."""
    access: VendorAccess = attrs.field(factory=VendorAccess)
    served: Served = attrs.field(factory=Served)
    background: trio.Nursery | None = None
    """Where a request for which nobody waits any more goes on while the server loads its model; None: nowhere."""
    patience: float = attrs.field(init=False)
    """Seconds that the server may be silent."""
    connected_at: float = attrs.field(default=-math.inf, init=False)
    """When a connection was last in use, in seconds of the monotonic clock."""
    _context: ModelContext = attrs.field(init=False)
    _client: openai.AsyncOpenAI | None = attrs.field(default=None, init=False, repr=False)
    _client_for: tuple[str, str] | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.patience = self.settings.timeout
        self._context = ModelContext(self.settings.context)

    @property
    def name(self) -> str:
        """Of the model on its server: what it gives to be kept is given back to no other."""
        return f"{self.settings.base_url} {self.settings.model}"

    @asynccontextmanager
    async def respond(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolDeclaration] = (),
        *,
        slot: int = llama_cpp.ANY_SLOT,
        reply: Stretches | None = None,
    ) -> AsyncIterator[AsyncIterator[Piece]]:
        """See agentd_providers.pipeline.stages.Responder.respond. `slot` is the embedded server's that is asked; of a
        `reply` (see `in_stretches`) it is the next stretch that is streamed."""
        reply = Stretches(self._reader(tools)) if reply is None else reply
        now = trio.current_time()
        loading = self.served.is_cold(now) and self.background is not None
        patience = max(self.patience, min(LOADING * self.patience, LOADING_MOST)) if loading else self.patience
        with self._failures():
            until = now + patience
            with trio.fail_at(until):
                answer = await self._begun(messages, tools, reply, {**llama_cpp.WATCHED, **llama_cpp.at_slot(slot)})
            async with aclosing(answer), aclosing(self._pieces(answer, reply, until)) as pieces:
                yield pieces

    def in_stretches(self) -> Stretches:
        """A reply that is to be asked for stretch by stretch, of a model that goes on with a written dialogue."""
        return Stretches(self._reader(()), first=ClauseCutter())

    @property
    def tells_sentence_ends(self) -> bool:
        """Whether the reply's own prompt is asked about; for other servers see server_sentences."""
        return self.ask_sentence_end is not None

    async def sentence_end(self, messages: Sequence[Message], *, slot: int = llama_cpp.ANY_SLOT) -> float:
        """See agentd_providers.pipeline.stages.Responder.sentence_end. `slot` is the server's that is asked."""
        assert self.ask_sentence_end is not None
        fitted = self._fit(messages, ())  # the very beginning of the prompt of the reply
        client = await self.connected()
        return await self.ask_sentence_end(client, self.settings.model, transcript(fitted.messages), slot)

    async def warm_up(self, messages: Sequence[Message], *, slot: int = llama_cpp.ANY_SLOT) -> None:
        """Have the model loaded, and a prompt read once, with more patience than a caller has. `slot` is the embedded
        server's that is to read it. Raises ProviderError."""
        with self._failures(), trio.fail_after(WARM_UP_PATIENCE):
            self.served.held_since = trio.current_time()
            try:
                # Not watched: it has come once the prompt is read.
                answer = await self._answer(messages, (), own=llama_cpp.at_slot(slot))
            finally:
                self.served.held_since = math.inf
            async with aclosing(answer):
                pass

    async def greet(self) -> None:
        """Have a connection to the server open: a turn then waits for none, and no TLS handshake. A server that does
        not answer is found out about by the next turn, which tells."""
        with trio.move_on_after(self.patience):
            try:
                client = await self.connected()
                await client.models.with_raw_response.list()  # raw: what it answers does not matter
            except (ProviderUnavailable, openai.OpenAIError, httpx2.HTTPError, ValueError, AssertionError) as error:
                log.debug("the language model's server could not be greeted", error=self._told(error))
        self.connected_at = trio.current_time()

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        await _close(client)

    # --- what is asked

    async def connected(self) -> openai.AsyncOpenAI:
        """The client for the endpoint of the moment. Raises ProviderUnavailable where there is none."""
        endpoint = self.endpoint()
        if not endpoint[0]:
            raise ProviderUnavailable("the language model's server is being started again")
        if self._client is None or endpoint != self._client_for:
            before, self._client_for = self._client, endpoint
            self._client = client = make_client(*endpoint)  # the real deadline is `patience`
            await _close(before)  # last: whoever comes meanwhile uses the new one
            return client
        return self._client

    def _fit(self, messages: Sequence[Message], tools: Sequence[ToolDeclaration]) -> Fitted:
        written_around = estimate(TRANSCRIPT_EXAMPLES) if self.transcript_style else 0
        return self._context.fit(messages, tools, self.settings.max_tokens + written_around)

    async def _begun(
        self, messages: Sequence[Message], tools: Sequence[ToolDeclaration], reply: Stretches, own: Mapping[str, Any]
    ) -> Answer:
        """The beginning of an answer. The first request to a server that may have its model to load is not given up
        with who waits for it: Ollama stops loading then ("client connection closed before server finished loading,
        aborting load")."""
        served, now = self.served, trio.current_time()
        if self.background is None or not served.is_cold(now) or served.held_since < math.inf:
            return await self._answer(messages, tools, reply, own)
        held = _Held()
        served.held_since = now
        self.background.start_soon(self._hold, held, messages, tools)
        try:
            await held.came.wait()
            if held.error is not None:
                raise held.error
            assert held.answer is not None
            answer, held.answer = held.answer, None
            return answer
        finally:
            held.left = True
            if held.answer is not None:
                self.background.start_soon(held.answer.aclose)

    async def _hold(self, held: "_Held", messages: Sequence[Message], tools: Sequence[ToolDeclaration]) -> None:
        began = trio.current_time()
        try:
            with trio.move_on_after(WARM_UP_PATIENCE):
                held.answer = await self._answer(messages, tools)
        except (ProviderError, openai.OpenAIError, httpx2.HTTPError) as error:
            held.error = error
        finally:
            self.served.held_since = math.inf
            held.came.set()
        if held.left and held.answer is not None:
            log.info("the language model is loaded", after_s=round(trio.current_time() - began, 1))
            await held.answer.aclose()
        elif held.left:
            why = "no answer" if held.error is None else self._told(held.error)
            log.warning("the language model was not loaded", after_s=round(trio.current_time() - began, 1), error=why)

    async def _answer(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolDeclaration],
        reply: Stretches | None = None,
        own: Mapping[str, Any] = _NOTHING,
    ) -> Answer:
        """The answer to as much of the conversation as the model can read, in the way that its server takes: where it
        refuses one, once more in another. It has begun to come. `own` is what the embedded server is asked besides."""
        fitted, shortened = self._fit(messages, tools), False
        for lesson in range(MOST_LESSONS + 1):
            asked = self._asked(fitted.messages, tools)
            if reply is not None:
                asked = reply.asked(asked)
            if self.embedded and own:
                asked["extra_body"] = {**asked.get("extra_body", {}), **own}
            try:
                answer = await self._sent(asked)
                break
            except openai.APIStatusError as error:
                if (refusal := refused_length(error.body)) is not None and not shortened:
                    shortened = True
                    self._context.learn(refusal, fitted)
                    told = self._told(error)
                    log.info("the language model reads less than it was given", context=self._context.size, error=told)
                    fitted = self._fit(messages, tools)
                    continue
                other = "" if refusal is not None else self.served.ways.learn(error.status_code, error.body, asked)
                if not other or lesson == MOST_LESSONS:
                    raise
                log.warning("the language model's server takes it in another way", way=other, error=self._told(error))
        self.access.granted()
        await answer.begin()
        self.connected_at = self.served.answered_at = trio.current_time()
        if fitted.left_out and not (reply is not None and reply.begun):
            self.on_left_out(fitted.left_out)
        return answer

    def _asked(self, messages: Sequence[Message], tools: Sequence[ToolDeclaration]) -> dict[str, Any]:
        settings, ways = self.settings, self.served.ways
        asked: dict[str, Any] = {"model": settings.model, "stream": True}
        if self.embedded:
            asked["extra_headers"] = llama_cpp.ONCE
        if self.transcript_style:
            own = {**llama_cpp.CACHED, **(llama_cpp.UNREPEATED if self.embedded else {})}
            asked |= {"prompt": transcript(messages), "stop": ["\n"], "extra_body": own}
            return asked | ways.parameters(max_tokens=settings.max_tokens, temperature=settings.temperature, effort="")
        asked["messages"] = chat(messages, self.name, ways)
        if tools:
            asked["tools"] = declared(tools)
        return asked | ways.parameters(
            max_tokens=settings.max_tokens, temperature=settings.temperature, effort=settings.reasoning_effort
        )

    async def _sent(self, asked: dict[str, Any]) -> Answer:
        try:
            try:
                return await self._request(asked)
            except openai.APIConnectionError:
                # A connection that was kept open is found closed by the server only when it is used again. The embedded
                # server may have been lost with the answer: then another one is asked, as soon as there is one.
                if self.embedded:
                    await trio.sleep(LOSS_NOTICED)
                return await self._request(asked)
        except (ValueError, AssertionError) as error:  # openai writes and reads outside of its own error handling
            raise ProviderProtocolError(f"the language model's server: {self._told(error)}") from error

    async def _request(self, asked: dict[str, Any]) -> Answer:
        if self.until_up is not None:
            await self.until_up()
        client = await self.connected()
        asks = client.completions if self.transcript_style else client.chat.completions
        raw: Any = await asks.with_raw_response.create(**asked)
        return Answer(raw.http_response)

    # --- what comes

    async def _pieces(self, answer: Answer, reply: Stretches, until: float) -> AsyncGenerator[Piece, None]:
        """What comes of a reply, the first of it by second `until`: its head may have come with nothing behind it."""
        ways, reader = self.served.ways, reply.reader
        reply.go_on()
        try:
            while not (reader.done or reply.pauses):
                # Only the server is on the clock: how fast the reply is spoken is not its doing.
                with trio.move_on_at(until) as waiting:
                    data = await answer.more()
                if waiting.cancelled_caught:
                    if reader.finished:
                        break
                    raise trio.TooSlowError
                if not data:
                    break
                for piece in reader.feed(data):
                    reply.take(piece)
                    yield piece
                until = trio.current_time() + self.patience
            if reply.pauses:
                return
            reply.over = True
            if reader.done:
                await answer.drain()
            ending = reader.end()
        except (ProviderError, trio.TooSlowError, httpx2.HTTPError):
            if reader.reply_begun:
                yield CutShort("", reader.cause)
            raise
        if reader.words.unopened and not ways.closes_unopened:
            ways.closes_unopened = True
            log.info("the language model closes thoughts that it has not opened: its words wait for their end")
        for piece in ending.pieces:
            yield piece
        for call in sealed_calls(ending.calls, ending.message, self.name):
            yield call
        if ending.cut is not None:
            yield ending.cut

    def _reader(self, tools: Sequence[ToolDeclaration]) -> ReplyReader:
        return ReplyReader(
            written=self.transcript_style,
            names={tool.name for tool in tools},
            waits=self.served.ways.closes_unopened,
            most_tokens=self.settings.max_tokens,
            conceal=self._conceal,
        )

    # --- what fails

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Around what is asked and read: its failures as ProviderErrors."""
        try:
            yield
        except trio.TooSlowError as error:
            loading = self.served.is_loading(trio.current_time(), self.patience)
            why = ": its server is loading it" if loading else ""
            raise ProviderUnavailable(f"the language model did not answer within its deadline{why}") from error
        except openai.APIStatusError as error:
            refusal = judged(error, self._conceal)
            if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
                self.access.refused(str(refusal))
            raise refusal from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise ProviderUnavailable(f"the language model's server: {self._told(error)}") from None
        except openai.OpenAIError as error:
            raise ProviderProtocolError(f"the language model's server: {self._told(error)}") from None

    def _conceal(self, text: str) -> str:
        return concealing(self._client_for[1] if self._client_for else "")(text)

    def _told(self, error: Exception) -> str:
        return told(error, self._conceal)


@attrs.define(eq=False)
class _Held:
    """A request that goes on though nobody may wait for its answer any more (`left`)."""

    answer: Answer | None = None
    error: Exception | None = None
    left: bool = False
    came: trio.Event = attrs.field(factory=trio.Event)


async def _close(client: openai.AsyncOpenAI | None) -> None:
    if client is not None:
        with trio.move_on_after(deadlines.CHAT_CLOSE.seconds, shield=True):
            await client.close()
