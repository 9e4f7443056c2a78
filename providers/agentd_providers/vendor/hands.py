"""The hands of a vendor's session: what its machine commands (commands) is done here, by the socket, the voice, the
history, the queue of events and the log."""

import itertools
from collections.abc import Callable, Iterator

import attrs
import trio
from structlog.typing import FilteringBoundLogger

from agentd import budgets
from agentd import session_events as tells
from agentd.agent import SayOutcome
from agentd.errors import ProviderUnavailable
from agentd.history import History
from agentd_providers.event_queue import EventQueue
from agentd_providers.vendor import commands as do
from agentd_providers.vendor.socket import VendorSocket
from agentd_providers.vendor.voice import VendorVoice


@attrs.define(eq=False)
class Saying:
    """Words whose outcome somebody waits for."""

    number: int
    decided: trio.Event = attrs.field(factory=trio.Event)
    outcome: SayOutcome = SayOutcome.REFUSED


@attrs.define(eq=False)
class SessionHands:
    """One session's. `decode(audio)` gives the slin of what is to be spoken, `first(kind)` whether a trouble is the
    first of its kind; `count()` counts what nobody can use; `lost(reason)` is told where nothing can be sent any more.
    Nothing here waits."""

    history: History
    socket: VendorSocket
    voice: VendorVoice
    events: EventQueue
    log: FilteringBoundLogger
    decode: Callable[[bytes], bytes]
    first: Callable[[str], bool]
    count: Callable[[], None]
    lost: Callable[[str], None]
    _sayings: dict[int, Saying] = attrs.field(factory=dict, init=False)
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False, repr=False)

    def expect(self) -> Saying:
        """Somebody waits for what becomes of words; to be forgotten afterwards."""
        saying = Saying(next(self._numbers))
        self._sayings[saying.number] = saying
        return saying

    def forget(self, saying: Saying) -> None:
        """Nobody waits any more."""
        del self._sayings[saying.number]

    def carry_out(self, command: do.Command) -> None:
        """Do what is commanded."""
        match command:
            case do.Send(message):
                self._send(message)
            case do.Tell(event):
                self.events.put(event)
            case do.Begin(utterance, aside, text):
                self.voice.begin(aside=aside, text=text, number=utterance)
            case do.Words(text):
                self.voice.words(text)
            case do.Speak(audio):
                self.voice.audio(self.decode(audio))
            case do.Finish():
                self.voice.end()
            case do.Cut():
                self.voice.cut()
            case do.Hold():
                self.voice.hold()
            case do.Release():
                self.voice.release()
            case do.Decide(number, outcome):
                if saying := self._sayings.get(number):
                    saying.outcome = outcome
                    saying.decided.set()
            case do.RecordCaller(text, place):
                self.history.caller_said(text, place)
            case do.RecordTool(use):
                self.history.tool_used(use)
            case do.Degrade(kind, reason):
                self._degrade(kind, reason)
            case do.Count():
                self.count()
            case do.Exceeded(budget):
                budgets.count_exceeded(budget)
            case do.Warn(text, details, once):
                if not once or self.first(once):
                    self.log.warning(text, **details)
            case do.Note(text, details):
                self.log.debug(text, **details)
            case do.End(failure):
                self.events.end(failure)

    def _send(self, message: do.Message) -> None:
        if self.events.ended:
            return
        try:
            self.socket.send(message)
        except ProviderUnavailable as error:
            self.lost(str(error))

    def _degrade(self, kind: str, reason: str) -> None:
        """Tell what went wrong: the first time of its kind, so that the log does not fill with it."""
        if self.first(kind):
            self.events.put(tells.Degraded(reason))
        else:
            self.log.debug("the same trouble again", reason=reason)
