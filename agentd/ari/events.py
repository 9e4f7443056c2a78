"""ARI events: pure, JSON text in and frozen objects out. Unknown events and fields are survived.

Source: Asterisk 22 rest-api/api-docs/events.json. Only what agentd reads is kept.
"""

import re
from calendar import timegm
from collections.abc import Mapping
from typing import Any

import attrs

from agentd.ari.caller_id import caller_name, caller_number
from agentd.conversation.commands import Destination
from agentd.errors import AriError
from agentd.parsing import load_json

TIMESTAMP = re.compile(r"(\d{4})-([01]\d)-([0-3]\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})([+-])(\d\d)(\d\d)", re.ASCII)
"""As Asterisk writes it: "2026-11-23T16:05:12.401+0000" (main/json.c, `ast_json_timeval`)."""


@attrs.frozen
class Channel:
    """A channel as events and requests show it. What comes from the caller is cleaned (agentd.ari.caller_id), and not
    to be trusted all the same."""

    id: str
    name: str = ""
    state: str = ""
    caller_number: str = ""
    caller_name: str = ""
    extension: str = ""
    application: str | None = None
    """The ARI application whose Stasis() the channel runs, in a bridge too; empty in any other place of the dialplan,
    None where that is not told."""
    place: Destination | None = None
    """Where in the dialplan it is."""
    arguments: tuple[str, ...] = ()
    """Those of the Stasis() that it runs, after the application."""

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> "Channel":
        """Read ARI's Channel model; raises AriError if it has no id, or is another thing."""
        if not (channel_id := _text(raw.get("id"))):
            raise AriError(f"a channel without an id in ARI's answer: {str(raw)[:200]}")
        caller, dialplan = _fields(raw, "caller"), _fields(raw, "dialplan")
        return cls(
            channel_id,
            _text(raw.get("name")),
            _text(raw.get("state")),
            caller_number(_text(caller.get("number"))),
            caller_name(_text(caller.get("name"))),
            caller_number(_text(dialplan.get("exten"))),
            _application(dialplan),
            _place(dialplan),
            _arguments(dialplan),
        )


@attrs.frozen
class StasisStart:
    """A channel entered our application; `args` are those of the dialplan's Stasis()."""

    channel: Channel
    args: tuple[str, ...] = ()
    at: float | None = None
    """Seconds by Asterisk's clock, to a millisecond; None where it is not told."""
    replaces: Channel | None = None
    """The channel in whose place this one is: it was in the application, and has left it."""


@attrs.frozen
class StasisEnd:
    """A channel left our application."""

    channel: Channel
    at: float | None = None
    """See StasisStart.at."""


@attrs.frozen
class ChannelDestroyed:
    channel: Channel
    cause: int = 0


@attrs.frozen
class DtmfReceived:
    channel: Channel
    digit: str


@attrs.frozen
class Hold:
    """The channel's own side put the call on hold, or took it back (ChannelHold, ChannelUnhold).

    Asterisk tells both as they come from the telephone, whatever the channel is doing (main/channel.c:
    ast_queue_hold, ast_queue_unhold).
    """

    channel: Channel
    held: bool


@attrs.frozen
class LeftBridge:
    """A channel is in a bridge no more (ChannelLeftBridge), by whose doing ever."""

    channel: Channel
    bridge: str


@attrs.frozen
class HangupRequested:
    """The channel is to be hung up, by its own side or by anybody (ChannelHangupRequest). Nothing of the kind comes
    before a StasisEnd where somebody has taken the channel elsewhere, nor where its time is over: see
    agentd.ari.departure."""

    channel: Channel


@attrs.frozen
class ConnectedLine:
    """The channel is connected with this number and name from now on (ChannelConnectedLine)."""

    channel: Channel
    number: str = ""
    name: str = ""


@attrs.frozen
class VarSet:
    """A channel variable was set (ChannelVarset)."""

    channel: Channel
    variable: str
    value: str


@attrs.frozen
class PlaybackStarted:
    playback: str
    channel: Channel


@attrs.frozen
class PlaybackFinished:
    """`state` is "done", or "failed" where Asterisk could not play the file."""

    playback: str
    channel: Channel
    state: str


@attrs.frozen
class UserEvent:
    """Somebody asked for this event (ChannelUserevent); of ours no channel is told."""

    name: str
    channel: Channel | None = None


@attrs.frozen
class ApplicationReplaced:
    """Another program has taken over the application."""

    application: str
    channel: None = None


@attrs.frozen
class Other:
    """An event that agentd does not read."""

    type: str
    channel: Channel | None = None


Event = (
    StasisStart
    | StasisEnd
    | ChannelDestroyed
    | DtmfReceived
    | Hold
    | LeftBridge
    | HangupRequested
    | ConnectedLine
    | VarSet
    | PlaybackStarted
    | PlaybackFinished
    | UserEvent
    | ApplicationReplaced
    | Other
)


