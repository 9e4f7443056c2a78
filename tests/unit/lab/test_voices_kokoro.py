"""The synthetic voices, from the packages that hold them."""

from functools import partial

import numpy as np
import pytest
import trio

from tests.lab.measure import speech_spans
from tests.lab.prefix import LabUnavailable
from tests.lab.voices.conditions import slin
from tests.lab.voices.fetching import bring, bring_network
from tests.lab.voices.kokoro import RATE, Kokoro
from tests.lab.voices.sources import SOURCES

pytestmark = [pytest.mark.long, pytest.mark.network]


async def voices() -> Kokoro:
    try:
        network, vocabulary = await bring_network(print)
        folder = await bring(SOURCES["kokoro-js"], print)
    except LabUnavailable as error:
        pytest.skip(str(error))
    return await trio.to_thread.run_sync(Kokoro, network, vocabulary, folder / "package/voices")


async def test_a_voice_says_a_sentence_and_tells_where_the_words_before_the_pause_end() -> None:
    say = (await voices()).say
    before, after = "I'd like, um,", "to speak to somebody about my bill."
    said = await trio.to_thread.run_sync(partial(say, "af_heart", before, after))
    alone = await trio.to_thread.run_sync(partial(say, "af_heart", before))
    other = await trio.to_thread.run_sync(partial(say, "bm_lewis", before, after))
    assert 1.5 < len(said.samples) / RATE < 6
    spoken = speech_spans(slin(alone.samples), join_seconds=1.0)
    assert said.at is not None
    assert said.at / RATE == pytest.approx(spoken[-1].end, abs=0.4)
    whole = speech_spans(slin(said.samples), join_seconds=1.0)[0]
    assert whole.start < said.at / RATE < whole.end
    level = [np.sqrt(np.mean(part**2)) for part in (said.samples[said.at - 40 : said.at + 40], said.samples)]
    assert level[0] < level[1] / 3
    assert other.at != said.at
