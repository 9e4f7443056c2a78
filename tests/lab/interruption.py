"""Whether and when an agent gave way, read off what the caller heard. Pure; all audio is 8 kHz slin.

The agent's utterance is known: it was heard whole in a call in which nobody spoke. `follow` finds where in it each
moment of another call lies, so that a pause which the utterance has itself, audio that is only quieter, audio that
went on after a pause, and audio that never came are told apart.
"""

import itertools
from collections.abc import Iterator

import attrs
import numpy as np
import numpy.typing as npt

from .measure import RATE, STEP, STEP_SECONDS, Span

SILENCE_DBFS, CLEAR_DBFS = -45.0, -38.0
STOP_SECONDS = 0.5
"""Silence of this length is a stop."""
SHORTEST_SILENCE = 0.1
"""Silences that are shorter are none that the utterance has not got itself."""
FRAME = 80
"""Samples of one step of the comparison (10 ms)."""
FRAME_SECONDS = FRAME / RATE
VIEW = 320
"""Samples that are compared around a step."""
LONG_VIEW = 2400
"""Samples that are needed to find a place anew."""
LIKE, SURELY_LIKE = 0.75, 0.85
"""Correlations from which on two stretches are the same audio."""
ATTENUATED_DB = -3.0
UNSURE = 8
"""Steps by which a pause's edges may differ."""
RECENT, RECENT_KNOWN = 50, 15
"""Of so many steps, so many must be in the utterance for it to go on: another sound is like it for a moment."""
LOST_SHORTEST = 3
"""Steps that must be missing together: at a cut, the comparison itself is unsure of one or two."""

Samples = npt.NDArray[np.float64]


@attrs.frozen
class Track:
    """A call compared with the utterance, every 10 ms of what was heard."""

    place: npt.NDArray[np.int64]
    """The utterance's step that was heard; -1 where what was heard is not in the utterance, or is silence."""
    gain_db: Samples
    """How loud it was against the utterance; NaN where `place` is -1."""
    sounding: npt.NDArray[np.bool_]
    """Which steps of the *utterance* have sound."""
    clear: npt.NDArray[np.bool_]
    """Which of them are loud enough to be recognised when they are attenuated."""

    @property
    def went_on_until(self) -> float:
        """The last second of the call at which the utterance was heard, and not just a sound alike."""
        known = self.place >= 0
        lately = np.convolve(known, np.ones(RECENT), mode="full")[: len(known)]
        found = np.flatnonzero(known & (lately >= RECENT_KNOWN))
        return float(found[-1] + 1) * FRAME_SECONDS if len(found) else 0.0

    def lost_ms(self, start: float, end: float) -> float:
        """How much of the utterance's sound was never heard, of the part that passed between two seconds.

        It is counted from the last place known before `start` to the furthest one reached before `end`.
        """
        first, last = round(start / FRAME_SECONDS), round(end / FRAME_SECONDS)
        before, within = self.place[:first], self.place[first:last]
        if not len(within) or within.max() < 0:
            return 0.0
        begin = int(before.max()) + 1 if len(before) and before.max() >= 0 else int(within[within >= 0].min())
        missing = np.array(self.sounding)
        missing[self.place[:last][self.place[:last] >= 0]] = False
        end_place = int(within.max()) + 1
        lost = 0
        for run_start, run_end in _runs(missing[begin:end_place]):
            # What is faint may only have become too faint to be recognised.
            if np.count_nonzero(self.clear[begin + run_start : begin + run_end]) >= LOST_SHORTEST:
                lost += run_end - run_start
        return lost * FRAME_SECONDS * 1000

    def attenuated_at(self, start: float, end: float) -> float | None:
        """The first second, to 10 ms, from which on what is heard is at least 3 dB quieter than before `start`."""
        first, last = round(start / FRAME_SECONDS), round(end / FRAME_SECONDS)
        usual = float(np.nanmedian(self.gain_db[:first])) if np.any(self.place[:first] >= 0) else 0.0
        quiet = self.gain_db[first:last] < usual + ATTENUATED_DB
        known = np.flatnonzero(self.place[first:last] >= 0)
        for one, other in itertools.pairwise(known):
            if quiet[one] and quiet[other]:
                return float(first + one) * FRAME_SECONDS
        return None


