"""Pure: what is to be done, by what the PBX has and what calls own. Events may have been lost; a listing tells all."""

from collections.abc import Mapping, Set
from enum import Enum

import attrs

from agentd.ari.events import Channel

NOTHING: frozenset[str] = frozenset()


class Fate(Enum):
    """What becomes of a channel that no call of this agentd owns."""

    HAND_BACK = "a caller in our application: goes on in the dialplan"
    REMOVE = "a part of a media leg: is hung up"
    LEAVE_ALONE = "not ours"


@attrs.frozen
class Owned:
    """What is accounted for at one moment, by ids."""

    callers: Set[str] = NOTHING
    """Callers whose calls believe them to be in the application."""
    parts: Set[str] = NOTHING
    """Whatever else calls own: channels and bridges of their legs, callers who are being handed over."""
    owed: Set[str] = NOTHING
    """Channels whose hand-back is owed."""

    def __or__(self, other: "Owned") -> "Owned":
        return Owned(self.callers | other.callers, self.parts | other.parts, self.owed | other.owed)

    def __and__(self, other: "Owned") -> "Owned":
        return Owned(self.callers & other.callers, self.parts & other.parts, self.owed & other.owed)

    def __contains__(self, object_id: str) -> bool:
        return object_id in self.callers or object_id in self.parts or object_id in self.owed


@attrs.frozen
class Listing:
    """What the PBX has. `subscribed`: the channels whose events come to the application."""

    channels: Mapping[str, Channel]
    bridges: Set[str] = NOTHING
    subscribed: Set[str] = NOTHING

    def in_application(self, channel: str, app: str) -> bool:
        """Whether the channel is in the application. One that does not tell is taken by its subscription, which may
        outlive its stay."""
        known = self.channels.get(channel)
        if known is None:
            return False
        return known.application == app if known.application is not None else channel in self.subscribed


@attrs.frozen
class Work:
    """What is to be done."""

    left: Set[str] = NOTHING
    """Callers whose calls are to be told that they have left."""
    paid: Set[str] = NOTHING
    """Channels to which nothing is owed any more."""
    watch: Set[str] = NOTHING
    """Callers whose events no longer come."""
    hand_back: Set[str] = NOTHING
    channels: Set[str] = NOTHING
    """Channels to hang up."""
    bridges: Set[str] = NOTHING
    """Bridges to destroy."""
    suspects: Set[str] = NOTHING
    """What is decided only if the next listing says the same."""


def leg_id(app: str, part: str, uuid: str) -> str:
    """The id of a channel or bridge of a media leg of the application `app`; known before it exists, so that it can be
    removed whatever happens to the request that makes it."""
    return f"{app}-leg-{part}-{uuid}"


def is_leg(app: str, object_id: str) -> bool:
    """Whether the id is one of `leg_id`'s."""
    return object_id.startswith(f"{app}-leg-")


def fate(channel: Channel, app: str) -> Fate:
    """What becomes of a channel that no call owns, in the eyes of the application `app`.

    A leg's channel is known by its id, wherever it is: the far half of a fork runs the dialplan. A caller is known by
    the Stasis() that the channel runs. That an application is subscribed to a channel tells less: it may be subscribed
    to one that has left it.
    """
    if is_leg(app, channel.id):
        return Fate.REMOVE
    return Fate.HAND_BACK if channel.application == app else Fate.LEAVE_ALONE


def decide(
    app: str, listing: Listing, before: Owned, after: Owned, suspects: Set[str] = NOTHING, *, ours: bool = True
) -> Work:
    """What is to be done. `before` and `after`: what was accounted for when the listing was asked for, and when it had
    come. `suspects` are those of the last one. `ours`: whether the application is; where it is not, what looks
    abandoned may be another program's.

    A channel that is not there is gone for good. A channel that is there and seems to be where it should not is judged
    when it was seen so twice: its StasisStart may be on the way; the channel may run another application for a moment.
    The parts of legs are accounted for before they are asked for, so that one that is not is nobody's.
    """
    lasting, ever = before & after, before | after
    gone = {channel for channel in lasting.callers | lasting.owed if channel not in listing.channels}
    astray = {
        channel for channel in (lasting.callers | lasting.owed) - gone if not listing.in_application(channel, app)
    }
    out = gone | (astray & suspects)
    left, paid = lasting.callers & out, lasting.owed & out
    if not ours:
        return Work(left=left, paid=paid, suspects=astray - suspects)
    becomes = {channel.id: fate(channel, app) for channel in listing.channels.values() if channel.id not in ever}
    abandoned = {channel for channel, what in becomes.items() if what is Fate.HAND_BACK}
    return Work(
        left=left,
        paid=paid,
        watch=lasting.callers - out - astray - listing.subscribed,
        hand_back=abandoned & suspects,
        channels={channel for channel, what in becomes.items() if what is Fate.REMOVE},
        bridges={bridge for bridge in listing.bridges if is_leg(app, bridge) and bridge not in ever},
        suspects=(astray | abandoned) - suspects,
    )
