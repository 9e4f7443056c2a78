"""The words that a vendor understood of the caller, on their way to the history and the call. Pure.

A vendor's agent takes the turns by its own ear, and tells neither how sure it was nor what of a transcript stands for a
sound: that is left out here, as a pipeline leaves it out. Whether somebody spoke at all is the vendor's to judge.
"""

from collections.abc import Iterator

from agentd import session_events as tells
from agentd.history import Place
from agentd_providers.turns.tags import without_tags
from agentd_providers.vendor import commands as do


def caller_words(transcript: str, place: Place | None = None) -> Iterator[do.Command]:
    """What is to be done with the transcript of a turn, which belongs at `place` of the history, or at its end."""
    heard = transcript.strip()
    words = without_tags(heard)
    if words != heard:
        yield do.Tell(tells.CallerWordsDropped("tag"))
    if words:
        yield do.RecordCaller(words, place)
        yield do.Tell(tells.CallerText(words))
