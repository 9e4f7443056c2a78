"""What an agent says to a caller's words: the model is asked, and its reply spoken clause by clause while it is being
written. Nothing of it leaves before the answer's gate is open."""

from collections.abc import Callable
from contextlib import AsyncExitStack

import attrs

from agentd.agent import CallInfo
from agentd.errors import ProviderError
from agentd.history import History, Speaker
from agentd.session_events import Degraded, NothingToSay, SessionEvent, StageTiming
from providers.answer import Answer
from providers.clauses import ClauseCutter
from providers.speech_output import SpeechOutput, Utterance
from providers.stages import Message, PipelineSettings, Responder, Role, fill_in
from providers.turn_taking import plain_words

REPLIES_TRIED = 2
"""How often a model that gives no words is asked: a small one does so by chance, and silence is no answer."""


@attrs.define(eq=False)
class Replies:
    """One call's replies."""

    call: CallInfo
    history: History
    output: SpeechOutput
    settings: PipelineSettings
    responder: Responder
    emit: Callable[[SessionEvent], None]

    def ends_the_call(self, text: str) -> bool:
        """Whether the caller's words say goodbye."""
        plain = f" {' '.join(plain_words(text))} "
        return any(f" {phrase.lower()} " in plain for phrase in self.settings.end_phrases)

    def messages(self, answer: Answer) -> list[Message]:
        """The prompt: system, then the history, then the words to answer where the history has them not yet.

        What is being heard right now counts as said so far.
        """
        messages = [Message(Role.SYSTEM, fill_in(self.settings.prompt, self.call))]
        for turn in self.history.turns:
            if turn.speaker is Speaker.CALLER:
                messages.append(Message(Role.USER, turn.text))
            elif text := turn.text or self.output.unheard.get(turn.utterance, ""):
                messages.append(Message(Role.ASSISTANT, text))
        if not answer.committed and answer.text:
            if messages[-1].role is Role.USER:
                messages[-1] = Message(Role.USER, f"{messages[-1].text} {answer.text}")
            else:
                messages.append(Message(Role.USER, answer.text))
        return messages

    async def reply(self, answer: Answer) -> bool:
        """Ask the model and speak what it says; false if it had no words, which is told once the gate is open.

        Raises ProviderError. Cancelling stops the model, and ends the utterance that was begun.
        """
        for _try in range(REPLIES_TRIED):
            async with AsyncExitStack() as utterance:
                await self._stream(answer, utterance)
            if answer.utterance:
                return True
        await answer.gate.passed()
        self.emit(NothingToSay("the language model gave no words"))
        return False

    async def _stream(self, answer: Answer, stack: AsyncExitStack) -> None:
        """One reply, in an utterance on `stack` that is begun once the first clause is ready and let go."""
        utterance: Utterance | None = None

        async def speak(clause: str) -> None:
            nonlocal utterance
            pcm = await self.output.synthesise(clause)
            if utterance is None:
                answer.mark("first_audio")
                await answer.gate.passed()
                utterance = await stack.enter_async_context(self.output.utterance(aside=False))
                answer.mark("held")
                answer.utterance = utterance.number
                for stage, seconds in answer.stages().items():
                    self.emit(StageTiming(stage, seconds))
            await utterance.put(clause, pcm)

        cutter = ClauseCutter()
        async with self.responder.respond(self.messages(answer)) as deltas:
            async for delta in deltas:
                answer.mark("first_token")
                for clause in cutter.feed(delta):
                    await speak(clause)
        for clause in cutter.flush():
            await speak(clause)

    async def farewell(self, answer: Answer) -> None:
        """Say goodbye, in words that are fixed. Who cannot be told is let go all the same."""
        pcm, words = b"", self.settings.farewell
        if words:
            try:
                pcm = await self.output.synthesise(words)
            except ProviderError as error:
                self.emit(Degraded(str(error)))
        await answer.gate.passed()
        if pcm:
            async with self.output.utterance(aside=False) as utterance:
                answer.utterance = utterance.number
                await utterance.put(words, pcm)
