"""Turns of recorded human speech, finished ones and hesitations, for judging the end of a turn. Deterministic.

A hesitation is a recorded sentence held up between two words in its middle; the pause has the recording's own noise
floor. Everything went through u-law, as on a line. No speaker meant to stop there: of what marks a real hesitation
only the broken-off words and melody are there, no drawl and no "uh". Where the words so far are a sentence already
(transition-relevance places: H. Sacks, E. Schegloff and G. Jefferson, 1974) a pause is no hesitation; those are a
third kind, to be reported apart.
"""

import re
from collections.abc import Sequence
from zlib import crc32

import attrs
import numpy as np
import numpy.typing as npt

from agentd.audio.g711 import slin_to_ulaw, ulaw_to_slin

from .measure import Span, speech_spans
from .speech import Prompt
from .turn_cuts import CUTS, SENTENCES

RATE = 8000
STEP = 80
"""Samples of one step of the level (10 ms)."""
SHORTEST_TURN, LONGEST_TURN = 1.2, 6.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.9, 1.2
EARLIEST, LATEST = 0.30, 0.80
"""Shares of the speech between which it is cut."""
APART = 0.35
"""Seconds between two cuts of one prompt."""
FEWEST_WORDS = 4

FOLDERS = ("dictate", "followme")
FRAGMENTS = frozenset(
    """
    astcc-followed-by-the-pound-key call-fwd-no-ans conf-enteringno conf-hasjoin conf-hasleft conf-otherinparty
    conf-userswilljoin conf-userwilljoin confbridge-has-joined confbridge-has-left dir-first from-unknown-caller
    info-about-last-call privacy-to-blacklist-last-caller queue-callswaiting queue-holdtime queue-thereare spy-misdn
    to-call-this-number to-listen-to-it unidentified-no-callback vm-from-phonenumber vm-intro vm-isonphone
    vm-num-i-have vm-savemessage vm-theperson vm-tocancel vm-unknown-caller
    """.split()  # noqa: SIM905
)
"""Prompts that Asterisk says before, after or between others (and one that ends in a tone)."""

Levels = npt.NDArray[np.float64]


@attrs.frozen
class TurnSample:
    """What a caller says in one turn: 8 kHz slin as a line carries it, and its words."""

    name: str
    """Of the prompt."""
    text: str
    pcm: bytes
    pause: Span | None
    """The hesitation, in seconds of `pcm`; None in a turn without."""
    spoken: Span | None = None
    """From the first sound of the speaker to the last, where the line's noise hides them."""
    speaker: str = ""
    manner: str = ""
    """What is said, or how it is held up; see tests.lab.voices.texts."""
    line: str = ""
    """See tests.lab.voices.conditions."""
    language: str = "en"
    """A code of ISO 639-1; in others than English the words are not there."""

    @property
    def span(self) -> Span:
        """From the first sound of the speaker to the last. Raises ValueError where there is none."""
        if self.spoken is not None:
            return self.spoken
        (sound,) = speech_spans(self.pcm, join_seconds=10.0)
        return sound


