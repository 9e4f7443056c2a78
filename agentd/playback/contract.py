"""What every way of playback offers to the call."""

from collections.abc import Callable
from typing import Protocol

import attrs

from agentd.agent import Audio
from agentd.playout import UtteranceStream


@attrs.frozen
class Heard:
    """What reached the caller of an utterance.

    `text` are the words heard, `generated` all that were spoken by the agent; they differ after a stop.
    """

    milliseconds: int
    completed: bool
    text: str
    generated: str


class Playback(Protocol):
    """One call's playback. One utterance at a time."""

    async def play(self, stream: UtteranceStream, on_started: Callable[[], None]) -> Heard:
        """Play an utterance to its end, or until it is interrupted or stopped.

        `on_started` is called when the caller begins to hear it. Raises PlaybackError when it cannot be
        played. Cancelling it stops the sound; nothing is left behind.
        """
        ...

    async def announce(self, announcement: "Announcement") -> None:
        """Play an announcement to its end. Raises PlaybackError."""
        ...

    async def stop(self) -> None:
        """Stop what is being played, at once."""
        ...


@attrs.frozen
class Announcement:
    """Words that must be exact: a sound that Asterisk has ("sound:NAME"), or audio of our own."""

    sound: str = ""
    audio: tuple[Audio, ...] = ()
