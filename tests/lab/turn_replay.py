"""Turn taking played over what was gathered of a turn (tests.lab.turn_evidence): the product's TurnTaker, in the
audio's own time, told of each cue as late as an engine is. Pure.
"""

import math
from collections.abc import Sequence
from typing import Final

import attrs

from agentd_providers.local.turn_head import Head
from agentd_providers.local.voice_activity import WINDOW_MS
from agentd_providers.turns.end_of_turn import PatienceSettings, Sound
from agentd_providers.turns.taker import Signal, TurnTaker, TurnTaking
from agentd_providers.turns.word_ends import UNKNOWN

from .turn_evidence import Evidence, Pause

LONGEST_MS: Final = 5000.0
"""Silence after the last that was gathered: by then every turn is over, or never will be."""


@attrs.frozen
class Delays:
    """How long the engines take, in ms: the answer from when the sentence is judged to its first sound, 0 where none is
    waited for."""

    words: float = 100.0
    sound: float = 60.0
    sentence: float = 60.0
    answer: float = 300.0

    def slower(self, factor: float) -> "Delays":
        """On a host that needs so many times as long."""
        return Delays(self.words * factor, self.sound * factor, self.sentence * factor, self.answer * factor)


@attrs.frozen
class Cues:
    """Which of the cues are asked; and the weights of the sound's, None for what Smart Turn says by itself."""

    sound: bool = True
    words: bool = True
    sentence: bool = True
    head: Head | None = None
    looks: int = 99
    """At most so many looks at the sound of a pause."""


SILENCE_ALONE: Final = Cues(sound=False, words=False, sentence=False)


@attrs.frozen
class Ending:
    """What became of a turn."""

    wait_ms: float | None
    """From the caller's last sound to the end of the turn; None where it was never found over."""
    cut_off: bool
    """It was found over in the hesitation."""
    early: bool
    """It was found over elsewhere before its end."""


def replay(evidence: Evidence, taking: TurnTaking, delays: Delays, cues: Cues) -> Ending:
    """How turn taking takes a turn whose cues are these.

    What is found over in its last pause is so in time: the last sounds may be too faint to be heard as speech, and the
    pause then begins before they end."""
    ends = _ends(evidence, _taking(taking, cues), delays, cues)
    last, over = len(evidence.pauses), evidence.ends
    final = next((at for at, pause in ends if pause >= last or at >= over), None)
    before = [at for at, pause in ends if pause < last and at < over]
    return Ending(
        None if final is None else max(final - over, 0.0),
        cut_off=any(at < evidence.resumes for at in before),
        early=any(at >= evidence.resumes for at in before),
    )


def in_silence_alone(taking: TurnTaking, silence_ms: float) -> TurnTaking:
    """Turn taking by nothing but a silence of that length."""
    return attrs.evolve(taking, patience=PatienceSettings(silence_ms, silence_ms, silence_ms, silence_ms))


def _taking(taking: TurnTaking, cues: Cues) -> TurnTaking:
    looks_ms = taking.looks_ms[: cues.looks] if cues.sound else ()
    return attrs.evolve(taking, word_ends=taking.word_ends if cues.words else UNKNOWN, looks_ms=looks_ms)


def _ends(evidence: Evidence, taking: TurnTaking, delays: Delays, cues: Cues) -> list[tuple[float, int]]:
    """The ms at which a turn was found over, each with the number of the pause."""
    taker = TurnTaker(taking, by_sound=cues.sound, by_sentence=cues.sentence, by_answer=bool(delays.answer))
    due: list[tuple[float, str, int, int]] = []
    ends: list[tuple[float, int]] = []
    now = 0.0
    for probability in _windows(evidence.windows):
        signals = _told(taker, evidence.pauses, cues, due, now)
        now += WINDOW_MS
        signals += taker.hear(probability, WINDOW_MS, agent_audible=False)
        for signal in signals:
            if signal is Signal.ENDED:
                ends.append((now, taker.pause))
            elif signal is Signal.PAUSED:
                due.append((now + delays.words, "words", taker.pause, 0))
                due.append((now + delays.words + delays.sentence, "sentence", taker.pause, 0))
                due.append((now + delays.words + delays.sentence + delays.answer, "answer", taker.pause, 0))
            elif signal is Signal.LOOK:
                due.append((now + delays.sound, "sound", taker.pause, taker.look))
        if ends and ends[-1][0] >= evidence.ends:
            break
    return ends


def _windows(windows: Sequence[float]) -> list[float]:
    return [*windows, *[0.0] * math.ceil(LONGEST_MS / WINDOW_MS)]


def _told(
    taker: TurnTaker, pauses: Sequence[Pause], cues: Cues, due: list[tuple[float, str, int, int]], now: float
) -> list[Signal]:
    """What comes of the cues that are known by now."""
    signals: list[Signal] = []
    for cue in sorted(cue for cue in due if cue[0] <= now):
        due.remove(cue)
        _, name, number, look = cue
        if number > len(pauses):
            continue
        pause = pauses[number - 1]
        if name == "words":
            signals += taker.know_words(number, pause.words, doubted=pause.doubted)
        elif name == "sentence" and cues.sentence:
            signals += taker.know_sentence(number, pause.sentence)
        elif name == "answer":
            signals += taker.know_answer(number)
        elif name == "sound":
            signals += taker.know_sound(number, sound_of(pause, look, cues.head))
    return signals


def sound_of(pause: Pause, look: int, head: Head | None) -> Sound | None:
    """What a look at the pause's sound says; None where the pause was not long enough for it."""
    if look >= len(pause.looks):
        return None
    heard = pause.looks[look]
    complete = heard.smart if head is None else head.complete(heard.smart, heard.pooled, look)
    return Sound(complete, look)
