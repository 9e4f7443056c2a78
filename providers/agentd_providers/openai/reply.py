"""One reply of a language model, read from the bytes of a chat server's answer and judged when they end. Pure.

The chunks are those of https://platform.openai.com/docs/api-reference/chat-streaming. What a server adds to them, or
leaves empty, is passed over. A reply is whole where its end was told: by a `finish_reason`, or by `[DONE]`. An answer
that is no stream is read too: as a whole reply, or as the error that it tells of.
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

import attrs

from agentd.errors import CallRejected, ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd.parsing import Nesting, mended
from agentd.session_events import Cut
from agentd_providers.openai.context import refused_length
from agentd_providers.openai.event_stream import ERROR, EventReader, ServerEvent
from agentd_providers.openai.llama_cpp import PROGRESS
from agentd_providers.openai.private_words import PrivateWords
from agentd_providers.openai.refusals import FLEETING, SHOWN, told_by
from agentd_providers.openai.tool_deltas import ToolDeltas, WholeCall
from agentd_providers.pipeline.stages import CutShort, Withdrawal
from agentd_providers.vendor.surrogates import PieceMender

SERVER = "the language model's server"
MAX_REPLY = 8000
MOST_THOUGHTS = 65_536
"""Characters of thoughts that are kept, to be given back with the tool calls that they led to."""
LARGEST_WHOLE = 1 << 20
"""Bytes of an answer that is no stream."""
THOUGHTS = ("reasoning_content", "reasoning")
"""Fields of a delta that hold thoughts as text: DeepSeek, vLLM, llama.cpp; OpenRouter, Ollama, Groq."""
THOUGHT_LISTS = ("reasoning_details", "thinking_blocks")
"""OpenRouter's and LiteLLM's, which come in pieces and go back in one list."""
LENGTHS = frozenset(("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"))
FILTERS = frozenset(
    (
        *("content_filter", "content_filtered", "safety", "sensitive", "refusal", "recitation", "blocklist", "spii"),
        *("prohibited_content", "guardrail_intervened", "image_safety"),
    )
)
BREAKS = frozenset(
    (
        *("error", "abort", "aborted", "cancelled", "canceled", "network_error", "insufficient_system_resource"),
        *("timeout", "engine_overloaded", "malformed_function_call", "unexpected_tool_call", "function_call_filter"),
    )
)
"""Of vLLM (abort), GLM (network_error), DeepSeek (insufficient_system_resource), OpenRouter (error), Gemini."""


@attrs.frozen
class Ending:
    """What is left of a reply at its end: the last words, the tools that it asks for, what the server wants back of the
    message with them; `cut` says why the model did not come to its end, if so."""

    pieces: list[str | Withdrawal]
    calls: list[WholeCall]
    message: Mapping[str, Any]
    cut: CutShort | None


@attrs.define
class ReplyReader:
    """Reads one reply. `written`: it is a completion's, else a chat's. `conceal` takes secrets out of a server's
    words."""

    written: bool = False
    names: Collection[str] = ()
    waits: bool = False
    most_tokens: int = 0
    conceal: Callable[[str], str] = str
    words: PrivateWords = attrs.field(init=False)
    wrote: str = attrs.field(default="", init=False)
    """All that a completion was made of so far, what is not for ears too."""
    tokens: int = attrs.field(default=0, init=False)
    """In how many chunks that came: llama.cpp's server sends one for a token, or for those of one character."""
    _events: EventReader = attrs.field(factory=EventReader, init=False)
    _mender: PieceMender = attrs.field(factory=PieceMender, init=False)
    _calls: ToolDeltas = attrs.field(init=False)
    _whole: bytearray | None = attrs.field(default=None, init=False)
    """An answer that is no stream."""
    _begun: bool = attrs.field(default=False, init=False)
    _done: bool = attrs.field(default=False, init=False)
    _finish: str = attrs.field(default="", init=False)
    _had_delta: bool = attrs.field(default=False, init=False)
    _length: int = attrs.field(default=0, init=False)
    _thoughts: dict[str, str] = attrs.field(factory=dict, init=False)
    _lists: dict[str, list[Any]] = attrs.field(factory=dict, init=False)
    _extras: dict[str, Any] = attrs.field(factory=dict, init=False)
    _said: bool = attrs.field(default=False, init=False)
    _thought: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.words, self._calls = PrivateWords(self.waits), ToolDeltas(self.names)

    def feed(self, data: bytes) -> list[str | Withdrawal]:
        """More of the answer's body; gives what may be spoken of it. Raises ProviderError where it tells of a failure,
        or is no answer."""
        if not self._begun:
            data = data.lstrip(b"\xef\xbb\xbf \t\r\n")
            if not data:
                return []
            self._begun = True
            if data[:1] == b"<":
                raise ProviderProtocolError(f"{SERVER} answers with a page, and not with a reply")
            if data[:1] in b"{[":
                self._whole = bytearray()
        if self._whole is not None:
            self._whole += data
            if len(self._whole) > LARGEST_WHOLE:
                raise ProviderProtocolError(f"{SERVER} sends a reply of more than {LARGEST_WHOLE} bytes")
            return []
        return self._counted([piece for event in self._events.feed(data) for piece in self._event(event)])

    def go_on(self) -> None:
        """What follows comes with another answer of the server's, which was asked to go on after `wrote`."""
        self._events, self._begun, self._done, self._finish = EventReader(), False, False, ""

    def end(self) -> Ending:
        """The answer has ended. Raises ProviderError where the reply has not, or says nothing for another reason than
        that the model has nothing to say."""
        pieces = [piece for event in self._events.end() for piece in self._event(event)]
        if self._whole is not None:
            pieces += self._answer(bytes(self._whole))
        ended = bool(self._finish or self._done)
        complete = ended and self._finish not in LENGTHS | FILTERS | BREAKS
        pieces += self.words.feed(self._mender.flush())
        pieces += self.words.end(complete=complete)
        if self._calls:
            pieces += self.words.acts()
        pieces = self._counted(pieces)
        if not ended:
            raise ProviderUnavailable(f"{SERVER} ended its answer before the reply was complete")
        if self._finish in BREAKS:
            raise ProviderUnavailable(f"{SERVER} broke the reply off: {self._finish[:SHOWN]}")
        cut = None if complete else CutShort(self._cut_by(), self.cause)
        if not self._said:
            self._judge_silence(cut)
        calls = [] if cut else self._judged(self._calls.whole)
        message: dict[str, Any] = {name: text for name, text in self._thoughts.items() if len(text) <= MOST_THOUGHTS}
        return Ending(pieces, calls, message | self._lists | self._extras, cut)

    @property
    def cause(self) -> Cut:
        """Why the reply has no whole end, where it has none."""
        if self._finish in FILTERS:
            return Cut.FILTER
        if self._finish in LENGTHS:
            return Cut.LENGTH if self._said or not (self._thought or self.words.thought) else Cut.THINKING
        return Cut.BROKEN

    def _cut_by(self) -> str:
        if self._finish in LENGTHS:
            thoughts = ", with what the model thought" if self._thought or self.words.thought else ""
            return (
                f"the language model's reply was cut at its limit of {self.most_tokens} tokens (max_tokens){thoughts}"
            )
        return f"the language model's reply was cut by its server's filter ({self._finish[:SHOWN]})"

    def _judge_silence(self, cut: CutShort | None) -> None:
        """Nothing was said. Raises ProviderError unless that is what the model wanted."""
        thought = self._thought or self.words.thought
        if cut and self._finish in LENGTHS:
            how = "thinking used them up" if thought else "none of them was a word"
            raise ProviderRejected(
                f"the language model said nothing within its limit of {self.most_tokens} tokens (max_tokens): {how}"
            )
        if cut:
            raise CallRejected(f"the language model said nothing: {cut.reason}")
        if self.words.wrote_calls and not self._calls:
            raise ProviderRejected(
                "the language model writes its tool calls as text: its server does not read them (vLLM and SGLang: "
                "--tool-call-parser, llama.cpp: --jinja)"
            )
        if thought and not self._calls:
            raise ProviderUnavailable("the language model thought, and said nothing (max_tokens may be too few)")

    def _counted(self, pieces: list[str | Withdrawal]) -> list[str | Withdrawal]:
        for piece in pieces:
            if isinstance(piece, Withdrawal):
                self._said = False
            else:
                self._length += len(piece)
                self._said = self._said or bool(piece.strip())
        if self._length > MAX_REPLY:
            raise ProviderProtocolError(f"the language model's reply is longer than {MAX_REPLY} characters")
        return pieces

    @property
    def done(self) -> bool:
        """Nothing more is to come."""
        return self._done

    @property
    def finished(self) -> bool:
        """The model has come to its end; what its server adds may still come."""
        return bool(self._finish)

    # --- what comes

    def _event(self, event: ServerEvent) -> list[str | Withdrawal]:
        data = event.data.strip()
        if self._done or not data:
            return []
        if data.startswith("[DONE]"):
            self._done = True
            return []
        try:
            value = _loaded(data)
        except ValueError as error:
            if event.name == ERROR:
                raise self._failure(data) from None
            raise ProviderProtocolError(f"{SERVER} sent a chunk that is none: {str(error)[:SHOWN]}") from None
        if event.name == ERROR:
            raise self._failure(value)
        return self._chunk(value)

    def _answer(self, body: bytes) -> list[str | Withdrawal]:
        """An answer that is no stream."""
        try:
            value = _loaded(body.decode())
        except ValueError:
            raise ProviderUnavailable(f"{SERVER} answers with JSON that is none, or not all of it") from None
        if isinstance(value, list) and len(value) == 1:  # Gemini's errors
            value = value[0]
        pieces = self._chunk(value)
        if not self.reply_begun:
            raise ProviderProtocolError(f"{SERVER} answers with JSON that is no reply")
        self._done = True
        return pieces

    @property
    def reply_begun(self) -> bool:
        """Whether anything of the model's has come."""
        return self._had_delta or bool(self._finish)

    def _chunk(self, chunk: Any) -> list[str | Withdrawal]:
        if chunk is None:
            return []
        if not isinstance(chunk, Mapping):
            raise ProviderProtocolError(f"{SERVER} sent a chunk that is none: {type(chunk).__name__}")
        if error := chunk.get("error"):
            raise self._failure(error)
        choices = chunk.get("choices")
        if not choices or PROGRESS in chunk:  # of a prompt that is being read: nothing of the reply is in it
            return []
        if not isinstance(choices, list):
            raise ProviderProtocolError(f"{SERVER} sent a chunk that is none: choices are {type(choices).__name__}")
        choice = next((choice for choice in choices if isinstance(choice, Mapping) and not choice.get("index")), None)
        if choice is None:
            if any(not isinstance(choice, Mapping | None) for choice in choices):
                raise ProviderProtocolError(f"{SERVER} sent a chunk that is none: a choice is no object")
            return []
        pieces = self._choice(choice)
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish and finish != "null":
            self._finish = mended(finish.lower())
            if self._finish in BREAKS and isinstance(error := choice.get("error"), Mapping):
                raise self._failure(error)
        return pieces

    def _choice(self, choice: Mapping[str, Any]) -> list[str | Withdrawal]:
        delta = choice.get("delta")
        if self.written:
            delta = {"content": choice.get("text")}
            self._note_written(choice.get("text"))
        elif not isinstance(delta, Mapping) and not self._had_delta:
            delta = choice.get("message")  # of an answer that is no stream
        if delta is None:
            return []
        if not isinstance(delta, Mapping):
            raise ProviderProtocolError(f"{SERVER} sent a chunk that is none: a delta is {type(delta).__name__}")
        self._had_delta = True
        pieces = self._spoken(delta.get("content"))
        if isinstance(refusal := delta.get("refusal"), str):
            pieces += self._spoken(refusal)
        self._note_thoughts(delta)
        requested = delta.get("tool_calls")
        if not requested and isinstance(function := delta.get("function_call"), Mapping) and function:
            requested = [{"index": 0, "function": function}]
        if requested:
            self._judged(lambda: self._calls.feed(requested))
        return pieces

    def _spoken(self, content: object) -> list[str | Withdrawal]:
        match content:
            case None:
                return []
            case str():
                return self.words.feed(self._mender.feed(content))
            case list():  # Mistral's thinking models
                return [piece for part in content for piece in self._part(part)]
        raise ProviderProtocolError(f"{SERVER} sent a chunk that is none: words are {type(content).__name__}")

    def _part(self, part: object) -> list[str | Withdrawal]:
        if isinstance(part, str):
            return self._spoken(part)
        if not isinstance(part, Mapping):
            return []
        if isinstance(text := part.get("text"), str) and part.get("type", "text") in ("text", "output_text"):
            return self._spoken(text)
        self._thought = self._thought or part.get("type") in ("thinking", "reasoning")
        return []

    def _note_written(self, text: object) -> None:
        if isinstance(text, str) and text:
            self.wrote += text
            self.tokens += 1

    def _note_thoughts(self, delta: Mapping[str, Any]) -> None:
        for name in THOUGHTS:
            if isinstance(text := delta.get(name), str):
                self._thought = self._thought or bool(text.strip())
                known = self._thoughts.get(name, "")
                self._thoughts[name] = (known + mended(text))[: MOST_THOUGHTS + 1]
        for name in THOUGHT_LISTS:
            if isinstance(items := delta.get(name), list):
                self._thought = self._thought or bool(items)
                self._lists.setdefault(name, []).extend(items)
        if (extra := delta.get("extra_content")) is not None:
            self._extras["extra_content"] = extra

    def _judged(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (ValueError, TypeError) as error:
            raise ProviderProtocolError(f"the language model's reply: {str(error)[:SHOWN]}") from None

    def _failure(self, error: Any) -> ProviderError:
        """What the server tells of a failure in the middle of its answer, or in place of it."""
        words = f"{SERVER}: {told_by(error, self.conceal)}"
        if refused_length(error) is not None:
            return CallRejected(f"{words}: the conversation is longer than the model's context")
        fields = error if isinstance(error, Mapping) else {}
        kind = f"{fields.get('code')} {fields.get('type')}".lower()
        return ProviderUnavailable(words) if FLEETING.search(kind) else ProviderProtocolError(words)


def _loaded(text: str) -> Any:
    """The value of a JSON text. A character may come in halves, one in this text and one in the next: words are mended
    as they follow each other. Raises ValueError."""
    Nesting().feed(text)
    return json.loads(text)
