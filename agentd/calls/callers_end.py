"""What happens at the caller's end of a call, and who is there: keys, holds, another party in the caller's place.

A hold is known here a moment before the conversation has heard of it, for the caller's sound is music on hold from
then on.
"""

from collections.abc import Callable
from typing import Protocol

import attrs
import structlog
import trio

from agentd.calls.caller_identity import CallerIdentity
from agentd.calls.fields import set_call_fields
from agentd.conversation import events as happens
from agentd.conversation.commands import Destination
from agentd.media.dtmf import DigitFilter, DigitSource
from agentd.media.leg import MediaSource
from agentd.party import Party
from agentd.tools.runner import ToolLine

log = structlog.get_logger("agentd.call")


class CallersLine(MediaSource, ToolLine, Protocol):
    """The caller's end of the call: a channel of Asterisk's (agentd.ari.channel), or a connection without ARI."""

    async def next_event(self) -> happens.CallerEvent:
        """The next thing that happens at the caller's end. For one reader, from the call's begin to its end."""
        ...

    async def meet_successor(self) -> Party:
        """Who has taken the caller's place, or stands behind the caller's channel now, once that is told. Raises
        nothing; cancelled where another one has come since."""
        ...

    async def leave(self, result: str, destination: Destination | None = None) -> bool:
        """Hand the caller over to the dialplan, at `destination` if there is one; false if there is nobody to hand
        over. The caller's channel is not ours afterwards."""
        ...


@attrs.define(eq=False)
class CallersEnd:
    """One call's. None of the callables may block: `tell` posts an event to the conversation, `acted` is told of each
    sign of life, `pressed` that a key was pressed, `unbridged` that the caller may hear the media leg no more."""

    line: CallersLine
    identity: CallerIdentity
    tell: Callable[[object], None]
    acted: Callable[[], None]
    pressed: Callable[[], None]
    unbridged: Callable[[], None]
    held: bool = attrs.field(default=False, init=False)
    """The caller's line is on hold, which the conversation is told a moment later."""
    _digits: DigitFilter = attrs.field(factory=DigitFilter, init=False)

    async def follow(self) -> None:
        """Tell what happens there, until cancelled."""
        while True:
            event = await self.line.next_event()
            match event:
                case happens.DigitPressed(digit):
                    self.digit(DigitSource.SIGNALLING, digit)
                case happens.HoldBegan() | happens.HoldEnded():
                    self._hold_changed(event, isinstance(event, happens.HoldBegan))
                    log.info("on hold" if self.held else "off hold")
                case happens.CallerReplaced(channel):
                    set_call_fields(channel=channel)
                    self._hold_changed(event, False)
                    log.info("another party has taken the caller's place")
                    self.identity.replaced()
                case happens.CallerChanged():
                    self.identity.changed()
                case happens.CallerUnbridged():
                    self.unbridged()
                case _:
                    self.tell(event)

    def digit(self, source: DigitSource, digit: str) -> None:
        """Take a key that was told of by `source`, or told of a second time."""
        if self._digits.accept(source, digit, trio.current_time()):
            self.acted()
            self.pressed()
            self.tell(happens.DigitPressed(digit))

    def _hold_changed(self, event: happens.CallerEvent, held: bool) -> None:
        self.held = held
        self.acted()
        self.tell(event)
