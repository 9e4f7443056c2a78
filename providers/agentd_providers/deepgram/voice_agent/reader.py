"""Reads the messages of a Voice Agent session, whatever Deepgram sends: what nobody can use is counted, the log does
not fill with it, and nothing that is told shows a secret of ours.

Errors: https://developers.deepgram.com/docs/voice-agent-errors-warnings
"""

from collections.abc import Callable

import attrs
import structlog

from agentd.errors import ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd_providers.deepgram.voice_agent.events import Event, Unknown, VendorError, parse, shown

log = structlog.get_logger("agentd_providers.deepgram")

METRIC = "deepgram"
MOST_TOLD = 32
"""Types of messages that the log is told of at most."""
OUR_FAULT = frozenset(
    {
        "UNPARSABLE_CLIENT_MESSAGE",
        "NON_SETTINGS_MESSAGE_BEFORE_SETTINGS",
        "SETTINGS_ALREADY_APPLIED",
        "INVALID_SETTINGS",
        "USER_AUDIO_FORMAT",
        "AGENT_ID_NOT_SUPPORTED",
        "INVALID_AGENT_ID",
    }
)
"""Errors that trying again does not mend."""


@attrs.define(eq=False)
class EventReader:
    """One session's. `on_unknown(METRIC)` counts what is unreadable or of an unknown type; the log is told of the first
    of a type. `conceal` takes secrets out of what Deepgram says."""

    on_unknown: Callable[[str], None]
    conceal: Callable[[str], str]
    _told: set[str] = attrs.field(factory=set, init=False)

    def read(self, message: str | bytes) -> Event | None:
        """A message that we know; None for what we do not, or cannot read, which is counted."""
        if isinstance(message, bytes):
            self.count()
            return None
        try:
            event = parse(self.conceal(message))  # before an error shows a part of it
        except ProviderProtocolError as error:
            kind, why = "unreadable", str(error)
        else:
            if not isinstance(event, Unknown):
                return event
            kind, why = event.type, "the type is not known"
        self.count()
        if kind not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(kind)
            log.warning(
                "a message of Deepgram's is passed over", message_type=self.conceal(kind), reason=self.conceal(why)
            )
        return None

    def count(self) -> None:
        """Something came that nobody can use."""
        self.on_unknown(METRIC)

    def failure(self, error: VendorError) -> ProviderError:
        """The exception that an error of Deepgram's, which ends the session, is to the session's user."""
        kind = ProviderRejected if error.code in OUR_FAULT else ProviderUnavailable
        return kind(f"Deepgram reports an error: {shown(error, self.conceal)}")
