"""Reads the messages of a Realtime session, whatever the server sends: what nobody can use is counted, and the log does
not fill with it."""

from collections.abc import Callable

import attrs
import structlog

from agentd.errors import ProviderProtocolError
from agentd_providers.openai.realtime.events import VENDOR, Event, SessionCreated, Unknown, parse
from agentd_providers.vendor.json_object import parse_object

log = structlog.get_logger("agentd_providers.openai")

METRIC = "openai_realtime"
MOST_UNREADABLE = 50
"""Messages in a row that may be unreadable."""
MOST_TOLD = 16
"""Kinds of trouble that the log is told of at most."""


@attrs.define(eq=False)
class EventReader:
    """One session's. `on_unknown(METRIC)` counts what is unreadable or of an unknown type; the log is told of the first
    of a kind, in words that hold nothing of the message. `opening`: session.created may come, which it may but once."""

    on_unknown: Callable[[str], None]
    opening: bool = False
    _unreadable: int = attrs.field(default=0, init=False)
    _told: set[str] = attrs.field(factory=set, init=False)

    @property
    def hopeless(self) -> bool:
        """Whether nothing but unreadable messages has come for long."""
        return self._unreadable >= MOST_UNREADABLE

    def read(self, message: str | bytes) -> Event | None:
        """The event that a message tells; None where we need none of it."""
        try:
            event = self._parse(message)
        except ProviderProtocolError as error:
            self._unreadable += 1
            self.on_unknown(METRIC)
            tell = log.warning if self.first(str(error)) else log.debug
            tell("a message that cannot be read", error=str(error))
            return None
        self._unreadable = 0
        if isinstance(event, Unknown):
            self.on_unknown(METRIC)
            log.debug("a message of an unknown type", message_type=event.type)
            return None
        return event

    def first(self, kind: str) -> bool:
        """Whether this is the first trouble of its kind, so that the log is to be told of it."""
        if kind in self._told or len(self._told) >= MOST_TOLD:
            return False
        self._told.add(kind)
        return True

    def _parse(self, message: str | bytes) -> Event | Unknown | None:
        if isinstance(message, bytes):
            raise ProviderProtocolError(f"{VENDOR}: expected text, got bytes")
        try:
            fields = parse_object(VENDOR, message)
        except ProviderProtocolError:  # which repeats the message
            raise ProviderProtocolError(f"{VENDOR}: expected a JSON object, got something else") from None
        event = parse(fields)
        if isinstance(event, SessionCreated):
            if not self.opening:
                raise ProviderProtocolError(f"{VENDOR}: expected one session.created, got another")
            self.opening = False
        return event