def follow(utterance: bytes, heard: bytes) -> Track:
    """Compare what was heard with the utterance."""
    known, sound = _samples(utterance), _samples(heard)
    steps = len(sound) // FRAME
    lags = _lags(known, sound)
    level = np.array([_rms(known[at * FRAME : (at + 1) * FRAME]) for at in range(len(known) // FRAME)])
    place = np.full(steps, -1, np.int64)
    gain = np.full(steps, np.nan)
    for step in range(steps):
        middle = step * FRAME + FRAME // 2
        best = LIKE
        for lag in lags:
            here, there = _view(sound, middle), _view(known, middle - lag)
            if here is None or there is None:
                continue
            likeness, factor = _compare(there, here)
            if likeness > best and middle - lag < len(level) * FRAME:
                best = likeness
                place[step] = (middle - lag) // FRAME
                gain[step] = 20 * np.log10(max(factor, 1e-6))
    sounding, clear = (level > 32768 * 10 ** (decibels / 20) for decibels in (SILENCE_DBFS, CLEAR_DBFS))
    return Track(place, gain, sounding, clear)


def silences(pcm: bytes, *, shortest: float = STOP_SECONDS, threshold_dbfs: float = SILENCE_DBFS) -> list[Span]:
    """The stretches in which every 5 ms stay below `threshold_dbfs`, of `shortest` seconds and more."""
    samples = _samples(pcm)
    steps = samples[: len(samples) // STEP * STEP].reshape(-1, STEP)
    quiet = np.sqrt(np.mean(steps**2, axis=1)) <= 32768 * 10 ** (threshold_dbfs / 20)
    spans = [Span(float(start * STEP_SECONDS), float(end * STEP_SECONDS)) for start, end in _runs(quiet)]
    return [span for span in spans if span.end - span.start >= shortest - 1e-9]


@attrs.frozen
class Outcome:
    """What the agent did about a sound of the caller's."""

    stop_ms: float | None
    """From the caller's onset to the first stop that is not the utterance's own pause; None without one."""
    resumed: bool
    """The utterance went on afterwards, or was never stopped."""
    attenuate_ms: float | None
    """From the caller's onset to the first 3 dB less."""
    silent_ms: float
    """The longest silence that the utterance has not got itself, whether or not it is a stop."""
    lost_ms: float
    """Of the utterance, between the onset and the last of it that was heard."""

    @property
    def gave_way(self) -> bool:
        return self.stop_ms is not None and not self.resumed


def judge(utterance: bytes, heard: bytes, onset: float, until: float, offset: float = 0.0) -> Outcome:
    """What became of the utterance between the caller's `onset` and `until`, in seconds of `heard`.

    `offset`, what the lab adds itself, is taken off what was heard. The utterance must have been heard at the onset,
    and be longer than the time until `until`; `sounds_at` tells the first.
    """
    track = follow(utterance, heard)
    first = onset + offset
    quiet = [
        span
        for silence in silences(heard[: round((until + offset) * RATE) * 2], shortest=SHORTEST_SILENCE)
        for span in _without_sound(track, silence)
        if span.end > first
    ]
    stops = [span for span in quiet if _is_stop(track, span)]
    final = [span for span in stops if track.went_on_until <= span.end]
    stop = max((final or stops)[0].start, first) if stops else None
    # An utterance that goes on is heard in the last moments, unless it pauses there of itself.
    resumed = not final if stops else bool(track.went_on_until >= until + offset - 2 * STOP_SECONDS)
    attenuated = track.attenuated_at(first, stop if stop is not None else until + offset)
    return Outcome(
        None if stop is None else round(float(stop - first) * 1000, 1),
        resumed,
        None if attenuated is None else round(float(attenuated - first) * 1000, 1),
        round(1000 * max((_beyond_own_pause(track, span) for span in quiet), default=0.0), 1),
        round(track.lost_ms(first, until + offset), 1),
    )


def sounds_at(utterance: bytes, second: float, ahead: float = 0.6) -> bool:
    """Whether the utterance has sound then, and goes on without a pause for `ahead` seconds."""
    piece = utterance[round(second * RATE) * 2 : round((second + ahead) * RATE) * 2]
    return not silences(piece, shortest=0.1) and len(piece) >= round(ahead * RATE) * 2


def _without_sound(track: Track, silence: Span) -> Iterator[Span]:
    """The parts of a silence in which not even very quiet speech of the utterance is left: that is attenuated."""
    first, last = round(silence.start / FRAME_SECONDS), round(silence.end / FRAME_SECONDS)
    for start, end in _runs(track.place[first:last] < 0):
        # A step or two into the silence, what is compared around them is still half speech.
        begins = silence.start if start <= 2 else (first + start) * FRAME_SECONDS
        ends = silence.end if first + end >= last - 2 else (first + end) * FRAME_SECONDS
        if ends - begins >= SHORTEST_SILENCE - FRAME_SECONDS:
            yield Span(begins, ends)


def _is_stop(track: Track, silence: Span) -> bool:
    """Whether the silence is longer by a stop than the utterance's own pause."""
    long = silence.end - silence.start >= STOP_SECONDS - FRAME_SECONDS
    return long and _beyond_own_pause(track, silence) + 2 * FRAME_SECONDS >= STOP_SECONDS


def _beyond_own_pause(track: Track, silence: Span) -> float:
    """By how many seconds the silence is longer than the utterance's own pause there."""
    before = np.flatnonzero(track.place[: round(silence.start / FRAME_SECONDS) + 1] >= 0)
    if not len(before):
        return 0.0  # it had not begun
    at, needed = int(track.place[before[-1]]), round((silence.end - silence.start) / FRAME_SECONDS)
    end = max(round(silence.end / FRAME_SECONDS) - 1, int(before[-1]) + 1)
    after = np.flatnonzero(track.place[end : end + UNSURE] >= 0)
    if len(after):
        own = int(np.count_nonzero(~track.sounding[at : max(int(track.place[end + after[0]]), at)]))
    else:
        ahead = ~track.sounding[at : at + UNSURE + needed]
        own = next((last - first for first, last in _runs(ahead) if first <= UNSURE and last - first >= UNSURE), 0)
    return max(0.0, (needed - own) * FRAME_SECONDS)


def _lags(known: Samples, sound: Samples) -> list[int]:
    """By how many samples the utterance was heard later than it is in the recording: once, or more with pauses."""
    found: list[int] = []
    for start in range(0, len(sound) - LONG_VIEW, LONG_VIEW // 3):
        piece = sound[start : start + LONG_VIEW]
        if _rms(piece) < 32:
            continue
        if any(_at_lag(known, piece, start - lag) >= SURELY_LIKE for lag in found):
            continue
        likeness, at = _search(known, piece)
        if likeness >= SURELY_LIKE:
            found.append(start - at)
    return found


def _at_lag(known: Samples, piece: Samples, at: int) -> float:
    if at < 0 or at + len(piece) > len(known):
        return 0.0
    return _compare(known[at : at + len(piece)], piece)[0]


def _search(known: Samples, piece: Samples) -> tuple[float, int]:
    size = 1 << (len(known) + len(piece)).bit_length()
    product = np.fft.rfft(known, size) * np.conj(np.fft.rfft(piece, size))
    likeness = np.fft.irfft(product, size)[: len(known) - len(piece) + 1]
    energy = np.concatenate(([0.0], np.cumsum(known**2)))
    here = energy[len(piece) :] - energy[: -len(piece)]
    scaled = likeness / np.sqrt(np.maximum(here, len(piece) * 10.0) * np.dot(piece, piece))
    best = int(np.argmax(scaled))
    return float(scaled[best]), best


def _compare(known: Samples, sound: Samples) -> tuple[float, float]:
    """Correlation, and the factor on `known` that comes nearest to `sound`; 0 and 0 where one is all but silent."""
    power, other, common = float(known @ known), float(sound @ sound), float(known @ sound)
    if power < len(known) * 100.0 or other < len(sound) * 20.0:
        return 0.0, 0.0
    return common / np.sqrt(power * other), common / power


def _view(samples: Samples, middle: int) -> Samples | None:
    start = middle - VIEW // 2
    return samples[start : start + VIEW] if start >= 0 and start + VIEW <= len(samples) else None


def _runs(flags: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Where runs of True begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    yield from ((int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True))


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0


def _samples(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float64)
