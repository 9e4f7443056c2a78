"""A pipeline's language model on any OpenAI-compatible server, streaming, through the openai client.

https://platform.openai.com/docs/api-reference/chat/create; llama.cpp's server (docs/function-calling.md in its
repository), vLLM (https://docs.vllm.ai/en/latest/features/tool_calling/), Ollama (docs/openai.md) and LM Studio
(https://lmstudio.ai/docs/api/tools) answer the same requests.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import attrs
import httpx2
import openai
import structlog
import trio

from agentd import deadlines
from agentd.agent import Readiness, ToolDeclaration
from agentd.errors import ProviderProtocolError, ProviderUnavailable
from agentd_providers.openai.chat_forms import (
    NO_CHUNK,
    TRANSCRIPT_EXAMPLES,
    ToolCalls,
    chat,
    declared,
    transcript,
    words_of,
)
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.openai.client import make_client
from agentd_providers.openai.context import Fitted, ModelContext, estimate, refused_length
from agentd_providers.openai.refusals import SHOWN, judged, told
from agentd_providers.pipeline.stages import Message, Responder, ToolCall
from agentd_providers.vendor.access import VendorAccess, find_key
from agentd_providers.vendor.surrogates import PieceMender

log = structlog.get_logger("agentd_providers.openai")

ONCE = {"Connection": "close"}
"""The embedded server closes the connection of a stream without saying so: the next request on it would find it broken.
A new one costs nothing on loopback."""
LOSS_NOTICED = 0.1
"""Seconds within which it is known that the embedded server has ended."""
MAX_REPLY = 8000
WARM_UP_PATIENCE = deadlines.CHAT_WARM_UP.seconds
KEEP_WARM_INTERVAL = 4.0
"""Seconds; the client closes a connection that is idle for 5."""
OPENAI = "https://api.openai.com/"
"""Its reasoning models refuse `max_tokens`, which is the only name that many other servers know."""

AskSentenceEnd = Callable[[openai.AsyncOpenAI, str, str], Awaitable[float]]
"""From client, model and transcript to the probability that a sentence ends there."""


@attrs.define(eq=False)
class ChatResponder:
    """Streams replies from the server at `endpoint()`, which gives (address, key) of the moment: see
    agentd_providers.openai.client."""

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
    patience: float = attrs.field(init=False)
    """Seconds that the server may be silent; longer while it warms up."""
    _context: ModelContext = attrs.field(init=False)
    _client: openai.AsyncOpenAI | None = attrs.field(default=None, init=False, repr=False)
    _client_for: tuple[str, str] | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.patience = self.settings.timeout
        self._context = ModelContext(self.settings.context)

    @asynccontextmanager
    async def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[AsyncIterator[str | ToolCall]]:
        """See agentd_providers.pipeline.stages.Responder.respond."""
        until = trio.current_time() + self.patience
        try:
            with trio.fail_at(until):
                stream = await self._fitting(messages, tools)
            self.access.granted()
            async with stream, aclosing(self._pieces(stream, until)) as pieces:
                yield pieces
        except trio.TooSlowError as error:
            raise ProviderUnavailable("the language model did not answer within its deadline") from error
        except openai.APIStatusError as error:
            refusal = judged(error)
            if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
                self.access.refused(str(refusal))
            raise refusal from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise ProviderUnavailable(f"the language model's server: {told(error)}") from None
        except openai.OpenAIError as error:
            raise ProviderProtocolError(f"the language model's server: {told(error)}") from None

    @property
    def tells_sentence_ends(self) -> bool:
        """Only llama.cpp's server tells its tokens' probabilities in the form that is asked for."""
        return self.ask_sentence_end is not None

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        """See agentd_providers.pipeline.stages.Responder.sentence_end."""
        assert self.ask_sentence_end is not None
        fitted = self._fit(messages, ())  # the very beginning of the prompt of the reply
        return await self.ask_sentence_end(await self._connected(), self.settings.model, transcript(fitted.messages))

    async def warm_up(self, messages: Sequence[Message]) -> None:
        """Have the model read a prompt once, with more patience than a caller has. Raises ProviderError."""
        usual, self.patience = self.patience, WARM_UP_PATIENCE
        try:
            async with self.respond(messages) as pieces:
                async for _piece in pieces:
                    pass
        finally:
            self.patience = usual

    async def keep_warm(self) -> None:
        """Have a connection to the server open, for as long as a call lasts; runs until cancelled.

        A first turn then waits for no connection or TLS handshake. A server that does not answer is found out about
        by the first turn, which tells.
        """
        while True:
            with trio.move_on_after(self.patience):
                try:
                    client = await self._connected()
                    await client.models.with_raw_response.list()  # raw: what it answers does not matter
                except (ProviderUnavailable, openai.OpenAIError, httpx2.HTTPError, ValueError, AssertionError) as error:
                    log.debug("the language model's server could not be greeted", error=told(error))
            await trio.sleep(KEEP_WARM_INTERVAL)

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        await _close(client)

    async def _connected(self) -> openai.AsyncOpenAI:
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

    async def _fitting(self, messages: Sequence[Message], tools: Sequence[ToolDeclaration]) -> Any:
        """The stream of a reply to as much of the conversation as the model can read: where the server refuses it for
        its length, once more with less."""
        fitted = self._fit(messages, tools)
        try:
            stream = await self._stream(fitted.messages, tools)
        except openai.APIStatusError as error:
            if (refusal := refused_length(error.body)) is None:
                raise
            self._context.learn(refusal, fitted)
            log.info("the language model reads less than it was given", context=self._context.size, error=told(error))
            fitted = self._fit(messages, tools)
            stream = await self._stream(fitted.messages, tools)
        if fitted.left_out:
            self.on_left_out(fitted.left_out)
        return stream

    async def _stream(self, messages: Sequence[Message], tools: Sequence[ToolDeclaration]) -> Any:
        try:
            try:
                return await self._request(messages, tools)
            except openai.APIConnectionError:
                # A connection that was kept open is found closed by the server only when it is used again. The embedded
                # server may have been lost with the answer: then another one is asked, as soon as there is one.
                if self.embedded:
                    await trio.sleep(LOSS_NOTICED)
                return await self._request(messages, tools)
        except (ValueError, AssertionError) as error:  # openai writes and reads outside of its own error handling
            raise ProviderProtocolError(f"the language model's server: {told(error)}") from error

    async def _request(self, messages: Sequence[Message], tools: Sequence[ToolDeclaration]) -> Any:
        if self.until_up is not None:
            await self.until_up()
        client, settings = await self._connected(), self.settings
        asked: dict[str, Any] = {"model": settings.model, "stream": True}
        if settings.temperature >= 0:
            asked["temperature"] = settings.temperature
        if self.embedded:
            asked["extra_headers"] = ONCE
        if self.transcript_style:
            asked |= {"prompt": transcript(messages), "stop": ["\n"], "max_tokens": settings.max_tokens}
            return await client.completions.create(**asked, extra_body={"cache_prompt": True})
        asked["messages"] = chat(messages)
        ours = "max_completion_tokens" if settings.base_url.startswith(OPENAI) else "max_tokens"
        asked[ours] = settings.max_tokens
        if settings.reasoning_effort:
            asked["reasoning_effort"] = settings.reasoning_effort
        if tools:
            asked["tools"] = declared(tools)
        return await client.chat.completions.create(**asked)

    async def _pieces(self, stream: Any, until: float) -> AsyncGenerator[str | ToolCall, None]:
        """What comes of a reply, the first of it by second `until`: its head may have come with nothing behind it."""
        length = 0
        calls = ToolCalls()
        mender = PieceMender()
        chunks = aiter(stream)
        while True:
            try:
                # Only the server is on the clock: how fast the reply is spoken is not its doing.
                with trio.fail_at(until):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                words = mender.feed(words_of(chunk, calls, self.transcript_style))
            except NO_CHUNK as error:
                raise ProviderProtocolError(
                    f"the language model's server sent a chunk that is none: {str(error)[:SHOWN]}"
                ) from error
            if words:
                length += len(words)
                if length > MAX_REPLY:
                    raise ProviderProtocolError(f"the language model's reply is longer than {MAX_REPLY} characters")
                yield words
            until = trio.current_time() + self.patience
        if half := mender.flush():
            yield half
        for call in calls.whole():
            yield call


@attrs.frozen
class ChatModel:
    """See agentd_providers.pipeline.stages.LanguageModel."""

    responder: ChatResponder
    unready: Callable[[], str] = lambda: ""
    """Why it cannot answer now; empty: it can."""

    @property
    def readiness(self) -> Readiness:
        if why := self.unready():
            return Readiness(False, why)
        return self.responder.access.readiness

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Responder]:
        """See agentd_providers.pipeline.stages.LanguageModel.open. A connection is open for as long as the block is."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.responder.keep_warm)
            yield self.responder
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_chat(
    settings: ChatSettings, *, transcript_style: bool = False, on_left_out: Callable[[int], None] = lambda _turns: None
) -> AsyncIterator[ChatModel]:
    """The language model on the server that is configured; whether it is there shows with the first call.

    Raises ConfigError where its key is missing.
    """
    key = find_key(settings.api_key_name, "the language model's server")
    responder = ChatResponder(settings, lambda: (settings.base_url, key), transcript_style, on_left_out=on_left_out)
    try:
        yield ChatModel(responder)
    finally:
        await responder.aclose()


async def _close(client: openai.AsyncOpenAI | None) -> None:
    if client is not None:
        with trio.move_on_after(deadlines.CHAT_CLOSE.seconds, shield=True):
            await client.close()
