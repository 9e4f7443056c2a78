"""ARI events: pure, JSON text in and frozen objects out. Unknown events and fields are survived.

Source: Asterisk 22 rest-api/api-docs/events.json. Only what agentd reads is kept.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.ari.caller_id import caller_name, caller_number
from agentd.errors import AriError
from agentd.parsing import load_json


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
        )


@attrs.frozen
class StasisStart:
    """A channel entered our application; `args` are those of the dialplan's Stasis()."""

    channel: Channel
    args: tuple[str, ...] = ()


@attrs.frozen
class StasisEnd:
    """A channel left our application."""

    channel: Channel


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
            return StasisStart(Channel.parse(raw["channel"]), tuple(_text(arg) for arg in raw.get("args") or ()))
        case "StasisEnd":
            return StasisEnd(Channel.parse(raw["channel"]))
        case "ChannelDestroyed":
            return ChannelDestroyed(Channel.parse(raw["channel"]), int(raw.get("cause") or 0))
        case "ChannelDtmfReceived":
            return DtmfReceived(Channel.parse(raw["channel"]), _text(raw["digit"]))
        case "ChannelHold" | "ChannelUnhold":
            return Hold(Channel.parse(raw["channel"]), kind == "ChannelHold")
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


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
