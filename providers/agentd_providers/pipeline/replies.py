"""An agent's reply to a caller's words: the model is asked, and its reply spoken clause by clause while it is being
written. Nothing of it leaves, and no tool is used, before the answer's gate is open."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import attrs

from agentd import session_events as tells
from agentd.agent import CallInfo, ToolDeclaration
from agentd.errors import ProviderError, first_of
from agentd.history import History, Sealed, Speaker
from agentd.session_events import SessionEvent
from agentd_providers.pipeline.answer import Answer
from agentd_providers.pipeline.clauses import ClauseCutter
from agentd_providers.pipeline.speech_output import SpeechOutput, Utterance
from agentd_providers.pipeline.stages import (
    CutShort,
    Message,
    PipelineSettings,
    Responder,
    Role,
    ToolCall,
    Withdrawal,
    fill_in,
)
from agentd_providers.pipeline.tool_requests import ToolRequests
from agentd_providers.turns.words import plain_words

REPLIES_TRIED = 2
"""How often a model that gives no words is asked: a small one does so by chance, and silence is no answer."""
TOOL_ROUNDS = 5
"""How often an answer may ask for tools; then it has to do without."""
CALLS_AT_ONCE = 8
"""Tools that one reply may ask for; what is more is left out, and told."""


@attrs.define(eq=False)
class Replies:
    """One call's replies."""

    call: CallInfo
    history: History
    output: SpeechOutput
    settings: PipelineSettings
    responder: Responder
    tools: Sequence[ToolDeclaration]
    requests: ToolRequests
    emit: Callable[[SessionEvent], None]

    def says_goodbye(self, text: str) -> bool:
        """Whether the caller's words say goodbye."""
        plain = f" {' '.join(plain_words(text))} "
        return any(f" {phrase.lower()} " in plain for phrase in self.settings.end_phrases)

    def messages(self, answer: Answer) -> list[Message]:
        """The prompt: system, then the history, then the words to answer where the history has them not yet.

        The words that are being heard right now count as said so far.
        """
        messages = [Message(Role.SYSTEM, fill_in(self.settings.prompt, self.call))]
        for number, turn in enumerate(self.history.turns):
            if (use := turn.tool) is not None:
                call = ToolCall(f"call{number:05d}", use.name, use.arguments, use.sealed)
                asked = _asked_together(messages, use.sealed)
                if asked is None:
                    words = messages.pop().text if messages[-1].role is Role.ASSISTANT else ""
                    messages.append(Message(Role.ASSISTANT, words, (call,)))
                else:
                    messages[asked] = attrs.evolve(messages[asked], calls=(*messages[asked].calls, call))
                messages.append(Message(Role.TOOL, use.result, call=call.call))
            elif turn.speaker is Speaker.CALLER:
                messages.append(Message(Role.USER, turn.text))
            elif text := turn.text or self.output.unheard.get(turn.utterance, ""):
                messages.append(Message(Role.ASSISTANT, text))
        if not answer.committed and answer.text:
            if messages[-1].role is Role.USER:
                messages[-1] = Message(Role.USER, f"{messages[-1].text} {answer.text}")
            else:
                messages.append(Message(Role.USER, answer.text))
        if answer.closing:
            messages.append(Message(Role.USER, answer.closing))
        return messages

    async def reply(self, answer: Answer) -> bool:
        """Ask the model and speak what it says, with the tools that it asks for; false if it had no words, which is
        told once the gate is open.

        Raises ProviderError. Cancelling stops the model, and ends the utterance that was begun.
        """
        messages = self.messages(answer)
        rounds = tried = 0
        while tried < REPLIES_TRIED:
            tools = self.tools if rounds < TOOL_ROUNDS else ()
            async with AsyncExitStack() as utterance:
                words, calls = await self._stream(answer, messages, tools, utterance)
            if calls and tools:
                await answer.gate.passed()
                answer.utterance = 0
                messages += await self.requests.use(words, calls)
                rounds += 1
            elif answer.spoken:
                return True
            else:
                tried += 1
        await answer.gate.passed()
        self.emit(tells.NothingToSay("the language model gave no words"))
        return False

    async def _stream(
        self, answer: Answer, messages: list[Message], tools: Sequence[ToolDeclaration], stack: AsyncExitStack
    ) -> tuple[str, list[ToolCall]]:
        """One reply, in an utterance on `stack` that is begun once the first clause is ready and let go.

        Gives its words and the tools that it asks for.
        """
        speech = _Speech(self, answer, stack)
        words: list[str] = []
        calls: list[ToolCall] = []
        async with self.responder.respond(messages, tools) as pieces:
            async for piece in pieces:
                match piece:
                    case Withdrawal():
                        words.clear()
                        await speech.withdraw()
                        continue
                    case CutShort(reason, cause):
                        self.emit(tells.ReplyCut(cause))
                        if reason:
                            self.emit(tells.Degraded(reason))
                        continue
                if not words and not calls:
                    answer.mark("first_token")
                    self._thinking(answer)
                if isinstance(piece, ToolCall):
                    calls.append(piece)
                    continue
                words.append(piece)
                await speech.say(piece)
        await speech.finish()
        if len(calls) > CALLS_AT_ONCE:
            self.emit(
                tells.Degraded(f"the language model asks for {len(calls)} tools at once: {CALLS_AT_ONCE} are used")
            )
        return "".join(words), calls[:CALLS_AT_ONCE]

    def begun(self, answer: Answer, utterance: Utterance) -> None:
        answer.mark("held")
        answer.utterance = utterance.number
        if not answer.spoken:
            answer.spoken = True
            for stage, seconds in answer.stages().items():
                self.emit(tells.StageTiming(stage, seconds))

    def _thinking(self, answer: Answer) -> None:
        if answer.committed:
            self.emit(tells.Thinking())

    async def farewell(self, answer: Answer) -> None:
        """Say goodbye, in words that are fixed. A session that cannot be told is let go all the same."""
        if words := self.settings.farewell:
            try:
                async with self.output.speak(words) as sound:
                    await answer.gate.passed()
                    if sound.first:
                        async with self.output.utterance(aside=False) as utterance:
                            answer.utterance = utterance.number
                            await utterance.put(sound)
            except* ProviderError as group:
                self.emit(tells.Degraded(str(first_of(group))))
        await answer.gate.passed()


