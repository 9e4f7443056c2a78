"""How a session's words become utterances in the playout: numbered, one after the other, never interleaved."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import structlog
import trio

from agentd import deadlines
from agentd import session_events as tells
from agentd.agent import Audio, Playout, SegmentEnd, SegmentStart, UtteranceEnd
from agentd.session_events import SessionEvent
from agentd_providers.pipeline.questions import Questions
from agentd_providers.pipeline.sound import in_one_piece
from agentd_providers.pipeline.stages import Voice
from agentd_providers.text_normalisation.normaliser import TextNormaliser

log = structlog.get_logger("agentd_providers.speech_output")

END_DEADLINE = deadlines.UTTERANCE_END.seconds


@attrs.frozen
class Clause:
    """Words whose sound has begun to come: its `first` piece (empty where there is none), and the `rest`.

    `text` is as it was written, and stands in the history; `spoken` is what the voice says for each of its words.
    """

    text: str
    spoken: tuple[str, ...]
    first: bytes
    rest: AsyncIterator[bytes]


@attrs.define(eq=False)
class Utterance:
    """One utterance that is being put into the playout, in the generation that it began in."""

    number: int
    generation: int
    _output: "SpeechOutput"

    async def put(self, clause: Clause) -> None:
        """Append a clause, its sound as it comes. Waits while the playout is full. Raises ProviderError."""
        output = self._output
        output.unheard[self.number] = f"{output.unheard[self.number]} {clause.text}".strip()
        output.emit(tells.AgentText(self.number, clause.text))
        await output.playout.put(SegmentStart(self.generation, self.number, clause.text, clause.spoken))
        await self._put(clause.first)
        async for piece in clause.rest:
            await self._put(piece)
        output.questions.said(self.number, clause.text)
        await output.playout.put(SegmentEnd(self.generation, self.number))

    async def _put(self, pcm: bytes) -> None:
        if pcm:
            self._output.questions.sounded(self.number, len(pcm) / 2 / self._output.rate)
            await self._output.playout.put(Audio(self.generation, self.number, pcm, self._output.rate))


@attrs.define(eq=False)
class SpeechOutput:
    """The agent's mouth: one utterance at a time."""

    playout: Playout
    voice: Voice
    rate: int
    emit: Callable[[SessionEvent], None] = lambda _event: None
    text: TextNormaliser = attrs.field(factory=TextNormaliser)
    unheard: dict[int, str] = attrs.field(factory=dict, init=False)
    """The words of utterances that the history does not have yet."""
    answers: int = attrs.field(default=0, init=False)
    """How many utterances that answer the caller were begun, or wait for their turn."""
    questions: Questions = attrs.field(factory=Questions, init=False)
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[Clause]:
        """Have words spoken: a clause, as soon as its sound begins to come. Raises ProviderError.

        Leaving the block stops the voice.
        """
        spoken = self.text.spoken(text)
        if not spoken.text:
            async with in_one_piece(b"") as nothing:
                yield Clause(text, spoken.words, b"", nothing)
            return
        async with self.voice.speak(spoken.text, self.rate) as pieces:
            first = b""
            async for first in pieces:
                if first:
                    break
            else:
                self.emit(tells.Degraded("the voice gave no sound for a clause"))
            yield Clause(text, spoken.words if spoken.text != text else (), first, pieces)

    @asynccontextmanager
    async def utterance(self, *, aside: bool) -> AsyncIterator[Utterance]:
        """Begin an utterance once the one before it is complete; leaving the block ends it.

        `aside`: it is no answer to the caller. However the block is left, the playback need not wait for more.
        """
        self.answers += not aside
        async with self._turn:
            utterance = Utterance(self.playout.number(), self.playout.generation, self)
            self.unheard[utterance.number] = ""
            self.emit(tells.UtteranceStarted(utterance.number, aside))
            try:
                yield utterance
            finally:
                # There is always room for an end, which is no audio; but nobody may wait for ever for it.
                with trio.move_on_after(END_DEADLINE, shield=True) as patience:
                    await self.playout.put(UtteranceEnd(utterance.generation, utterance.number))
                if patience.cancelled_caught:
                    log.error("the playout did not take the end of an utterance", utterance=utterance.number)
                self.emit(tells.UtteranceEnded(utterance.number))

    def heard(self, utterance: int) -> None:
        """The history has this utterance now."""
        self.unheard.pop(utterance, None)
        self.questions.heard(utterance)
