"""What text normalisation makes of a text, through the real Piper: an abbreviation makes no pause, IPA is taken."""

from collections.abc import Iterator
from typing import Any

import pytest

from agentd_providers.local import piper
from agentd_providers.local.models import catalogue
from agentd_providers.text_normalisation.normaliser import TextNormaliser
from agentd_providers.text_normalisation.tables import open_language
from tests.lab.hearing import RATE, VOICE

pytestmark = [pytest.mark.e2e, pytest.mark.engines]

TEXT = TextNormaliser(open_language("en-US"), {"Łódź": "/wutɕ/"}, takes_ipa=True)
ABBREVIATED = ["Dr. Smith is here.", "Ask Mrs. Jones now.", "We are in St. Mary Street.", "Use No. 5 today."]
"""https://github.com/rhasspy/piper/issues/363"""


@pytest.fixture(scope="module")
def voice() -> Iterator[Any]:
    package = pytest.importorskip("piper")
    yield package.PiperVoice.load(str(catalogue.locate(VOICE)))


@pytest.mark.parametrize("written", ABBREVIATED)
def test_an_abbreviation_is_no_sentence_of_its_own(voice: Any, written: str) -> None:
    assert len(voice.phonemize(written)) == 2, "that is what Piper does with the dot"
    assert len(voice.phonemize(TEXT.spoken(written).text)) == 1


@pytest.mark.parametrize("written", ABBREVIATED)
def test_it_takes_no_longer_than_without_its_dot(written: str) -> None:
    def seconds(text: str) -> float:
        """The shortest of some: how long Piper takes for a text differs each time."""
        path = str(catalogue.locate(VOICE))
        return min(len(piper.synthesise(path, 1, 1.0, text, RATE)) / 2 / RATE for _ in range(3))

    normalised, dotless = TEXT.spoken(written).text, written.replace(". ", " ").replace("No 5", "number 5")
    assert seconds(normalised) <= 1.1 * seconds(dotless)
    assert seconds(normalised) < seconds(written)


@pytest.mark.parametrize(
    "written", ["Hi 😀 there.", "Well... maybe.", "It is 5 p.m. now.", "See https://example.com/a?b=c."]
)
def test_nothing_that_is_not_meant_is_said(voice: Any, written: str) -> None:
    (phonemes,) = voice.phonemize(TEXT.spoken(written).text)
    assert not {"slˈæʃ", "fˈeɪs"} & set("".join(phonemes).split())


def test_ipa_of_the_lexicon_is_spoken_as_it_is(voice: Any) -> None:
    (phonemes,) = voice.phonemize(TEXT.spoken("Fly to Łódź now.").text)
    assert "wutɕ" in "".join(phonemes)
