"""Tells the conversation when a silence, an answer in preparation, or the call has lasted too long.

What is due is decided by agentd.conversation.liveness and agentd.conversation.dead_air. Here is what they go by: the
conversation after each step, and when either side was last noticed.
"""

import math
from collections.abc import Callable

import attrs
import trio

from agentd import session_events as tells
from agentd.conversation import events as happens
from agentd.conversation.dead_air import DeadAir, Ears
from agentd.conversation.liveness import Liveness, LivenessTimes
from agentd.conversation.machine import Conversation

OF_THE_CALLER = (tells.CallerSpeechStarted, tells.CallerSpeechResumed, tells.CallerSpeechEnded, tells.CallerText)
"""The events of a session that tell of something that the caller has said."""
SIGNS_OF_LIFE = (happens.DigitPressed, happens.HoldBegan, happens.HoldEnded, happens.CallerReplaced)
"""The events at the caller's end that tell of somebody who is there."""


@attrs.define(eq=False)
class Timekeeper:
    """One call's. `ears` tells when either side was last heard; `tell` posts what is due, and must not block."""

    conversation: Conversation
    times: LivenessTimes
    ears: Callable[[], Ears]
    tell: Callable[[object], None]
    live_since: float = math.inf
    """When the call came to be live with another agentd."""
    _liveness: Liveness = attrs.field(init=False)
    _dead_air: DeadAir = attrs.field(init=False)
    _acted_at: float = attrs.field(default=-math.inf, init=False)
    """When the last sign of life came that agentd's own ear does not hear: a key, the end of a hold, a tool's result,
    and what a session tells of a caller who may be very quiet."""
    _passed_at: float = attrs.field(default=-math.inf, init=False)
    """When the agent last passed the turn back without a word: to a cough, or for it has nothing to say."""
    _stepped: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._liveness = Liveness(self.times, self.live_since)
        self._dead_air = DeadAir(self.times.dead_air_after, self.times.checks_in)

    async def run(self) -> None:
        """Post what is due, when it is, until cancelled."""
        while True:
            self._stepped, now = trio.Event(), trio.current_time()
            for event in (*self._liveness.due(now), *self._dead_air.due(self.conversation, self._noticed, now)):
                self.tell(event)
            with trio.move_on_at(min(self._liveness.next_at, self._dead_air.next_at)):
                await self._stepped.wait()

    def on_step(self, event: object) -> None:
        """The conversation has taken `event`."""
        self._liveness.observe(self.conversation, trio.current_time())
        if isinstance(event, SIGNS_OF_LIFE):
            self._liveness.caller_acted(trio.current_time())
        self._stepped.set()

    def on_session_event(self, event: object) -> None:
        """The call's session tells `event`."""
        if isinstance(event, OF_THE_CALLER):
            self.sign_of_life()
            self._liveness.caller_acted(self._acted_at)
        elif isinstance(event, tells.CallerSpeechDismissed | tells.NothingToSay):
            self._passed_at = trio.current_time()

    def sign_of_life(self) -> None:
        """Something has happened that `ears` do not hear: whatever silence there was, dead air it is not."""
        self._acted_at = trio.current_time()

    @property
    def _noticed(self) -> Ears:
        ears = self.ears()
        return Ears(max(ears.caller_at, self._acted_at), max(ears.agent_at, self._passed_at), ears.excused)
