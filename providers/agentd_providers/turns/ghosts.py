"""Whether the words of a turn were spoken at all: speech engines have words for silence and noise, too. Pure.

"You", "Thank you." and "Bye-bye." are what they learned to write where nobody speaks, in every language others. What
was heard decides, not the words: in the shortest "you" that was measured the voice activity is sure of speech for
160 ms, in a cough for less than 64 ms, but for one in twenty. The words decide how sure it has to be: more so where
they are what engines are known to invent, and where they do not stand out of the noise before the turn; and they may
not be more than a mouth says in the time. On a noisy line it is less sure of speech, and next to never takes a cough
for it: there less will do. All figures: `just bench-ghosts`, with `--fit` those that the constants were set by.

Sources: https://github.com/zachlatta/freeflow/issues/68 (the voice activity tells where a list cannot),
https://github.com/alphacep/vosk-api/issues/1139 and 361, https://github.com/screenpipe/screenpipe/pull/4070 and
https://github.com/open-nvr/open-nvr/pull/266 (loops).
"""

from collections.abc import Mapping

import attrs

from agentd.audio.level import FLOOR_DBFS
from agentd_providers.turns.words import phrases, plain_words

SURE, LIKELY = 0.9, 0.7
"""Probabilities from which on a window is surely, and is likely, speech."""
NOISY_DB = 18.0
"""Speech that is louder by less than this than the noise before it only has to be likely."""
FAINT_DB = 3.0
"""Speech that is louder by less than this may be that noise."""
DOUBTFUL_FACTOR, HANG_UP_FACTOR = 2.0, 3.0
"""How many times as long it has to be sure where the words may well be invented, and where they end the call."""
HANG_UP_MEAN, HANG_UP_DB = 0.8, 6.0
"""From which mean probability on, and from how much more than the noise, speech may end the call."""
LETTERS_AT_ONCE, LETTERS_A_SECOND = 16, 45.0
"""The most that is said in no time and in a second: of recorded speech the fastest had 30 letters a second."""
LOOP = 3
"""The same words so often and nothing else is how a decoder loops."""
LOWEST_FLOOR_DBFS, FLOOR_RISES_DB = -70.0, 15.0
"""Noise below this is none; the floor follows what is louder by so many dB a second, and what is quieter at once."""
FORGOTTEN_MS = 96.0
"""Silence outside of a turn after which what came before it does not belong to the next one."""

_INVENTED = phrases(
    """you|thank you|thank you so much|thank you very much|thanks|bye|bye bye|goodbye|good bye|the|a|an|and|but|so|i|it|
    that|oh|ah|uh|um|huh|hm|hmm|mm|mhm|mm hmm|uh huh|uh uh|ah ah|yeah|hi|okay|
    nun|einen|ja|danke|vielen dank|tschüss|merci|gracias|obrigado|grazie|dziękuję|спасибо|嗯|谢谢|감사합니다|네|
    ご視聴ありがとうございました|продолжение следует""",
    "|",
)
_INVENTED_PARTS = ("for watching", "subscribe", "subtitle", "untertitel", "sous-titr", "subtítulos", "amara.org")
"""What engines are reported to write of silence, and parts of it: it only has to be surer."""


@attrs.frozen
class Speech:
    """What was measured of the speech in a turn."""

    speech_ms: float
    """Speech by the threshold of turn taking."""
    sure_ms: float
    """Of that: where the voice activity was sure."""
    likely_ms: float
    """Of that: where it found speech at least likely."""
    mean: float
    """Mean probability of the speech; 0 without any."""
    above_floor_db: float | None
    """How much louder the loudest of it is than the noise before the turn; None where that is not known."""

    @property
    def figures(self) -> Mapping[str, float | None]:
        """For the log."""
        above = self.above_floor_db
        return {
            "speech_ms": round(self.speech_ms),
            "likely_ms": round(self.likely_ms),
            "sure_ms": round(self.sure_ms),
            "mean": round(self.mean, 2),
            "above_noise_db": None if above is None else round(above),
        }


