"""What chan_websocket tells: control messages as JSON, parsed with a bound. Pure.

Source: Asterisk 22 channels/chan_websocket.c, the _create_event functions. A later Asterisk may tell more, in events
and in fields of events: what agentd does not know is passed over. What it knows has to be as it should.
"""

import re
from collections.abc import Mapping
from typing import Any

import attrs

from agentd.errors import MediaProtocolError
from agentd.parsing import load_json

LONGEST_EVENT = 64 * 1024
"""Characters. MEDIA_START is the longest: it has the channel's variables."""
LONGEST_TEXT = 200
"""Characters of a text of the peer's that is kept."""
_PLAIN = re.compile(r"[A-Z_]{3,40}(?: |$)")
"""How a control message begins that is no JSON, as in "MEDIA_START connection_id:..."."""


@attrs.frozen
class MediaStart:
    """The first event: what the channel carries. `frame_bytes` is what it plays in `frame_ms`, and 0 where it passes
    audio through as it comes."""

    audio_format: str
    frame_bytes: int
    frame_ms: int


@attrs.frozen
class MarkProcessed:
    """The frame behind this mark begins to be heard."""

    correlation_id: str


@attrs.frozen
class StopSending:
    """XOFF: the queue is nearly full."""


@attrs.frozen
class GoOnSending:
    """XON: the queue has room again."""


@attrs.frozen
class QueueDrained:
    """A frame was due, and the queue was empty."""


@attrs.frozen
class DigitEnded:
    """The caller has pressed a key: one ASCII character."""

    digit: str


@attrs.frozen
class CommandFailed:
    """ERROR: Asterisk does not do what it was told."""

    text: str


@attrs.frozen
class OtherEvent:
    """Something that agentd has no use for, or does not know."""

    name: str


Event = MediaStart | MarkProcessed | StopSending | GoOnSending | QueueDrained | DigitEnded | CommandFailed | OtherEvent

_BARE: Mapping[str, Event] = {
    "MEDIA_XOFF": StopSending(),
    "MEDIA_XON": GoOnSending(),
    "QUEUE_DRAINED": QueueDrained(),
}


def parse_event(text: str) -> Event:
    """The event that a text message holds. Raises MediaProtocolError for what is none, or none of agentd's kind."""
    if len(text) > LONGEST_EVENT:
        raise MediaProtocolError(f"an event of {len(text)} characters; at most {LONGEST_EVENT} are expected")
    if _PLAIN.match(text):
        raise MediaProtocolError(
            f"control messages are plain text, not JSON ({text!r:.60}): chan_websocket knows JSON from Asterisk 20.18, "
            "22.8 and 23.2 on"
        )
    try:
        fields = load_json(text)
    except ValueError as error:
        raise MediaProtocolError(f"an event should be JSON, not {text!r:.60}: {error}") from error
    if not isinstance(fields, dict):
        raise MediaProtocolError(f"an event should be a JSON object, not {text!r:.60}")
    name = _text(fields, "event")
    if (bare := _BARE.get(name)) is not None:
        return bare
    match name:
        case "MEDIA_START":
            return MediaStart(_text(fields, "format"), _count(fields, "optimal_frame_size"), _count(fields, "ptime"))
        case "MEDIA_MARK_PROCESSED":
            return MarkProcessed(_text(fields, "correlation_id"))
        case "DTMF_END":
            digit = _text(fields, "digit")
            if len(digit) != 1 or not digit.isascii() or not digit.isprintable():
                raise MediaProtocolError(f"DTMF_END should name one key, not {digit!r:.60}")
            return DigitEnded(digit)
        case "ERROR":
            return CommandFailed(_text(fields, "error_text"))
        case _:
            return OtherEvent(name)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise MediaProtocolError(f"{name} of an event should be a text, not {value!r:.60}")
    return value[:LONGEST_TEXT]


def _count(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 20:
        raise MediaProtocolError(f"{name} of an event should be a number of bytes or milliseconds, not {value!r:.60}")
    return value
