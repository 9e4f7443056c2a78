"""Deepgram's messages about live audio, and the words of a turn made of them. Pure.

https://developers.deepgram.com/docs/live-streaming-audio, docs/understand-endpointing-interim-results, docs/finalize,
docs/models-languages-overview. Times are in seconds of the audio that Deepgram got on the connection: by them a result
finds its turn. Each final result is about audio that no other final result is about; an interim one may be replaced.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from agentd.errors import ProviderProtocolError
from agentd_providers.vendor.json_object import SHOWN, parse_object

VENDOR = "Deepgram"
KEEP_ALIVE: Mapping[str, Any] = {"type": "KeepAlive"}
FINALIZE: Mapping[str, Any] = {"type": "Finalize"}
UNCONCERNED = ("Metadata", "SpeechStarted", "UtteranceEnd")
"""Messages that are known and tell nothing that is asked for."""
TOLERANCE = 0.1
"""Seconds by which a result's end may miss that of the audio: less than the silence of a pause."""
REGIONS = {
    "da": ("DK",),
    "de": ("CH",),
    "en": ("US", "AU", "GB", "NZ", "IN"),
    "es": ("419",),
    "fr": ("CA",),
    "ko": ("KR",),
    "nl": ("BE",),
    "pt": ("BR", "PT"),
    "sv": ("SE",),
    "th": ("TH",),
    "zh": ("CN", "Hans", "TW", "Hant", "HK"),
}
"""The languages that Deepgram knows by region too; of all others it knows the language alone."""
LONGEST_TRANSCRIPT = 8000
MOST_WORDS = 2000


def language_code(language: str) -> str:
    """A language (BCP 47) as Deepgram calls it."""
    alone, _, region = language.partition("-")
    return language if region in REGIONS.get(alone, ()) else alone.lower()


@attrs.frozen
class Word:
    """A word as it is written, and the second of its middle."""

    text: str
    at: float


@attrs.frozen
class Results:
    """The words from second `start` to second `end` of a connection's audio."""

    start: float
    end: float
    transcript: str
    words: tuple[Word, ...] = ()
    is_final: bool = False
    from_finalize: bool = False

    def between(self, begin: float, end: float) -> str:
        """The part of it that was said between two seconds."""
        if begin <= self.start + TOLERANCE and self.end <= end + TOLERANCE:
            return self.transcript
        return " ".join(word.text for word in self.words if begin <= word.at < end)


def parse(message: str | bytes) -> Results | None:
    """A message of Deepgram's; None for one that tells nothing that is asked for.

    Raises ProviderProtocolError for one that is unknown, or is not what it should be.
    """
    if isinstance(message, bytes):
        raise ProviderProtocolError(f"{VENDOR}: expected text, got {len(message)} bytes")
    fields = parse_object(VENDOR, message)
    if (kind := fields.get("type")) != "Results":
        if kind in UNCONCERNED:
            return None
        raise ProviderProtocolError(f"{VENDOR}: unknown message {str(kind)[:SHOWN]!r}")
    start = _seconds(fields, "start")
    end = start + _seconds(fields, "duration")
    best = _best(fields)
    transcript, words = best.get("transcript"), best.get("words")
    if transcript is None:
        transcript = ""
    if not isinstance(transcript, str) or len(transcript) > LONGEST_TRANSCRIPT:
        raise ProviderProtocolError(f"{VENDOR}: expected a transcript, got {str(transcript)[:SHOWN]!r}")
    if words is None:
        words = []
    if not isinstance(words, list) or len(words) > MOST_WORDS:
        raise ProviderProtocolError(f"{VENDOR}: expected words, got {str(words)[:SHOWN]!r}")
    is_final, from_finalize = fields.get("is_final"), fields.get("from_finalize") is True
    if is_final is None:
        is_final = from_finalize or fields.get("speech_final")
    return Results(start, end, " ".join(transcript.split()), _words(words, start), is_final is True, from_finalize)


