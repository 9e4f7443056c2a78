"""What an Asterisk that is none knows of a channel."""

from collections import deque
from enum import StrEnum

import attrs
import trio

from tests.walk.phone import MediaPeer


class Place(StrEnum):
    """Where a channel is."""

    STASIS = "stasis"
    DIALPLAN = "dialplan"
    GONE = "gone"


class Sort(StrEnum):
    """What a channel is for."""

    CALLER = "caller"
    MEDIA = "media"
    FAR_HALF = "far half"
    SNOOP = "snoop"


@attrs.define(eq=False)
class PlayingFile:
    """A playback of a channel's; the first one of a channel is heard, the others wait."""

    id: str
    media: str
    left: float
    """Seconds."""
    started: bool = False
    paused: bool = False
    changed: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@attrs.define(eq=False)
class PbxChannel:
    """One channel."""

    id: str
    name: str
    sort: Sort
    place: Place
    up: bool = True
    bridge: str | None = None
    spied: str | None = None
    """The channel that a snoop hears."""
    twin: str | None = None
    """The other half of a Local channel."""
    peer: MediaPeer | None = None
    extension: str = "600"
    variables: dict[str, str] = attrs.field(factory=dict)
    playing: deque[PlayingFile] = attrs.field(factory=deque)
    silence: bool = False