@attrs.define(eq=False)
class _Speech:
    """One reply on its way to the caller: cut into clauses, in an utterance on `stack`."""

    replies: Replies
    answer: Answer
    stack: AsyncExitStack
    _cutter: ClauseCutter = attrs.field(init=False)
    _utterance: Utterance | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._cutter = self._new_cutter()

    def _new_cutter(self) -> ClauseCutter:
        return ClauseCutter(self.replies.settings.text.language)

    async def say(self, piece: str) -> None:
        """More of the reply. Raises ProviderError."""
        for clause in self._cutter.feed(piece):
            await self._speak(clause)

    async def finish(self) -> None:
        """The reply is complete: its last clauses. Raises ProviderError."""
        for clause in self._cutter.flush():
            await self._speak(clause)

    async def withdraw(self) -> None:
        """What came so far was no reply: what of it the caller has not heard is not to be."""
        self._cutter = self._new_cutter()
        utterance, self._utterance = self._utterance, None
        if utterance is None:
            return
        await self.stack.aclose()
        self.answer.utterance, self.answer.spoken = 0, False
        self.replies.output.unheard.pop(utterance.number, None)
        self.replies.emit(tells.Withdrawn(utterance.number))

    async def _speak(self, clause: str) -> None:
        output, answer = self.replies.output, self.answer
        async with output.speak(clause) as sound:
            if not sound.first:
                return
            if self._utterance is None:
                answer.mark("first_audio")
                await answer.gate.passed()
                self._utterance = await self.stack.enter_async_context(output.utterance(aside=False))
                self.replies.begun(answer, self._utterance)
            await self._utterance.put(sound)


def _asked_together(messages: Sequence[Message], sealed: Sealed | None) -> int | None:
    """The last message that asks for tools, where it is of the same reply."""
    at = next((at for at in reversed(range(len(messages))) if messages[at].role is not Role.TOOL), 0)
    last = messages[at].calls[-1].sealed if messages[at].calls else None
    return at if sealed is not None and last is not None and last.reply == sealed.reply else None