def sentences(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts that are whole sentences of a turn's usual length."""
    return [
        prompt
        for prompt in prompts
        if prompt.name not in FRAGMENTS
        and len(prompt.text.split()) >= FEWEST_WORDS
        and not re.search(r"\.\.|[()*#]|:$", prompt.text)
        and SHORTEST_TURN <= len(prompt.pcm()) / 2 / RATE <= LONGEST_TURN
    ]


def complete_turns(prompts: Sequence[Prompt], count: int) -> list[TurnSample]:
    """At most `count` whole sentences without a pause in them, spread over all that there are."""
    whole = [TurnSample(_name(prompt), prompt.text, _line(prompt.pcm()), None) for prompt in sentences(prompts)]
    return _spread([turn for turn in whole if len(speech_spans(turn.pcm, join_seconds=0.6)) == 1], count)


def hesitations(prompts: Sequence[Prompt], count: int) -> list[TurnSample]:
    """At most `count` sentences with a pause of 0.9 to 1.2 s in the middle, spread over all that there are.

    The cut is the deepest dip; a prompt is used a second time, cut elsewhere, only when there are too few.
    """
    return _paused(prompts, count, sentence_so_far=False)


def pauses_after_a_sentence(prompts: Sequence[Prompt], count: int) -> list[TurnSample]:
    """The same where the words before the pause are a sentence of their own, and those after it add to it."""
    return _paused(prompts, count, sentence_so_far=True)


def _paused(prompts: Sequence[Prompt], count: int, *, sentence_so_far: bool) -> list[TurnSample]:
    first: list[TurnSample] = []
    second: list[TurnSample] = []
    for prompt in sentences(prompts):
        samples = [_held_up(prompt, at) for at in _cuts(prompt, sentence_so_far)]
        first += samples[:1]
        second += samples[1:2]
    if count <= len(first):
        return _spread(first, count)
    return sorted(first + _spread(second, count - len(first)), key=lambda sample: sample.name)


def quiet(pcm: bytes, seconds: float, seed: int) -> bytes:
    """8 kHz slin in which nobody speaks, at the noise floor of `pcm`."""
    floor = 32768 * 10 ** (float(np.percentile(_levels(pcm), 5)) / 20)
    noise = np.random.default_rng(seed).normal(0.0, floor, round(seconds * RATE))
    return np.rint(noise).astype("<i2").tobytes()


def _spread(samples: list[TurnSample], count: int) -> list[TurnSample]:
    if len(samples) <= count:
        return samples
    return [samples[number * len(samples) // count] for number in range(count)]


def _name(prompt: Prompt) -> str:
    folder = prompt.path.parent.name
    return f"{folder}/{prompt.name}" if folder in FOLDERS else prompt.name


def _cuts(prompt: Prompt, sentence_so_far: bool) -> list[int]:
    """The samples at which the prompt can be held up: those of its word ends with the deepest dips, apart."""
    pcm = prompt.pcm()
    spans = speech_spans(pcm, join_seconds=1.0)
    if not spans:
        return []
    start, length = spans[0].start, spans[-1].end - spans[0].start
    middle = [
        at
        for words, at in CUTS.get(_name(prompt), {}).items()
        if (words in SENTENCES.get(_name(prompt), ())) == sentence_so_far
        and EARLIEST <= (at - start) / length <= LATEST
    ]
    levels = _levels(pcm)
    chosen: list[float] = []
    for at in sorted(middle, key=lambda at: float(levels[int(at * RATE) // STEP])):
        if all(abs(at - other) >= APART for other in chosen):
            chosen.append(at)
    return [round(at * RATE) for at in chosen]


def _held_up(prompt: Prompt, at: int) -> TurnSample:
    """The prompt with a pause at sample `at`; its length and noise depend on the prompt and the place alone."""
    pcm = prompt.pcm()
    seed = crc32(f"{prompt.name} {at}".encode())
    seconds = np.random.default_rng(seed).uniform(SHORTEST_PAUSE, LONGEST_PAUSE)
    noise = quiet(pcm, seconds, seed)
    held = _line(pcm[: 2 * at] + noise + pcm[2 * at :])
    return TurnSample(_name(prompt), prompt.text, held, Span(at / RATE, at / RATE + len(noise) / 2 / RATE))


def _levels(pcm: bytes) -> Levels:
    """dBFS of every 10 ms, smoothed over 30 ms: what is too short to hear is no gap between words."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    power = np.mean(samples[: len(samples) // STEP * STEP].reshape(-1, STEP) ** 2, axis=1)
    smooth = np.convolve(power, np.ones(3) / 3, mode="same")
    return np.asarray(10 * np.log10(smooth / 32768**2 + 1e-9))


def _line(pcm: bytes) -> bytes:
    return ulaw_to_slin(slin_to_ulaw(pcm))
