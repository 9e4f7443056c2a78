"""Pure: what is to be done about the channels and bridges that the PBX has."""

from enum import Enum

from agentd.ari.events import Channel


class Fate(Enum):
    """What becomes of a channel that no call of this agentd owns."""

    HAND_BACK = "a caller in our application: goes on in the dialplan"
    REMOVE = "a part of a media leg: is hung up"
    LEAVE_ALONE = "not ours"


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
