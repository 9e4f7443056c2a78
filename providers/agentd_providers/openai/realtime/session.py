"""One call's session with OpenAI Realtime: the server hears, thinks and speaks.

Everything is decided by the machine (agentd_providers.openai.realtime.machine). Here are its ears: one task reads, one
keeps the time, one knows when the session has to be renewed, and what the call asks comes in between; each of them
takes one step, and has its hands (agentd_providers.vendor.hands) do what that commands. Messages wait in the socket's
queue: nothing of the contract but `say` ever waits.
"""

import time
from collections.abc import AsyncIterator, Callable

import attrs
import structlog
import trio

from agentd import deadlines
from agentd import session_events as tells
from agentd.agent import Capabilities, SayOutcome
from agentd.errors import ProviderUnavailable
from agentd.history import History
from agentd.session_events import SessionEvent
from agentd_providers.event_queue import EventQueue
from agentd_providers.openai.realtime import messages
from agentd_providers.openai.realtime.audio import RealtimeAudio
from agentd_providers.openai.realtime.events import VENDOR, Event
from agentd_providers.openai.realtime.machine import RealtimeMachine
from agentd_providers.openai.realtime.reader import METRIC, MOST_UNREADABLE, EventReader
from agentd_providers.openai.realtime.settings import RealtimeSettings
from agentd_providers.vendor import inputs
from agentd_providers.vendor.hands import SessionHands
from agentd_providers.vendor.socket import VendorSocket
from agentd_providers.vendor.voice import VendorVoice

log = structlog.get_logger("agentd_providers.openai")

RENEWAL_LEAD = 120.0
"""Seconds before the server's limit at which the session wants to be renewed; of a short session, a quarter."""
ANSWERING = 1.0
"""Seconds that the server may take, beyond the silence that ends a turn, until something of its answer comes."""
SAY_DEADLINE = deadlines.VENDOR_SAY.seconds
TICK = 0.25
"""Seconds between looks at what has become due."""


