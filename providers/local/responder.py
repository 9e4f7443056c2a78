"""The language model's side of a pipeline: any OpenAI-compatible server, streaming, through the openai client."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import attrs
import openai
import structlog
import trio

from agentd.errors import ProviderProtocolError, ProviderRejected, ProviderUnavailable
from providers.local import sentence_end
from providers.local.settings import LlmSettings
from providers.stages import Message, Role

log = structlog.get_logger("providers.local")

TRANSCRIPT_EXAMPLES = (
    "Caller: Hello, who is this?\n"
    "Assistant: I am the assistant of this telephone line, how can I help you?\n"
    "Caller: Thank you very much.\n"
    "Assistant: You are welcome!\n"
)
"""What a small model needs in order to answer as one side of a call, and to stop after it."""
ONCE = {"Connection": "close"}
"""The embedded server closes the connection of a stream without saying so: the next request on it would find it broken.
A new one costs nothing on loopback."""
MAX_REPLY = 8000
WARM_UP_PATIENCE = 90.0
KEEP_WARM_INTERVAL = 4.0
"""Seconds; the client closes a connection that is idle for 5."""


@attrs.define(eq=False)
class OpenAiResponder:
    """Streams replies from the server at `endpoint()`, which gives (base URL, key) of the moment."""

    settings: LlmSettings
    transcript_style: bool
    endpoint: Callable[[], tuple[str, str]]
    english: bool = True
    """What is spoken is what the embedded model knows."""
    patience: float = attrs.field(init=False)
    """Seconds that the server may be silent; longer while it warms up."""
    _client: openai.AsyncOpenAI | None = attrs.field(default=None, init=False, repr=False)
    _client_for: tuple[str, str] | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.patience = self.settings.timeout

    @asynccontextmanager
    async def respond(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[str]]:
        """See providers.pipeline.Responder.respond."""
        client = await self._connected()
        try:
            with trio.fail_after(self.patience):
                try:
                    stream = await self._request(client, messages)
                except openai.APIConnectionError:
                    # A connection that was kept open is found closed by the server only when it is used again.
                    stream = await self._request(client, messages)
            async with stream, aclosing(self._deltas(stream)) as deltas:
                yield deltas
        except trio.TooSlowError as error:
            raise ProviderUnavailable("the language model did not answer within its deadline") from error
        except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError) as error:
            raise ProviderUnavailable(f"the language model's server: {error}") from error
        except openai.APIStatusError as error:
            raise ProviderRejected(f"the language model's server refused: HTTP {error.status_code}") from error
        except openai.OpenAIError as error:
            raise ProviderProtocolError(f"the language model's server: {error}") from error

    @property
    def tells_sentence_ends(self) -> bool:
        """Only the embedded model: other servers do not tell its tokens' probabilities in this form."""
        return self.transcript_style and not self.settings.base_url and self.english

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        """See providers.stages.Responder.sentence_end."""
        return await sentence_end.ask(await self._connected(), self.settings.model, transcript(messages))

    async def warm_up(self, messages: Sequence[Message]) -> None:
        """Have the model read a prompt once, with more patience than a caller has. Raises ProviderError."""
        usual, self.patience = self.patience, WARM_UP_PATIENCE
        try:
            async with self.respond(messages) as deltas:
                async for _delta in deltas:
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
                except (ProviderUnavailable, openai.OpenAIError) as error:
                    log.debug("the language model's server could not be greeted", error=str(error))
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
            self._client = client = openai.AsyncOpenAI(
                base_url=endpoint[0],
                api_key=endpoint[1] or "none",
                max_retries=0,
                timeout=WARM_UP_PATIENCE,  # the real deadline is `patience`
            )
            await _close(before)  # last: whoever comes meanwhile uses the new one
            return client
        return self._client

    async def _request(self, client: openai.AsyncOpenAI, messages: Sequence[Message]) -> Any:
        settings = self.settings
        headers = None if settings.base_url else ONCE
        if self.transcript_style:
            return await client.completions.create(
                model=settings.model,
                prompt=transcript(messages),
                stop=["\n"],
                stream=True,
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                extra_body={"cache_prompt": True},
                extra_headers=headers,
            )
        return await client.chat.completions.create(
            model=settings.model,
            messages=[{"role": message.role.value, "content": message.text} for message in messages],  # type: ignore[misc]
            stream=True,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            extra_headers=headers,
        )

    async def _deltas(self, stream: Any) -> AsyncGenerator[str, None]:
        length = 0
        chunks = aiter(stream)
        while True:
            try:
                # Only the server is on the clock: how fast the reply is spoken is not its doing.
                with trio.fail_after(self.patience):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                delta = self._words(chunk)
            except (ValueError, TypeError, AttributeError, LookupError) as error:  # openai checks nothing of a chunk
                raise ProviderProtocolError(
                    f"the language model's server sent a chunk that is none: {error}"
                ) from error
            if delta:
                length += len(delta)
                if length > MAX_REPLY:
                    raise ProviderProtocolError(f"the language model's reply is longer than {MAX_REPLY} characters")
                yield delta

    def _words(self, chunk: Any) -> str:
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        words = (choice.text if self.transcript_style else choice.delta.content) or ""
        if not isinstance(words, str):
            raise TypeError(f"expected words, not {type(words).__name__}")
        return words


async def _close(client: openai.AsyncOpenAI | None) -> None:
    if client is not None:
        with trio.move_on_after(2, shield=True):
            await client.close()


def transcript(messages: Sequence[Message]) -> str:
    """The conversation as a written dialogue that the model goes on with."""
    names = {Role.USER: "Caller", Role.ASSISTANT: "Assistant"}
    system = " ".join(message.text for message in messages if message.role is Role.SYSTEM)
    lines = [
        f"{names[message.role]}: {' '.join(message.text.split())}\n" for message in messages if message.role in names
    ]
    return f"{' '.join(system.split())}\n\n{TRANSCRIPT_EXAMPLES}{''.join(lines)}Assistant:"
