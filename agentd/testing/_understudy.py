"""An agent that stands in where the one under test fails: it hears that somebody speaks, and answers by a tone."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import numpy as np
import trio

from agentd import session_events as tells
from agentd.agent import Audio, CallInfo, Capabilities, Playout, Readiness, SayOutcome, ToolDeclaration
from agentd.audio.level import rms_dbfs
from agentd.history import History
from agentd.session_events import SessionEvent
from agentd.testing.sound import RATE
from agentd_providers.vendor.voice import VendorVoice

LOUD_DBFS = -45.0
QUIET = 2 * RATE * 3 // 10
"""Bytes of silence that end the caller's turn."""
ANSWER, WORDS = "I stand in for the other.", "(words)"
"""The words that it says, and those that it understands."""


def tone(seconds: float) -> bytes:
    """A4: slin at 8 kHz."""
    moments = np.arange(round(seconds * RATE)) / RATE
    return bytes(np.rint(8000 * np.sin(2 * math.pi * 440 * moments)).astype("<i2").tobytes())


@attrs.define(eq=False)
class UnderstudySession:
    """One call's. The methods' purposes: agentd.agent.AgentSession."""

    history: History
    voice: VendorVoice = attrs.field(init=False)
    events: trio.MemoryReceiveChannel[SessionEvent] = attrs.field(init=False)
    _playout: Playout
    seconds: float
    """How long it speaks, whatever it says."""
    _tell: trio.MemorySendChannel[SessionEvent] = attrs.field(init=False)
    _last_loud: float | None = attrs.field(default=None, init=False)
    """When the caller was last heard in this turn; None: the caller is silent."""
    _quiet: int = attrs.field(default=0, init=False)
    """Bytes of silence since then: what a session missed comes to it faster than it was said."""
    _owes: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._tell, self.events = trio.open_memory_channel[SessionEvent](256)
        self.voice = VendorVoice(self._playout, RATE, self._tell.send_nowait)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(takes_turns=False, answers_probes=True)

    def feed(self, pcm: bytes, at: float) -> None:
        if rms_dbfs(pcm) >= LOUD_DBFS:
            if self._last_loud is None:
                self._tell.send_nowait(tells.CallerSpeechStarted(at))
                self._tell.send_nowait(tells.CallerTakesTurn(at))
            self._last_loud, self._quiet = at, 0
            return
        self._quiet += len(pcm)
        if self._last_loud is not None and self._quiet >= QUIET:
            self.history.caller_said(WORDS)
            self._owes = True
            self._tell.send_nowait(tells.CallerText(WORDS))
            self._tell.send_nowait(tells.CallerSpeechEnded(at, self._last_loud))
            self._last_loud = None

    def answer(self) -> None:
        if self._owes:
            self._owes = False
            self._utter(ANSWER)

    def resume(self) -> None:
        if self.history.owed or self.history.agent_spoke_last:
            self._utter(ANSWER)
        else:
            self._tell.send_nowait(tells.NothingToSay("the history leaves nothing open"))

    async def say(self, text: str) -> SayOutcome:
        await trio.lowlevel.checkpoint()
        self._utter(text, aside=True)
        return SayOutcome.REPLACED

    def _utter(self, text: str, *, aside: bool = False) -> None:
        self.voice.begin(aside=aside, text=text)
        self.voice.audio(tone(self.seconds))
        self.voice.end()

    def interrupt(self) -> None:
        self.voice.cut()

    def probe(self) -> None:
        self._tell.send_nowait(tells.Alive())

    def feed_text(self, text: str) -> None:
        """It cannot read."""

    def feed_digits(self, digits: str) -> None:
        """It has no use for them."""

    def withhold(self) -> None:
        """Its words are on their way at once."""

    def started(self, utterance: int) -> None:
        """It keeps no record."""

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """It keeps no record."""

    def tool_result(self, call: str, result: str) -> None:
        """It uses no tools."""


@attrs.frozen(eq=False)
class Understudy:
    """The agent: always ready. `session` is the class of its sessions."""

    session: type[UnderstudySession] = UnderstudySession
    seconds: float = 0.5
    readiness, rates = Readiness(True), (RATE,)

    @asynccontextmanager
    async def open(
        self, call: CallInfo, history: History, playout: Playout, tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[UnderstudySession]:
        async with trio.open_nursery() as nursery:
            session = self.session(history, playout, self.seconds)
            nursery.start_soon(session.voice.run)
            yield session
            nursery.cancel_scope.cancel()

    async def synthesise(self, text: str) -> Sequence[Audio]:
        await trio.lowlevel.checkpoint()
        return [Audio(0, 0, tone(self.seconds), RATE)]
