"""Words that are no answer: a greeting, a check-in, a hold message.

The session says them; or agentd itself, in an agent's voice, where they must be exact or no session can say them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs
import structlog
import trio

from agentd import deadlines
from agentd import session_events as tells
from agentd.agent import Audio, SayOutcome, SegmentEnd, SegmentStart, UtteranceEnd
from agentd.playout import PlayoutBuffer
from agentd.serving.breaker import Circuit
from agentd.serving.candidates import Candidate
from agentd.serving.tenure import LOOK_EVERY, Tenure
from agentd.session_events import SessionEvent

log = structlog.get_logger("agentd.call")

SAY_DEADLINE = deadlines.OWN_WORDS.seconds


@attrs.define(eq=False)
class OwnWords:
    """One call's. `deliver` takes what a session would have told; `off_record` the number of an utterance that is no
    part of the conversation."""

    playout: PlayoutBuffer
    deliver: Callable[[SessionEvent], Awaitable[None]]
    off_record: Callable[[int], None]
    serving: Tenure | None = attrs.field(default=None, init=False)
    """Whose session serves the call now."""
    last: str = attrs.field(default="", init=False)
    """The words that were to be said last."""
    asked: Tenure | None = attrs.field(default=None, init=False)
    """The session that was asked to say words and has not told the outcome."""

    async def say(self, text: str) -> None:
        """Have words said: by the session where it speaks given words exactly, else from what was spoken beforehand,
        else by the session as it can."""
        tenure, generation = self.serving, self.playout.generation
        if tenure is None:
            return
        self.last = text
        known = tenure.candidate.spoken.get(text, ())
        outcome = SayOutcome.REFUSED
        if tenure.session.capabilities.speaks_verbatim or not known:
            self.asked = tenure
            with trio.move_on_after(SAY_DEADLINE):
                outcome = await tenure.session.say(text)
            if self.serving is not tenure:
                return  # what it did not say, the next one is asked to
            self.asked = None
        if outcome is not SayOutcome.REFUSED or generation != self.playout.generation:
            return
        if not known:
            log.info("words could not be said", agent=tenure.candidate.name, words=text)
            return
        with trio.move_on_after(SAY_DEADLINE):  # in the middle of what the agent says they would tear it apart
            while self.serving is not None and self.serving.unfinished(generation):  # noqa: ASYNC110 - rare and short
                await trio.sleep(LOOK_EVERY)
        if generation == self.playout.generation:
            await self._speak(text, known)

    async def apologise(self, text: str) -> None:
        """Have the caller say it again: in words that were spoken beforehand, since the voice may be what is broken."""
        if self.serving is not None and (words := self.serving.candidate.spoken.get(text)):
            await self._speak(text, words)

    async def hold(self, text: str, order: Sequence[Candidate], said: trio.Event) -> None:
        """Say the hold message in the voice of who will go on, as far as that can be told; `said`: it is on its way."""
        now = trio.current_time()
        able = [candidate for candidate in order if text in candidate.spoken]
        sound = [candidate for candidate in able if candidate.breaker.circuit(now) is Circuit.CLOSED]
        for candidate in [*sound, *able][:1]:
            await self._speak(text, candidate.spoken[text], record=False)
        said.set()

    async def speak_beforehand(self, text: str, beforehand: Mapping[str, tuple[Audio, ...]]) -> None:
        """Say words while no session is there to say them, if they were spoken beforehand. They are no part of the
        conversation."""
        if audio := beforehand.get(text):
            await self._speak(text, audio, record=False)

    async def _speak(self, text: str, audio: tuple[Audio, ...], *, record: bool = True) -> None:
        """Have `text` heard after what is on its way, as an aside. Waits while the playout is full."""
        number, generation = self.playout.number(), self.playout.generation
        if not record:
            self.off_record(number)
        await self.deliver(tells.UtteranceStarted(number, aside=True))
        if record:
            await self.deliver(tells.AgentText(number, text))
        await self.playout.put(SegmentStart(generation, number, text))
        for piece in audio:
            await self.playout.put(Audio(generation, number, piece.pcm, piece.rate))
        await self.playout.put(SegmentEnd(generation, number))
        await self.playout.put(UtteranceEnd(generation, number))
        await self.deliver(tells.UtteranceEnded(number))
