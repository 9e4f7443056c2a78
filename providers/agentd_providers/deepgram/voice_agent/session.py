"""One call's conversation with the Deepgram Voice Agent: its messages as events, its audio into the playout.

Everything is decided by the machine (deepgram.voice_agent.machine). Here are its ears: one task reads, one keeps the
time, one pings when a sign of life is asked for, and what the call asks comes in between; each of them takes one step,
and has its hands (agentd_providers.vendor.hands) do what that commands.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import structlog
import trio

from agentd import deadlines
from agentd import session_events as tells
from agentd.agent import Capabilities, Playout, SayOutcome
from agentd.errors import ProviderUnavailable
from agentd.history import History
from agentd.session_events import SessionEvent
from agentd_providers.deepgram.voice_agent.events import AgentAudio, Event, SettingsApplied, VendorError, Welcome
from agentd_providers.deepgram.voice_agent.machine import DeepgramMachine
from agentd_providers.deepgram.voice_agent.reader import EventReader
from agentd_providers.deepgram.voice_agent.settings import DeepgramAgentSettings
from agentd_providers.event_queue import EventQueue
from agentd_providers.vendor import inputs
from agentd_providers.vendor.hands import SessionHands
from agentd_providers.vendor.socket import VendorSocket
from agentd_providers.vendor.voice import VendorVoice

log = structlog.get_logger("agentd_providers.deepgram")

SAY_DEADLINE = deadlines.VENDOR_SAY.seconds
PROBE_DEADLINE = deadlines.VENDOR_PROBE.seconds
TICK = 0.25
"""Seconds between looks at what has become due."""


@attrs.define(eq=False)
class DeepgramSession:
    """See agentd.agent.AgentSession. Made by `open_session`.

    `conceal` takes secrets out of what Deepgram says. `heard(utterance)` and `started` have nothing to tell Deepgram,
    which takes the caller to have heard all that it sent.
    """

    settings: DeepgramAgentSettings
    history: History
    playout: Playout
    rate: int
    socket: VendorSocket
    on_unknown: Callable[[str], None]
    observe_delay: Callable[[float], None]
    conceal: Callable[[str], str]
    _voice: VendorVoice = attrs.field(init=False)
    _events: EventQueue = attrs.field(factory=EventQueue, init=False)
    _reader: EventReader = attrs.field(init=False)
    _machine: DeepgramMachine = attrs.field(init=False)
    _hands: SessionHands = attrs.field(init=False)
    _saying: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _probed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._voice = VendorVoice(self.playout, self.rate, self._events.put)
        self._reader = EventReader(self.on_unknown, self.conceal)
        self._machine = DeepgramMachine(self.settings, self.history, self.conceal, began=trio.current_time())
        self._hands = SessionHands(
            self.history,
            self.socket,
            self._voice,
            self._events,
            log,
            decode=bytes,
            first=lambda _kind: True,
            count=self._reader.count,
            lost=self._end,
        )

    # --- its life

    async def begin(self, settings_message: Mapping[str, Any]) -> None:
        """Wait for Welcome, send Settings, wait until they are applied. The caller sets the deadline.

        Raises ProviderUnavailable, or ProviderRejected where the settings are at fault.
        """
        await self._await(Welcome)
        self.socket.send(settings_message)
        await self._await(SettingsApplied)

    async def _await(self, kind: type) -> None:
        while True:
            message = self._reader.read(await self.socket.receive())
            if isinstance(message, kind):
                return
            if isinstance(message, VendorError):
                raise self._reader.failure(message)

    async def run(self) -> None:
        """Carry the conversation, until cancelled: all of the session's tasks."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._voice.run)
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._answer_probes)
            await self._read()
            await trio.sleep_forever()  # what has come of the voice is still brought to the playout

    def close(self) -> None:
        """Audio from now on is dropped: nobody hears it."""
        self._events.close()
        self._step(inputs.Closed())

    async def _read(self) -> None:
        while not self._events.ended:
            try:
                message = await self.socket.receive()
            except ProviderUnavailable as error:
                self._end(self.conceal(str(error)))
                return
            if isinstance(message, bytes):
                self._step(AgentAudio(message))
            elif (event := self._reader.read(message)) is not None:
                self._step(event)

    async def _keep_time(self) -> None:
        """Look at what has become due, until cancelled."""
        lost = 0
        while True:
            await trio.sleep(TICK)
            if not lost and (lost := self.socket.dropped_audio + self.socket.dropped_messages):
                self._events.put(tells.Degraded("Deepgram takes audio too slowly, or sends faster than it can be read"))
            self._step(inputs.Tick())

    async def _answer_probes(self) -> None:
        """Ping whenever a sign of life is asked for, until cancelled. One ping at a time."""
        while True:
            await self._probed.wait()
            self._probed = trio.Event()
            if await self.socket.ping(PROBE_DEADLINE):
                self._events.put(tells.Alive())

    # --- the contract

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            takes_turns=True,
            truncates=False,
            speaks_verbatim=True,
            takes_text=True,
            longest_pause=self._machine.turns.longest_pause,
            answers_probes=True,
        )

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        return self._events.events

    def feed(self, pcm: bytes, at: float) -> None:
        """Send caller audio on, whatever it holds: Deepgram counts silence by it, and ends a session without any."""
        if self._events.ended or not pcm:
            return
        self.observe_delay(trio.current_time() - at)
        self._step(inputs.CallerAudio(pcm, at))
        self.socket.send_audio(pcm)

    def feed_text(self, text: str) -> None:
        """Take text as a whole turn of the caller's."""
        self._step(inputs.CallerWrote(text))

    def feed_digits(self, digits: str) -> None:
        """Digits are not taken (see capabilities)."""

    async def say(self, text: str) -> SayOutcome:
        """Have words spoken, after those that were asked for before.

        Deepgram refuses while the caller or the agent is in the middle of a turn. Cancelling stops waiting only.
        """
        async with self._saying:
            saying = self._hands.expect()
            try:
                self._step(inputs.Say(saying.number, text))
                with trio.move_on_after(SAY_DEADLINE):
                    await saying.decided.wait()
                if not saying.decided.is_set():
                    self._step(inputs.SayOver(saying.number))
                    late = f"Deepgram did not speak what it was asked to within {SAY_DEADLINE:g} s"
                    self._events.put(tells.Degraded(late))
            finally:
                self._hands.forget(saying)
            return saying.outcome

    def answer(self) -> None:
        """Let the answer to the turn that is over into the playout."""
        self._step(inputs.Answer())

    def withhold(self) -> None:
        """Nothing to do: a caller who makes a sound takes the turn at once, and that drops the answer."""

    def interrupt(self) -> None:
        """Drop what Deepgram says, and goes on saying; the answer to the turn that interrupts stays."""
        self._step(inputs.Interrupt())

    def started(self, utterance: int) -> None:
        """Nothing to tell Deepgram."""

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """Nothing to tell Deepgram."""

    def probe(self) -> None:
        """Ping: Deepgram has no message that is answered at once."""
        self._probed.set()

    def resume(self) -> None:
        """Give Deepgram the words again that its history was given without, or ask it to go on."""
        self._step(inputs.Resume())

    def tool_result(self, call: str, result: str) -> None:
        """Record what a tool gave, and tell Deepgram, unless that has taken the request back."""
        self._step(inputs.ToolResult(call, result))

    # --- a step

    def _step(self, event: inputs.Input | Event) -> None:
        for command in self._machine.step(event, trio.current_time()):
            self._hands.carry_out(command)

    def _end(self, failure: str) -> None:
        """Tell that the session is over. An utterance that is open stays so: it is not complete."""
        self._step(inputs.Lost(failure))


@asynccontextmanager
async def open_session(session: DeepgramSession) -> AsyncIterator[DeepgramSession]:
    """Run a session that has begun, for as long as the block is entered."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        try:
            yield session
        finally:
            nursery.cancel_scope.cancel()
            session.close()
