"""The recorded sentences, in the files of the packages that hold them."""

import numpy as np
import pytest

from tests.lab.prefix import LabUnavailable
from tests.lab.voices.conditions import RATE, Line, Samples, loudness
from tests.lab.voices.fetching import bring
from tests.lab.voices.plans import plan_of_recording
from tests.lab.voices.recordings import Recording, recordings
from tests.lab.voices.sources import SOURCES
from tests.lab.voices.split import speakers
from tests.lab.voices.texts import Kind
from tests.lab.voices.turns import composed, from_recording

pytestmark = [pytest.mark.long, pytest.mark.network]

RECORDINGS = recordings()
SPEAKERS = {speaker.name: speaker for speaker in speakers()}
EDGE, DIP = 0.02, 0.03
"""Seconds over which the level is taken at an end of a stretch, and at a cut."""
NEAR = 0.05


async def said(source: str) -> list[tuple[Recording, Samples]]:
    try:
        root = await bring(SOURCES[source], print)
    except LabUnavailable as error:
        pytest.skip(str(error))
    return [(row, row.samples(root)) for row in RECORDINGS if row.source == source]


def below_speech(part: Samples, whole: Samples) -> float:
    """Decibels by which a part is quieter than where there is speech."""
    return float(-20 * np.log10((np.sqrt(np.mean(part**2)) + 1e-6) / loudness(whole)))


def around(samples: Samples, second: float) -> Samples:
    return samples[round((second - DIP / 2) * RATE) : round((second + DIP / 2) * RATE)]


@pytest.mark.parametrize("source", sorted({row.source for row in RECORDINGS}))
async def test_a_sentence_begins_and_ends_in_quiet(source: str) -> None:
    for row, samples in await said(source):
        assert len(samples) / RATE == pytest.approx(row.end - row.start, abs=0.02), row
        edge = round(EDGE * RATE)
        assert min(below_speech(samples[:edge], samples), below_speech(samples[-edge:], samples)) >= 15, row


@pytest.mark.parametrize("source", sorted({row.source for row in RECORDINGS if row.cut is not None}))
async def test_a_sentence_is_cut_where_its_level_dips(source: str) -> None:
    for row, samples in await said(source):
        if row.cut is None:
            continue
        at = row.cut - row.start
        depth = below_speech(around(samples, at), samples)
        assert depth >= 12, (row, depth)
        nearby = [below_speech(around(samples, at + shift), samples) for shift in np.arange(-NEAR, NEAR, 0.01)]
        assert depth >= max(nearby) - 6, (row, depth, nearby)


@pytest.mark.parametrize("source", sorted({row.source for row in RECORDINGS if row.cut is not None}))
async def test_a_sentence_can_be_held_up_there_on_every_line(source: str) -> None:
    await said(source)
    root = await bring(SOURCES[source], print)
    for row in (row for row in RECORDINGS if row.source == source and row.cut is not None):
        for line in Line:
            plan = plan_of_recording(SPEAKERS[row.speaker], row.text, Kind.HESITATION, line)
            sample = composed(from_recording(row, root), plan)
            assert sample.pause is not None
            assert sample.pause.end - sample.pause.start == pytest.approx(plan.pause, abs=0.1), row
            assert sample.span.start < sample.pause.start < sample.pause.end < sample.span.end, row