@attrs.frozen
class Judgement:
    """What the words of a turn are worth."""

    doubt: str = ""
    """Why they are taken for invented ("unsure", "pace"); empty where they count."""
    may_hang_up: bool = True
    """The speech was surely there: what ends a call may end it."""


@attrs.define
class Evidence:
    """Gathers what is measured of one caller's turns. Feed it every window; `forget` when a turn is over.

    `threshold` is the probability from which on there is speech.
    """

    threshold: float
    _speech_ms: float = attrs.field(default=0.0, init=False)
    _sure_ms: float = attrs.field(default=0.0, init=False)
    _likely_ms: float = attrs.field(default=0.0, init=False)
    _weighed: float = attrs.field(default=0.0, init=False)
    _quiet_ms: float = attrs.field(default=0.0, init=False)
    _loudest: float | None = attrs.field(default=None, init=False)
    _floor: float | None = attrs.field(default=None, init=False)

    @property
    def speech(self) -> Speech:
        """What is known by now of the turn."""
        loudest, floor = self._loudest, self._floor
        return Speech(
            self._speech_ms,
            self._sure_ms,
            self._likely_ms,
            self._weighed / self._speech_ms if self._speech_ms else 0.0,
            None if loudest is None or floor is None else loudest - floor,
        )

    def hear(self, probability: float, window_ms: float, dbfs: float, *, in_turn: bool) -> None:
        """Take a window's probability of speech, and its level."""
        if probability >= self.threshold:
            self._quiet_ms = 0.0
            self._speech_ms += window_ms
            self._weighed += probability * window_ms
            self._sure_ms += window_ms if probability >= SURE else 0.0
            self._likely_ms += window_ms if probability >= LIKELY else 0.0
            self._loudest = dbfs if self._loudest is None else max(dbfs, self._loudest)
        elif not in_turn:
            self._quiet_ms += window_ms
            if self._quiet_ms >= FORGOTTEN_MS:
                self.forget()
            if dbfs > FLOOR_DBFS:  # else something stands in for the line: a gap, or the agent's own echo
                self._learn_floor(max(dbfs, LOWEST_FLOOR_DBFS), window_ms)

    def forget(self) -> None:
        """The turn is over, or was none. The floor stays."""
        self._speech_ms = self._sure_ms = self._likely_ms = self._weighed = self._quiet_ms = 0.0
        self._loudest = None

    def _learn_floor(self, dbfs: float, window_ms: float) -> None:
        if self._floor is None or dbfs < self._floor:
            self._floor = dbfs
        else:
            self._floor = min(dbfs, self._floor + FLOOR_RISES_DB * window_ms / 1000)


def judge(words: str, speech: Speech | None, sure_ms: float) -> Judgement:
    """What `words` are worth by the speech that was measured.

    Args:
        words: of the turn, without tags (see turns.tags).
        speech: None where the words came as text, or nobody measured: then they count.
        sure_ms: of sure speech that words need to count; 0: whatever an engine writes counts.
    """
    if speech is None or not sure_ms or not words:
        return Judgement()
    above = speech.above_floor_db
    too_many = len(words) > LETTERS_AT_ONCE + LETTERS_A_SECOND * speech.speech_ms / 1000
    if too_many or _may_be_invented(words) or (above is not None and above < FAINT_DB):
        there = speech.sure_ms >= sure_ms * DOUBTFUL_FACTOR
    elif above is not None and above < NOISY_DB:
        there = speech.likely_ms >= sure_ms
    else:
        there = speech.sure_ms >= sure_ms
    if not there:
        return Judgement("unsure", may_hang_up=False)
    if too_many:
        return Judgement("pace", may_hang_up=False)
    surely = speech.sure_ms >= sure_ms * HANG_UP_FACTOR and speech.mean >= HANG_UP_MEAN
    return Judgement(may_hang_up=surely and (above is None or above >= HANG_UP_DB))


def _may_be_invented(words: str) -> bool:
    plain = plain_words(words)
    loops = any(plain == plain[:size] * (len(plain) // size) for size in range(1, len(plain) // LOOP + 1))
    return loops or " ".join(plain) in _INVENTED or any(part in words.lower() for part in _INVENTED_PARTS)
