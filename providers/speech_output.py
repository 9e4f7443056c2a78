"""How a session's words become utterances in the playout: numbered, one after the other, never interleaved."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from agentd.agent import Audio, Playout, SegmentEnd, SegmentStart, UtteranceEnd
from agentd.session_events import AgentText, SessionEvent, UtteranceEnded, UtteranceStarted
from providers.stages import Voice


@attrs.define(eq=False)
class Utterance:
    """One utterance that is being put into the playout, in the generation that it began in."""

    number: int
    generation: int
    _output: "SpeechOutput"

    async def put(self, text: str, pcm: bytes) -> None:
        """Append a clause: its words, and their sound (slin at the output's rate). Waits while the playout is full."""
        output = self._output
        output.unheard[self.number] = f"{output.unheard[self.number]} {text}".strip()
        output.emit(AgentText(self.number, text))
        await output.playout.put(SegmentStart(self.generation, self.number, text))
        await output.playout.put(Audio(self.generation, self.number, pcm, output.rate))
        await output.playout.put(SegmentEnd(self.generation, self.number))


@attrs.define(eq=False)
class SpeechOutput:
    """The agent's mouth: one utterance at a time."""

    playout: Playout
    voice: Voice
    rate: int
    emit: Callable[[SessionEvent], None] = lambda _event: None
    unheard: dict[int, str] = attrs.field(factory=dict, init=False)
    """The words of utterances that the history does not have yet."""
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    @property
    def speaking(self) -> bool:
        """True while an utterance is being put into the playout."""
        return self._turn.locked()

    async def synthesise(self, text: str) -> bytes:
        """The sound of a clause. Raises ProviderError."""
        return await self.voice.synthesise(text, self.rate)

    @asynccontextmanager
    async def utterance(self, *, aside: bool) -> AsyncIterator[Utterance]:
        """Begin an utterance once the one before it is complete; leaving the block ends it.

        `aside`: it is no answer to the caller. However the block is left, the playback need not wait for more.
        """
        async with self._turn:
            utterance = Utterance(self.playout.number(), self.playout.generation, self)
            self.unheard[utterance.number] = ""
            self.emit(UtteranceStarted(utterance.number, aside))
            try:
                yield utterance
            finally:
                # Never waits: an end is no audio, so there is always room for it.
                with trio.CancelScope(shield=True):
                    await self.playout.put(UtteranceEnd(utterance.generation, utterance.number))
                self.emit(UtteranceEnded(utterance.number))

    def heard(self, utterance: int) -> None:
        """The history has this utterance now."""
        self.unheard.pop(utterance, None)