@attrs.define(eq=False)
class RealtimeSession:
    """See agentd.agent.AgentSession. `instructions` is the prompt; `on_unknown` counts messages that nobody
    knows, by vendor, `observe_delay` is told how late caller audio is."""

    settings: RealtimeSettings
    history: History
    socket: VendorSocket
    audio: RealtimeAudio
    voice: VendorVoice
    instructions: str
    observe_delay: Callable[[float], None]
    on_unknown: Callable[[str], None]
    _machine: RealtimeMachine = attrs.field(init=False, repr=False)
    _events: EventQueue = attrs.field(factory=EventQueue, init=False)
    _reader: EventReader = attrs.field(init=False)
    _hands: SessionHands = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.voice.emit = self._events.put
        self._reader = EventReader(self.on_unknown)
        self._machine = RealtimeMachine(
            self.settings.turn, self.instructions, self.history, self.audio, self.voice.playout.number
        )
        self._hands = SessionHands(
            self.history,
            self.socket,
            self.voice,
            self._events,
            log,
            decode=self.audio.decode,
            first=self._reader.first,
            count=lambda: self.on_unknown(METRIC),
            lost=self._end,
        )

    # --- its tasks

    async def run(self) -> None:
        """Read what the server tells, and keep the time, until the session is over."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            while not self._events.ended:
                try:
                    message = await self.socket.receive()
                except ProviderUnavailable as error:
                    self._end(str(error))
                else:
                    self._read(message)
            nursery.cancel_scope.cancel()

    def _read(self, message: str | bytes) -> None:
        if (event := self._reader.read(message)) is not None:
            self._step(event)
        elif self._reader.hopeless:
            self._end(f"{VENDOR}: {MOST_UNREADABLE} messages in a row could not be read")

    async def _keep_time(self) -> None:
        """Look at what has become due, until cancelled."""
        lost = 0
        while True:
            await trio.sleep(TICK)
            if not lost and (lost := self.socket.dropped_messages):
                self._events.put(tells.Degraded(f"{VENDOR} sends faster than it can be read: some of it is lost"))
            self._step(inputs.Tick())

    async def ask_for_renewal(self, expires_at: float) -> None:
        """Tell when the session has to be renewed. `expires_at`: the server's word for it in seconds since 1970, or 0;
        a clock that is wrong can only bring it forward."""
        limit = self.settings.session_minutes * 60
        left = expires_at - time.time()
        if RENEWAL_LEAD / 2 < left < limit:
            limit = left
        lead = min(RENEWAL_LEAD, limit / 4)
        await trio.sleep(limit - lead)
        self._events.put(tells.RenewalDue(lead))

    def close(self) -> None:
        """Requests from now on are dropped: nobody answers them."""
        self._events.close()
        self._step(inputs.Closed())

    # --- the contract

    @property
    def capabilities(self) -> Capabilities:
        turn = self.settings.turn
        return Capabilities(
            takes_turns=turn.vendor_answers,
            truncates=True,
            takes_text=True,
            longest_pause=turn.longest_pause + ANSWERING,
            answers_probes=True,
        )

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        return self._events.events

    def feed(self, pcm: bytes, at: float) -> None:
        """See agentd.agent.AgentSession.feed."""
        self.observe_delay(trio.current_time() - at)
        if self._events.ended:
            return
        audio = self.audio.encode(pcm)
        self._step(inputs.CallerAudio(pcm, at, sent=self.audio.seconds(audio) if self._send_audio(audio) else 0))

    def _send_audio(self, audio: bytes) -> bool:
        """Whether the socket takes a piece of audio."""
        dropped = self.socket.dropped_audio
        if audio:
            self.socket.send_audio(messages.audio_append(audio))
        if self.socket.dropped_audio == dropped:
            return True
        if not dropped:
            self._events.put(tells.Degraded(f"{VENDOR} takes the caller's audio too slowly: some of it is lost"))
        return False

    def feed_text(self, text: str) -> None:
        """Take text as a whole turn of the caller."""
        self._step(inputs.CallerWrote(text))

    def feed_digits(self, digits: str) -> None:
        """Digits are nothing to the server: see `capabilities`."""

    async def say(self, text: str) -> SayOutcome:
        """Have words spoken, which the model may change. Refused while a response is on its way or in progress.

        Cancelled, nobody wants to hear them any more: what has not begun to be spoken is given up.
        """
        saying = self._hands.expect()
        try:
            self._step(inputs.Say(saying.number, text))
            with trio.move_on_after(SAY_DEADLINE):
                await saying.decided.wait()
        finally:
            self._step(inputs.SayOver(saying.number))
            self._hands.forget(saying)
        return saying.outcome

    def answer(self) -> None:
        """See agentd.agent.AgentSession.answer."""
        self._step(inputs.Answer())

    def withhold(self) -> None:
        """See agentd.agent.AgentSession.withhold."""
        self._step(inputs.Withhold())

    def interrupt(self) -> None:
        """See agentd.agent.AgentSession.interrupt."""
        self._step(inputs.Interrupt())

    def started(self, utterance: int) -> None:
        """See agentd.agent.AgentSession.started."""
        self._step(inputs.Started(utterance))

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """See agentd.agent.AgentSession.heard."""
        self._step(inputs.Heard(utterance, milliseconds, completed))

    def resume(self) -> None:
        """See agentd.agent.AgentSession.resume."""
        self._step(inputs.Resume())

    def probe(self) -> None:
        """See agentd.agent.AgentSession.probe."""
        self._step(inputs.Probe())

    def tool_result(self, call: str, result: str) -> None:
        """See agentd.agent.AgentSession.tool_result."""
        self._step(inputs.ToolResult(call, result))

    # --- a step

    def _step(self, event: inputs.Input | Event) -> None:
        for command in self._machine.step(event, trio.current_time()):
            self._hands.carry_out(command)

    def _end(self, failure: str) -> None:
        """Tell that the session is over, and why."""
        self._step(inputs.Lost(failure))
