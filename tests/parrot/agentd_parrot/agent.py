"""The agent: it waits until the caller has been quiet for a moment, and says back what it heard."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import attrs
import trio

from agentd.agent import AgentSession, Audio, CallInfo, Capabilities, Playout, Readiness, SayOutcome, ToolDeclaration
from agentd.config.schema import positive, text
from agentd.config.settings import AgentConfig
from agentd.history import History
from agentd.session_events import Alive, CallerSpeechEnded, CallerText, NothingToSay, SessionEvent
from agentd_providers.event_queue import EventQueue
from agentd_providers.registry import Provider
from agentd_providers.shared import SharedServices
from agentd_providers.vendor.voice import VendorVoice

from .ear import Ear
from .sound import whistle


@attrs.frozen
class Settings:
    """The parrot: says back what it hears."""

    quiet_ms: Annotated[int, text("Silence after which the caller has finished.", positive)] = 700
    loud_dbfs: Annotated[float, text("Level from which on a sound may be the caller's voice.")] = -45.0


@attrs.frozen
class Reply:
    """What it will say: the words, as the history has them, and their sound."""

    words: str
    pcm: bytes


@attrs.define(eq=False)
class ParrotSession:
    """One call's. What each method is for: agentd.agent.AgentSession."""

    rate: int
    history: History
    ear: Ear
    voice: VendorVoice
    queue: EventQueue
    reply: Reply | None = None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(takes_turns=False, answers_probes=True)

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        return self.queue.events

    def feed(self, pcm: bytes, at: float) -> None:
        for event in self.ear.hear(pcm, at):
            if isinstance(event, CallerSpeechEnded):
                self._remember(self.ear.heard)
            self.queue.put(event)

    def _remember(self, pcm: bytes) -> None:
        """The caller has said something: what it was, a parrot cannot tell."""
        seconds = len(pcm) / (2 * self.rate)
        self.reply = Reply(f"({seconds:.1f} seconds of speech)", pcm)
        self.history.caller_said(self.reply.words)
        self.queue.put(CallerText(self.reply.words))

    def feed_text(self, text: str) -> None:
        """A parrot does not read."""

    def feed_digits(self, digits: str) -> None:
        """Keys mean nothing to it."""

    async def say(self, text: str) -> SayOutcome:
        self._utter(Reply(text, whistle(text, self.rate)), aside=True)
        await trio.lowlevel.checkpoint()
        return SayOutcome.REPLACED  # the caller hears whistles, not the words

    def answer(self) -> None:
        if self.reply is not None:
            self._utter(self.reply)
            self.reply = None

    def withhold(self) -> None:
        """What it may say is on its way at once: there is nothing to keep back."""

    def interrupt(self) -> None:
        self.voice.cut()  # the reply stays: it is for the turn that interrupts

    def started(self, utterance: int) -> None:
        """It does not mind being listened to."""

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """It keeps no record of its own that would have to be cut to what was heard."""

    def resume(self) -> None:
        if self.history.owed or self.history.agent_spoke_last:
            words = next(turn.text for turn in reversed(self.history.turns) if turn.text)
            self._utter(Reply(words, whistle(words, self.rate)))
        else:
            self.queue.put(NothingToSay("the history leaves nothing open"))

    def probe(self) -> None:
        self.queue.put(Alive())

    def tool_result(self, call: str, result: str) -> None:
        """It asks for no tools."""

    def _utter(self, reply: Reply, *, aside: bool = False) -> None:
        self.voice.begin(aside=aside, text=reply.words)
        self.voice.audio(reply.pcm)
        self.voice.end()


@attrs.frozen
class Parrot:
    """The agent, for as long as the daemon runs. It has no engines, and so it is always ready."""

    settings: Settings

    @property
    def readiness(self) -> Readiness:
        return Readiness(True)

    @property
    def rates(self) -> Sequence[int]:
        return (16000, 8000)

    @asynccontextmanager
    async def open(
        self, call: CallInfo, history: History, playout: Playout, tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[AgentSession]:
        ear = Ear(call.rate, self.settings.quiet_ms, self.settings.loud_dbfs)
        queue = EventQueue()
        voice = VendorVoice(playout, call.rate, queue.put)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(voice.run)
            yield ParrotSession(call.rate, history, ear, voice, queue)
            queue.close()
            nursery.cancel_scope.cancel()

    async def synthesise(self, text: str) -> Sequence[Audio]:
        return [Audio(generation=0, utterance=0, pcm=whistle(text, 8000), rate=8000)]


@asynccontextmanager
async def open_parrot(name: str, config: AgentConfig, shared: SharedServices) -> AsyncIterator[Parrot]:
    """The agent called `name`. An engine that several agents share would be opened here, by `shared.use`."""
    assert isinstance(config.settings, Settings)
    yield Parrot(config.settings)


PROVIDER = Provider(Settings, open_parrot)
