"""Words that agentd says itself, in an agent's voice, because they must be exact or because no session can say them."""

from collections.abc import Awaitable, Callable

import attrs

from agentd.agent import Audio, Playout, SegmentEnd, SegmentStart, UtteranceEnd
from agentd.session_events import AgentText, SessionEvent, UtteranceEnded, UtteranceStarted


@attrs.frozen
class OwnWords:
    """One call's. `deliver` takes what a session would have told; `off_record` the number of an utterance that is no
    part of the conversation."""

    playout: Playout
    deliver: Callable[[SessionEvent], Awaitable[None]]
    off_record: Callable[[int], None]

    async def speak(self, text: str, audio: tuple[Audio, ...], *, record: bool = True) -> None:
        """Have `text` heard after what is on its way, as an aside. Waits while the playout is full."""
        number, generation = self.playout.number(), self.playout.generation
        if not record:
            self.off_record(number)
        await self.deliver(UtteranceStarted(number, aside=True))
        if record:
            await self.deliver(AgentText(number, text))
        await self.playout.put(SegmentStart(generation, number, text))
        for piece in audio:
            await self.playout.put(Audio(generation, number, piece.pcm, piece.rate))
        await self.playout.put(SegmentEnd(generation, number))
        await self.playout.put(UtteranceEnd(generation, number))
        await self.deliver(UtteranceEnded(number))
