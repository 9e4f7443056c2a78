"""The contract of playback, which streaming and files meet."""

from collections.abc import Callable
from typing import Protocol

import attrs

from agentd.agent import Audio
from agentd.playout import UtteranceSource


@attrs.frozen
class Heard:
    """The part of an utterance that reached the caller.

    `text` are the words heard, `generated` all that were spoken by the agent; they differ after a stop.
    """

    milliseconds: int
    completed: bool
    text: str
    generated: str


@attrs.frozen
class PlaybackListener:
    """The callbacks that tell how an utterance goes. Neither call may block.

    `started()`: the caller begins to hear the utterance. `segment(text)`: the caller begins to hear a segment of it
    (after `started`, for the first one too).
    """

    started: Callable[[], None]
    segment: Callable[[str], None]


class Playback(Protocol):
    """One call's playback. One utterance at a time.

    How soon the caller hears a change, and how exact `Heard` is, differs: streaming within two frames (40 ms) and to
    one frame (20 ms), files within an ARI request and to 250 ms.
    """

    @property
    def heard_at(self) -> float:
        """When the caller last heard any sound of it, in seconds; -math.inf: never yet."""
        ...

    @property
    def so_far(self) -> Heard | None:
        """How much the caller has heard of the utterance that is being played; None while there is none."""
        ...

    async def play(self, stream: UtteranceSource, listener: PlaybackListener) -> Heard:
        """Play an utterance to its end, or until it is interrupted or stopped.

        Raises PlaybackError when it cannot be played. Cancelling it stops the sound; nothing is left behind.
        """
        ...

    async def announce(self, announcement: "Announcement") -> None:
        """Play an announcement to its end. Raises PlaybackError."""
        ...

    async def attenuate(self) -> None:
        """Go on more quietly: the caller has made a sound. Files cannot: there it does nothing."""
        ...

    async def pause(self) -> None:
        """Fall silent without losing the place: the caller may be taking the turn."""
        ...

    async def restore(self) -> None:
        """Go on at full level where it was paused: it was nothing. Undoes `attenuate` and `pause`."""
        ...

    async def stop(self) -> None:
        """Stop what is being played for good, at once; a paused or attenuated playback is itself again after it."""
        ...


@attrs.frozen
class Announcement:
    """Words that must be exact: a sound that Asterisk has ("sound:NAME"), or audio of our own.

    `instead` is a sound of Asterisk's, which needs no file of ours, for when the audio cannot be played.
    """

    sound: str = ""
    audio: tuple[Audio, ...] = ()
    instead: str = ""
