"""A call that asks anything of its session in any order: none of it may block or raise, and the events keep theirs."""

import time
from collections.abc import Callable, Sequence
from random import Random

import attrs
import trio

from agentd import session_events as tells
from agentd.agent import AgentSession
from agentd.playout import PlayoutBuffer
from agentd.session_events import SessionEvent
from agentd.testing.sound import RATE, SHORTEST, silence

FRAME = RATE // 50 * 2
AT_ONCE = 1.0
"""Real seconds of a busy host within which what must not block is done."""


@attrs.define(eq=False)
class UnrulyCall:
    """`sound` is a caller's voice (8 kHz slin)."""

    session: AgentSession
    playout: PlayoutBuffer
    sound: bytes
    events: list[SessionEvent] = attrs.field(factory=list, init=False)

    async def run(self, random: Random, steps: int) -> None:
        """So many things that a call asks, in an order by chance."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            nursery.start_soon(self._listen)
            for _ in range(steps):
                ask = random.choice(self._asks)
                began = time.perf_counter()
                ask()
                assert time.perf_counter() - began < AT_ONCE, f"{ask.__name__} blocked"
                await trio.sleep(random.choice((0.0, 0.02, 0.1)))
            with trio.fail_after(20):
                await self.session.say("That was all.")
            nursery.cancel_scope.cancel()

    @property
    def _asks(self) -> Sequence[Callable[[], None]]:
        session, able = self.session, self.session.capabilities
        asks = [self._speak, self._speak, self._pause, self._interrupt, session.answer, session.withhold]
        asks += [self._write] if able.takes_text else []
        asks += [self._press] if able.takes_digits else []
        asks += [session.probe] if able.answers_probes else []
        return asks

    def _speak(self) -> None:
        self._feed(self.sound)

    def _pause(self) -> None:
        self._feed(silence(SHORTEST))

    def _feed(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), FRAME):
            self.session.feed(pcm[at : at + FRAME], trio.current_time())

    def _write(self) -> None:
        self.session.feed_text("Good morning.")

    def _press(self) -> None:
        self.session.feed_digits("5")

    def _interrupt(self) -> None:
        self.session.interrupt()
        self.playout.interrupt()

    async def _follow(self) -> None:
        async for event in self.session.events:
            self.events.append(event)

    async def _listen(self) -> None:
        while True:
            stream = await self.playout.next_utterance()
            self.session.started(stream.utterance)
            while await stream.next() is not None:  # noqa: ASYNC110 - a chunk takes its time
                await trio.sleep(0.01)
            self.session.heard(stream.utterance, 100, not stream.interrupted)


def in_order(events: Sequence[SessionEvent]) -> None:
    """What a session has told makes sense: each turn of the caller begins and ends once, and so does each utterance."""
    speaks, begun, ended = False, list[int](), set[int]()
    for event in events:
        match event:
            case tells.CallerSpeechStarted():
                assert not speaks, "a caller who speaks already begins to speak"
                speaks = True
            case tells.CallerSpeechDismissed():
                assert speaks, f"{event} of a caller who is silent"
                speaks = False
            case tells.CallerSpeechEnded():  # what is written ends a turn, too
                speaks = False
            case tells.UtteranceStarted(utterance=number):
                assert number not in begun, f"utterance {number} begins twice"
                begun.append(number)
            case tells.UtteranceEnded(utterance=number):
                assert number in begun, f"utterance {number} ends, and has not begun"
                assert number not in ended, f"utterance {number} ends twice"
                ended.add(number)
            case tells.Ended(failure=failure):
                assert not failure, failure
    assert begun == sorted(begun)