def _best(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was said, most likely; empty where nothing was: with null, too, the result settles its seconds."""
    channel = fields.get("channel")
    alternatives = channel.get("alternatives") if isinstance(channel, dict) else channel
    if alternatives is None:
        return {}
    if not isinstance(alternatives, list):
        raise ProviderProtocolError(f"{VENDOR}: expected alternatives, got {str(channel)[:SHOWN]!r}")
    told = [alternative for alternative in alternatives if alternative is not None]
    if not all(isinstance(alternative, dict) for alternative in told):
        raise ProviderProtocolError(f"{VENDOR}: expected alternatives, got {str(channel)[:SHOWN]!r}")
    return told[0] if told else {}


def _words(words: Sequence[Any], start: float) -> tuple[Word, ...]:
    """The words; one that is not written down is none, one of no time stands where the one before it does."""
    found: list[Word] = []
    for raw in words:
        if raw is None:
            continue
        text = _written(raw)
        at = found[-1].at if found else start
        if raw.get("start") is not None and raw.get("end") is not None:
            at = (_seconds(raw, "start") + _seconds(raw, "end")) / 2
        if text is not None:
            found.append(Word(text, at))
    return tuple(found)


def _written(raw: Any) -> str | None:
    """A word as it is to be shown: with its capitals and marks, where Deepgram gives them."""
    if not isinstance(raw, dict):
        raise ProviderProtocolError(f"{VENDOR}: expected a word, got {str(raw)[:SHOWN]!r}")
    for name in ("punctuated_word", "word"):
        text = raw.get(name)
        if isinstance(text, str):
            return text
        if text is not None:
            raise ProviderProtocolError(f"{VENDOR}: expected a word, got {str(raw)[:SHOWN]!r}")
    return None


def _seconds(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not 0 <= value < 1e9
        or not math.isfinite(value)
    ):
        raise ProviderProtocolError(f"{VENDOR}: expected {name} in seconds, got {str(value)[:SHOWN]!r}")
    return float(value)


@attrs.define
class TurnWords:
    """The words of one turn, whose audio begins at second `begin` of the connection's, and ends at second `end`."""

    begin: float
    end: float = math.inf
    settled_to: float = attrs.field(init=False)
    """Second up to which what was said is final."""
    heard_to: float = attrs.field(init=False)
    """Second up to which something was told of it."""
    _settled: list[str] = attrs.field(factory=list, init=False)
    _interim: str = attrs.field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self.settled_to = self.heard_to = self.begin

    @property
    def text(self) -> str:
        """The words as known now: the final ones, and those that may still change."""
        return " ".join(filter(None, (*self._settled, self._interim)))

    def take(self, results: Results) -> None:
        """Take a result; what it tells of other turns, or once more, is left out."""
        if results.end <= self.settled_to or results.start >= self.end:
            return
        said = results.between(self.settled_to, self.end)
        reached = min(results.end, self.end)
        self.heard_to = max(self.heard_to, reached)
        if not results.is_final:
            self._interim = said
            return
        self._settled.append(said)
        self._interim, self.settled_to = "", reached

    def move(self, begin: float) -> None:
        """The words that are not final begin at second `begin` of another connection."""
        self._interim, self.begin, self.end = "", begin, math.inf
        self.settled_to = self.heard_to = begin


@attrs.define
class Finalizes:
    """The Finalize messages that are not answered, by the second that the audio had reached.

    An answer is not guaranteed where there is little audio: then a final result that reaches so far will do.
    """

    _open: list[float] = attrs.field(factory=list, init=False)

    def ask(self, at: float) -> bool:
        """Whether one must be sent to have everything up to second `at`; else one that was sent will do."""
        if at in self._open:
            return False
        self._open.append(at)
        return True

    def take(self, results: Results) -> None:
        """A final result answers each whose audio it reaches, and if it says so at least the oldest."""
        if not results.is_final:
            return
        if results.from_finalize and self._open:
            del self._open[0]
        self._open = [at for at in self._open if at > results.end + TOLERANCE]

    def is_answered(self, at: float) -> bool:
        """Whether all up to second `at` is answered."""
        return all(other > at for other in self._open)