def parse_event(text: str | bytes) -> Event:
    """Read one event. Raises AriError when the text is not a JSON object with a type."""
    try:
        raw = load_json(text)
    except ValueError as error:
        raise AriError(f"an ARI event that is not JSON ({error}): {text[:200]!r}") from error
    kind = raw.get("type") if isinstance(raw, dict) else None
    if not isinstance(kind, str):
        raise AriError(f"an ARI event without a type: {text[:200]!r}")
    try:
        return _parse(kind, raw)
    except (AriError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise AriError(f"a malformed ARI event {kind} ({error!r}): {text[:200]!r}") from error


def _parse(kind: str, raw: Mapping[str, Any]) -> Event:
    match kind:
        case "StasisStart":
            args = tuple(_text(arg) for arg in raw.get("args") or ())
            replaced = raw.get("replace_channel")
            replaces = Channel.parse(replaced) if replaced else None
            return StasisStart(Channel.parse(raw["channel"]), args, _seconds(raw.get("timestamp")), replaces)
        case "StasisEnd":
            return StasisEnd(Channel.parse(raw["channel"]), _seconds(raw.get("timestamp")))
        case "ChannelDestroyed":
            return ChannelDestroyed(Channel.parse(raw["channel"]), int(raw.get("cause") or 0))
        case "ChannelDtmfReceived":
            return DtmfReceived(Channel.parse(raw["channel"]), _text(raw["digit"]))
        case "ChannelHold" | "ChannelUnhold":
            return Hold(Channel.parse(raw["channel"]), kind == "ChannelHold")
        case "ChannelLeftBridge":
            return LeftBridge(Channel.parse(raw["channel"]), _text(raw["bridge"]["id"]))
        case "ChannelHangupRequest":
            return HangupRequested(Channel.parse(raw["channel"]))
        case "ChannelConnectedLine":
            other = _fields(raw["channel"], "connected")
            number, name = caller_number(_text(other.get("number"))), caller_name(_text(other.get("name")))
            return ConnectedLine(Channel.parse(raw["channel"]), number, name)
        case "ChannelVarset" if "channel" in raw:  # a global variable has none
            return VarSet(Channel.parse(raw["channel"]), _text(raw["variable"]), _text(raw.get("value")))
        case "PlaybackStarted" | "PlaybackFinished":
            playback = raw["playback"]
            kind_of_target, _, target = _text(playback.get("target_uri")).partition(":")
            channel = Channel(target if kind_of_target == "channel" else "")
            if kind == "PlaybackStarted":
                return PlaybackStarted(_text(playback["id"]), channel)
            return PlaybackFinished(_text(playback["id"]), channel, _text(playback.get("state")))
        case "ChannelUserevent":
            return UserEvent(_text(raw.get("eventname")), _channel_of(raw))
        case "ApplicationReplaced":
            return ApplicationReplaced(_text(raw.get("application")))
        case _:
            return Other(kind, _channel_of(raw))


def _fields(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a channel, which may be left out. Raises AriError where it has no fields."""
    value = raw.get(name) or {}
    if not isinstance(value, dict):
        raise AriError(f"a channel whose {name} has no fields: {str(raw)[:200]}")
    return value


def _channel_of(raw: Mapping[str, Any]) -> Channel | None:
    channel = raw.get("channel")
    return Channel.parse(channel) if isinstance(channel, dict) and channel.get("id") else None


def _application(dialplan: Mapping[str, Any]) -> str | None:
    """Source: Asterisk 22 main/pbx_app.c, `pbx_exec`: a channel has its application's name and data while it runs."""
    if "app_name" not in dialplan:
        return None
    return _text(dialplan.get("app_data")).partition(",")[0].strip() if dialplan["app_name"] == "Stasis" else ""


def _place(dialplan: Mapping[str, Any]) -> Destination | None:
    context, extension, priority = (dialplan.get(key) for key in ("context", "exten", "priority"))
    if not isinstance(priority, int) or priority < 1 or not context or not extension:
        return None
    return Destination(_text(context), _text(extension), priority)


def _arguments(dialplan: Mapping[str, Any]) -> tuple[str, ...]:
    if dialplan.get("app_name") != "Stasis":
        return ()
    return tuple(_text(dialplan.get("app_data")).split(",")[1:])


def _seconds(timestamp: object) -> float | None:
    read = TIMESTAMP.fullmatch(_text(timestamp))
    if read is None:
        return None
    *calendar, milliseconds = (int(number) for number in read.group(1, 2, 3, 4, 5, 6, 7))
    sign, hours, minutes = read.group(8, 9, 10)
    offset = (int(hours) * 60 + int(minutes)) * 60
    return timegm(tuple(calendar)) + milliseconds / 1000 - (offset if sign == "+" else -offset)


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
