"""What a recording says, in words: the project's own speech engine, used as the lab's ear."""

import difflib
import re
from functools import partial

import trio

from agentd_providers.local import moonshine, piper
from agentd_providers.local.models import catalogue

from .measure import speech_spans

MODEL, VOICE = "moonshine-tiny-en", "en_US-joe-medium"
RATE = 8000
ENOUGH = 0.6
"""How alike what was heard and what was spoken must be: sentences of other words have half of that in common."""
FEW = 2
"""So many words, and no others around them, are misheard as often as not: "To-day," for "Goodbye."."""
_ear = trio.CapacityLimiter(1)
_NUMBERS = dict(
    zip(
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
        strict=True,
    )
)


async def transcribe(pcm: bytes) -> str:
    """The words of a recording (8 kHz slin); empty where there is no speech in it."""
    spans = speech_spans(pcm, join_seconds=1.0)
    if not spans:
        return ""
    first = max(int((spans[0].start - 0.2) * RATE), 0) * 2
    last = int((spans[-1].end + 0.2) * RATE) * 2
    model = str(catalogue.locate(MODEL))
    return await trio.to_thread.run_sync(partial(moonshine.transcribe, model, pcm[first:last], RATE), limiter=_ear)


async def speak(text: str) -> bytes:
    """Words for a caller to say (8 kHz slin), with the silence around them that the start of a call needs."""
    voice = str(catalogue.locate(VOICE))
    pcm = await trio.to_thread.run_sync(partial(piper.synthesise, voice, 2, 1.0, text, RATE), limiter=_ear)
    return bytes(RATE) + pcm + bytes(RATE // 2)


def words(text: str) -> list[str]:
    """A text's words, without case, punctuation, and the difference between 3 and three, to-day and today."""
    return [_NUMBERS.get(word, word) for word in re.findall(r"[a-z0-9']+", text.lower().replace("-", ""))]


def likeness(expected: str, heard: str) -> float:
    """How much of the words of two texts agrees, in order: 1.0 all, 0.0 nothing."""
    return difflib.SequenceMatcher(None, words(expected), words(heard), autojunk=False).ratio()


def confirms(spoken: str, heard: str, enough: float = ENOUGH) -> bool:
    """Whether what was heard may be what was spoken: most words or letters agree, or both are no more than a few words.

    Words are run together and cut apart elsewhere ("Francis Perris" for "France is Paris"): their letters stay.
    """
    if not words(spoken) or not words(heard):
        return False
    if len(words(spoken)) <= FEW:
        return len(words(heard)) <= FEW + 1
    letters = difflib.SequenceMatcher(None, "".join(words(spoken)), "".join(words(heard)), autojunk=False)
    return max(likeness(spoken, heard), letters.ratio()) >= enough
