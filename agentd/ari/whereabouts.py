"""Pure: what is known of the channels that came into the application, and what is done about news of one.

An event may come twice, late, before another that happened earlier, or not at all. One stay is one time in the
application, from a StasisStart to its StasisEnd; a channel may have several, one after the other. A stay goes over to
another channel by an attended transfer: Asterisk puts the other party's channel in the place of the transferer's, which
is told by a StasisStart without arguments that has `replace_channel`, before the StasisEnd of the one that was
replaced. Sources: Asterisk 22 res/res_stasis.c (`channel_replaced_cb`, for a channel in no bridge),
res/stasis/stasis_bridge.c (`bridge_stasis_push_peek`, for one in a bridge: the new channel is a Local channel at
`transfer,_attended`, which has no dialplan to go on with).
"""

from collections import OrderedDict
from enum import Enum

import attrs

from agentd.ari.events import (
    Channel,
    ChannelDestroyed,
    Event,
    PlaybackFinished,
    PlaybackStarted,
    StasisEnd,
    StasisStart,
)
from agentd.ari.hand_back import RETURN, WITHOUT_WAY_BACK
from agentd.conversation.commands import Destination

REMEMBERED = 4096
"""Channels of which something is known at most; those of which there was no news for the longest time go first."""


class Known(Enum):
    """What is known of a channel."""

    NOTHING = "nothing, or nothing any more"
    IN = "it is in the application"
    OUT = "its last stay is over"
    REPLACED = "another channel has taken its place"


class News(Enum):
    """What an event tells of a channel, in the light of what is known."""

    ENTERED = "StasisStart of a stay that was not known of"
    TOOK_PLACE = "such a one, with `replace_channel`"
    REPEATED = "StasisStart of a stay that is known of: the same second, told twice"
    OUTDATED = "StasisStart or StasisEnd from before the stay that is known of"
    LEFT = "StasisEnd"
    DESTROYED = "ChannelDestroyed"
    PLAYED = "how a playback goes: it is named after the channel on which it began"
    OTHER = "a digit, a hold, a variable, or anything else"


class Deed(Enum):
    """What is done."""

    BEGIN = "a call begins; one that had the channel before is told that its caller has left"
    INHERIT = "a call begins, with the arguments and the way back of the stay that was replaced"
    TAKE_OVER = "the call, or what is owed, goes on with the channel that took the place"
    END = "the call is told that its caller has left; nothing is owed any more"
    TELL = "the call that has the channel is told"
    TELL_SUCCESSOR = "the call that has the channel which took the place is told"
    IGNORE = "nothing"
    ASK = "nothing, and Asterisk is asked what there is"


TABLE: dict[News, dict[Known, Deed]] = {
    News.ENTERED: dict.fromkeys(Known, Deed.BEGIN),
    # By what is known of the channel that was replaced.
    News.TOOK_PLACE: dict.fromkeys(Known, Deed.INHERIT) | {Known.IN: Deed.TAKE_OVER},
    News.REPEATED: dict.fromkeys(Known, Deed.IGNORE),
    News.OUTDATED: dict.fromkeys(Known, Deed.ASK),
    News.LEFT: dict.fromkeys(Known, Deed.IGNORE) | {Known.NOTHING: Deed.END, Known.IN: Deed.END},
    News.DESTROYED: dict.fromkeys(Known, Deed.END) | {Known.REPLACED: Deed.IGNORE},
    News.PLAYED: dict.fromkeys(Known, Deed.TELL) | {Known.REPLACED: Deed.TELL_SUCCESSOR},
    News.OTHER: dict.fromkeys(Known, Deed.IGNORE) | {Known.NOTHING: Deed.TELL, Known.IN: Deed.TELL},
}


@attrs.frozen
class Origin:
    """The way back of a channel that took another's place: what the dialplan would have done with that one."""

    place: Destination
    fallback: str
    """AGENTD_FALLBACK of the channel that was replaced."""


@attrs.define
class _Stay:
    """What is known of one channel."""

    known: Known
    since: float | None
    """When it entered, by Asterisk's clock; None where that was not told."""
    args: tuple[str, ...] = ()
    extension: str = ""
    origin: Origin | None = None
    """None: it goes on where Stasis() was called."""
    way_back: Origin | None = None
    """The origin of a channel that takes its place."""
    successor: str = ""


@attrs.frozen
class Entrance:
    """How a channel's stay began, for an agentd that comes after this one. `origin` as in Whereabouts.origin."""

    args: tuple[str, ...] = ()
    extension: str = ""
    origin: Origin | None = None


@attrs.frozen
class Decision:
    """What is done about an event."""

    deed: Deed
    event: Event
    """A StasisStart that inherits has what it inherits."""
    channel: str = ""
    """The channel whose call it concerns."""
    replaced: str = ""
    """The channel whose place was taken."""


