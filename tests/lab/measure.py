"""Reading a call's two recordings, `said` and `heard`, on one time axis. Pure; all audio is 8 kHz slin."""

import attrs
import numpy as np
import numpy.typing as npt

RATE = 8000
STEP_SECONDS = 0.005
STEP = round(RATE * STEP_SECONDS)

Samples = npt.NDArray[np.float64]


@attrs.frozen
class Span:
    """A stretch of sound, in seconds on the axis."""

    start: float
    end: float


@attrs.frozen
class Turn:
    """One thing the caller said, and what was heard after it."""

    said: Span
    answered_at: float | None
    """When sound was first heard after `said`, before the caller's next turn; None if never."""

    @property
    def delay(self) -> float | None:
        """Seconds from the end of the caller's speech to the first sound of the answer."""
        return None if self.answered_at is None else self.answered_at - self.said.end


@attrs.frozen
class Match:
    """Where one sound lies in another."""

    correlation: float
    """1.0 is the same waveform at any volume; unrelated speech stays below 0.3."""
    at: float
    """Second of the axis at which the sought recording's sample 0 lies."""


def clicks(pcm: bytes) -> list[float]:
    """The seconds at which a sample is further from the one before than 0.15 of full scale, and three times as far as
    any other within 2.5 ms: what no voice does, and a cut in it does."""
    leaps = np.abs(np.diff(_samples(pcm)))
    near = round(0.0025 * RATE)
    found = []
    for at in np.flatnonzero(leaps > 0.15 * 32768):
        around = np.concatenate((leaps[max(at - near, 0) : at], leaps[at + 1 : at + 1 + near]))
        if leaps[at] >= 3 * around.max(initial=1.0):
            found.append(float(at) / RATE)
    return found


def speech_spans(
    pcm: bytes, *, threshold_dbfs: float = -45.0, join_seconds: float = 0.3, shortest_seconds: float = 0.03
) -> list[Span]:
    """The stretches with sound above `threshold_dbfs` (RMS of 5 ms), to 5 ms.

    Pauses below `join_seconds` belong to the speech; what is then shorter than `shortest_seconds` is a click.
    """
    samples = _samples(pcm)
    steps = samples[: len(samples) // STEP * STEP].reshape(-1, STEP)
    level = np.sqrt(np.mean(steps**2, axis=1)) if len(steps) else np.zeros(0)
    loud = np.flatnonzero(level > 32768 * 10 ** (threshold_dbfs / 20))
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) * STEP_SECONDS > join_seconds)
    firsts = loud[np.concatenate(([0], breaks + 1))]
    lasts = loud[np.concatenate((breaks, [len(loud) - 1]))]
    spans = [
        Span(float(first * STEP_SECONDS), float((last + 1) * STEP_SECONDS))
        for first, last in zip(firsts, lasts, strict=True)
    ]
    return [span for span in spans if span.end - span.start >= shortest_seconds - 1e-9]


def turns(
    said: bytes,
    heard: bytes,
    *,
    offset: float = 0.0,
    pause_seconds: float = 0.7,
    threshold_dbfs: float = -45.0,
) -> list[Turn]:
    """What the caller said, turn by turn, and when the answer to each began.

    A pause of the caller up to `pause_seconds` does not end a turn. `offset` is what `calibrate_echo`
    measured, in seconds: it is the lab's own share and is taken off.
    An answer already running when the turn ends does not count: only an onset after it.
    """
    spoken = speech_spans(said, join_seconds=pause_seconds, threshold_dbfs=threshold_dbfs)
    onsets = [span.start - offset for span in speech_spans(heard, threshold_dbfs=threshold_dbfs)]
    found = []
    for number, span in enumerate(spoken):
        until = spoken[number + 1].start if number + 1 < len(spoken) else float("inf")
        found.append(Turn(span, next((onset for onset in onsets if span.end <= onset < until), None)))
    return found


def response_delay(said: bytes, heard: bytes, *, after: float = 0.0, offset: float = 0.0) -> float | None:
    """Seconds from the end of the first turn that the caller began at or after second `after` to its answer.

    None if there is no such turn or no answer. See `turns` for `offset`.
    """
    return next((turn.delay for turn in turns(said, heard, offset=offset) if turn.said.start >= after), None)


def find(sought: bytes, heard: bytes) -> Match:
    """Where `sought` fits best in `heard`, by normalised cross-correlation of its sounding part.

    Raises ValueError if `sought` has no sound, or `heard` is shorter than that.
    """
    needle, hay = _samples(sought), _samples(heard)
    sounding = np.flatnonzero(np.abs(needle) > 200)
    if not len(sounding):
        raise ValueError("the recording to be found is silent")
    skipped = int(sounding[0])
    needle = needle[skipped : int(sounding[-1]) + 1]
    if len(hay) < len(needle):
        raise ValueError(f"cannot find {len(needle)} samples in {len(hay)}")
    size = 1 << (len(hay) + len(needle)).bit_length()
    product = np.fft.rfft(hay, size) * np.conj(np.fft.rfft(needle, size))
    likeness = np.fft.irfft(product, size)[: len(hay) - len(needle) + 1]
    energy = np.concatenate(([0.0], np.cumsum(hay**2)))
    here = energy[len(needle) :] - energy[: -len(needle)]
    # A floor under the energy: silence correlates with nothing.
    scale = np.sqrt(np.maximum(here, len(needle) * 10.0) * np.dot(needle, needle))
    best = int(np.argmax(likeness / scale))
    return Match(float(likeness[best] / scale[best]), (best - skipped) / RATE)


def calibrate_echo(said: bytes, heard: bytes) -> Match:
    """The lab's own delay, from a call to Echo(): `at` is how many seconds later than said it is heard.

    Take it off measured delays. Raises ValueError if nothing was said.
    """
    return find(said, heard + bytes(2 * RATE))


def _samples(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float64)
