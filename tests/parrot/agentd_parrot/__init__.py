"""A parrot for agentd: it waits until the caller has been quiet for a moment, and says back what it heard."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import attrs
import numpy as np
import structlog
import trio

from agentd import agent
from agentd import session_events as told
from agentd.audio.level import rms_dbfs
from agentd.config.schema import positive, text
from agentd.config.settings import AgentConfig
from agentd.history import History
from agentd_providers.registry import Provider
from agentd_providers.vendor.voice import VendorVoice


@attrs.frozen
class Settings:
    """The parrot: says back what it hears."""

    quiet_ms: Annotated[int, text("Silence after which the caller has finished.", positive)] = 700
    loud_dbfs: Annotated[float, text("Level from which on a sound may be the caller's voice.")] = -45.0


def whistle(words: str, rate: int) -> bytes:
    """Words that it has not heard a parrot can only whistle, a tone for each: slin at `rate` Hz."""
    tone = 6000 * np.hanning(rate // 5) * np.sin(np.arange(rate // 5) * 2 * np.pi * 1200 / rate)
    return (tone.astype("<i2").tobytes() + bytes(rate // 10 * 2)) * len(words.split()[:20])


class Session:
    """One call's. What each method is for: agentd.agent.AgentSession."""

    capabilities = agent.Capabilities(takes_turns=False, answers_probes=True)

    def __init__(self, rate: int, history: History, playout: agent.Playout, settings: Settings) -> None:
        self.rate, self.history, self.settings = rate, history, settings
        self.send, self.events = trio.open_memory_channel[told.SessionEvent](256)
        self.voice = VendorVoice(playout, rate, self.tell)
        self.interrupt = self.voice.cut
        self.turn, self.spoken, self.replies = bytearray(), 0, list[tuple[str, bytes]]()  # spoken: to its last sound

    def tell(self, event: told.SessionEvent) -> None:
        try:
            self.send.send_nowait(event)
        except trio.WouldBlock:
            structlog.get_logger().error("a session event found its queue full and was dropped", told=type(event))

    def feed(self, pcm: bytes, at: float) -> None:
        loud, before, second = rms_dbfs(pcm) >= self.settings.loud_dbfs, self.spoken, 2 * self.rate
        if loud and not self.turn:
            self.tell(told.CallerSpeechStarted(at))
        self.turn += pcm if loud or self.turn else b""
        self.spoken = len(self.turn) if loud else before
        if before < second / 5 <= self.spoken:  # longer than a click
            self.tell(told.CallerTakesTurn(at))
        quiet = (len(self.turn) - self.spoken) / second
        if quiet * 1000 >= self.settings.quiet_ms or len(self.turn) > 20 * second:
            heard, self.turn, self.spoken = bytes(self.turn[: self.spoken]), bytearray(), 0
            if len(heard) < second / 5:
                self.tell(told.CallerSpeechDismissed("too short to be speech"))
                return
            self.replies = [(f"({len(heard) / second:.1f} seconds of speech)", heard)]
            self.history.caller_said(self.replies[0][0])
            self.tell(told.CallerText(self.replies[0][0]))
            self.tell(told.CallerSpeechEnded(at, at - quiet))

    def utter(self, words: str, pcm: bytes = b"", *, aside: bool = False) -> None:
        self.voice.begin(aside=aside, text=words)
        self.voice.audio(pcm or whistle(words, self.rate))
        self.voice.end()

    async def say(self, text: str) -> agent.SayOutcome:
        self.utter(text, aside=True)
        await trio.lowlevel.checkpoint()
        return agent.SayOutcome.REPLACED

    def answer(self) -> None:
        while self.replies:
            self.utter(*self.replies.pop())

    def resume(self) -> None:
        if self.history.owed or self.history.agent_spoke_last:
            self.utter(next(turn.text for turn in reversed(self.history.turns) if turn.text))
        else:
            self.tell(told.NothingToSay("the history leaves nothing open"))

    def probe(self) -> None:
        self.tell(told.Alive())

    def never_mind(self, *_: object) -> None:
        """A parrot reads nothing, uses no tools, and has no memory; what it may say is on its way at once."""

    feed_text = feed_digits = withhold = started = heard = tool_result = never_mind


class Parrot:
    """The agent: it has no engines, and so it is always ready."""

    readiness, rates = agent.Readiness(True), (16000, 8000)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @asynccontextmanager
    async def open(
        self, call: agent.CallInfo, history: History, playout: agent.Playout, tools: Sequence[object] = ()
    ) -> AsyncIterator[Session]:
        async with trio.open_nursery() as nursery:
            session = Session(call.rate, history, playout, self.settings)
            nursery.start_soon(session.voice.run)
            yield session
            nursery.cancel_scope.cancel()

    async def synthesise(self, text: str) -> Sequence[agent.Audio]:
        return [agent.Audio(0, 0, whistle(text, 8000), 8000)]


@asynccontextmanager
async def open_parrot(name: str, config: AgentConfig, shared: object) -> AsyncIterator[Parrot]:
    assert isinstance(config.settings, Settings)
    yield Parrot(config.settings)


PROVIDER = Provider(Settings, open_parrot)