@attrs.define
class Whereabouts:
    """What is known of channels, by the events so far."""

    _stays: OrderedDict[str, _Stay] = attrs.field(factory=OrderedDict, init=False)

    def known(self, channel: str) -> Known:
        """What is known of the channel."""
        stay = self._stays.get(channel)
        return Known.NOTHING if stay is None else stay.known

    def origin(self, channel: str) -> Origin | None:
        """The way back of a channel that took another's place; None for one that came by itself."""
        stay = self._stays.get(channel)
        return None if stay is None else stay.origin

    def entrance(self, channel: str) -> Entrance:
        """How the stay began that the channel is in, as far as it is known."""
        stay = self._stays.get(channel)
        return Entrance() if stay is None else Entrance(stay.args, stay.extension, stay.origin)

    def adopt(self, channel: Channel, entrance: Entrance) -> None:
        """A channel is in the application since before our time, and its stay goes on."""
        way_back = entrance.origin or _way_back(channel, entrance.args)
        stay = _Stay(Known.IN, None, entrance.args, entrance.extension, entrance.origin, way_back)
        self._remember(channel.id, stay)

    def take(self, event: Event) -> Decision:
        """Decide about an event of a channel, and remember what it tells."""
        channel = event.channel
        if channel is None:
            return Decision(Deed.IGNORE, event)
        news = self._news(event, channel.id)
        match event:
            case StasisStart(replaces=Channel() as replaced) if news is News.TOOK_PLACE:
                deed = TABLE[news][self.known(replaced.id)]
                return Decision(deed, self._succeed(event, replaced), channel.id, replaced.id)
        deed = TABLE[news][self.known(channel.id)]
        if deed is Deed.TELL_SUCCESSOR:
            return Decision(deed, event, self._last_successor(channel.id))
        match event:
            case StasisStart() if deed is Deed.BEGIN:
                way_back = _way_back(channel, event.args)
                self._remember(channel.id, _Stay(Known.IN, event.at, event.args, channel.extension, None, way_back))
            case StasisEnd() | ChannelDestroyed() if deed is Deed.END and (stay := self._stays.get(channel.id)):
                stay.known = Known.OUT
        return Decision(deed, event, channel.id)

    def _news(self, event: Event, channel: str) -> News:
        stay = self._stays.get(channel)
        match event:
            case StasisStart(at=at) if stay is not None and stay.since is not None and at is not None:
                if at == stay.since:
                    return News.REPEATED
                if at < stay.since:
                    return News.OUTDATED
            case StasisEnd(at=at) if stay is not None and stay.since is not None and at is not None:
                return News.OUTDATED if at < stay.since else News.LEFT
        match event:
            case StasisStart(replaces=replaced):
                return News.ENTERED if replaced is None or replaced.id == channel else News.TOOK_PLACE
            case StasisEnd():
                return News.LEFT
            case ChannelDestroyed():
                return News.DESTROYED
            case PlaybackStarted() | PlaybackFinished():
                return News.PLAYED
        return News.OTHER

    def _succeed(self, event: StasisStart, replaced: Channel) -> StasisStart:
        """Remember that a channel took the place of another; gives the event with what it inherits."""
        before = self._stays.get(replaced.id)
        if before is None:  # before our time: the event tells as much as Asterisk knows
            before = _Stay(Known.OUT, None, replaced.arguments, replaced.extension)
            before.way_back = _way_back(replaced, replaced.arguments)
        before.known, before.successor = Known.REPLACED, event.channel.id
        self._remember(replaced.id, before)
        args = event.args or before.args
        way_back = before.origin or before.way_back
        stay = _Stay(Known.IN, event.at, args, before.extension, origin=way_back, way_back=way_back)
        self._remember(event.channel.id, stay)
        return attrs.evolve(event, args=args, channel=attrs.evolve(event.channel, extension=before.extension))

    def _last_successor(self, channel: str) -> str:
        seen = {channel}
        while (stay := self._stays.get(channel)) and stay.known is Known.REPLACED and stay.successor not in seen:
            channel = stay.successor
            seen.add(channel)
        return channel

    def _remember(self, channel: str, stay: _Stay) -> None:
        self._stays[channel] = stay
        self._stays.move_to_end(channel)
        while len(self._stays) > REMEMBERED:
            self._stays.popitem(last=False)


def _way_back(channel: Channel, args: tuple[str, ...]) -> Origin | None:
    """Where the dialplan goes on with a channel that entered from there; None where that was not told. Of a successor
    before our time it is not told either, but it must not be where there is no dialplan."""
    if channel.place is None:
        return None
    if channel.place == WITHOUT_WAY_BACK:
        return Origin(RETURN, "")
    fallback = next((arg.partition("=")[2] for arg in args if arg.startswith("fallback=")), "")
    return Origin(attrs.evolve(channel.place, priority=channel.place.priority + 1), fallback.replace("|", ","))
