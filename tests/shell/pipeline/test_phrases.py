"""The phrases that every call hears are spoken once."""

from contextlib import aclosing

import pytest
import trio
from trio.testing import MockClock

from agentd.errors import ProviderUnavailable
from agentd_providers.pipeline import phrases as module
from agentd_providers.pipeline.phrases import FixedPhrases
from agentd_providers.pipeline.stages import Voice, speak_whole
from tests.shell.pipeline_fakes import BROKEN, FakeVoice

HELLO = "Hello there."


async def test_a_phrase_is_spoken_once_for_each_rate(autojump_clock: MockClock) -> None:
    voice = FakeVoice(streams=True)
    known = FixedPhrases(frozenset({HELLO})).spoken_by(voice)
    first = [await speak_whole(known, HELLO, rate) for rate in (8000, 16000)]
    again = [await speak_whole(known, HELLO, rate) for rate in (8000, 16000)]
    assert first == again
    assert [len(sound) for sound in again] == [3200, 6400]
    assert voice.spoken == [HELLO, HELLO]


async def test_other_words_are_spoken_each_time(autojump_clock: MockClock) -> None:
    voice = FakeVoice()
    known = FixedPhrases(frozenset({HELLO})).spoken_by(voice)
    for _ in range(2):
        await speak_whole(known, "It is five.", 8000)
    assert voice.spoken == ["It is five."] * 2


async def test_a_phrase_that_is_learned_is_heard_by_every_call_without_waiting(autojump_clock: MockClock) -> None:
    phrases, voice = FixedPhrases(frozenset({HELLO, "Goodbye!"})), FakeVoice()
    await phrases.learn(voice, 8000)
    await phrases.learn(voice, 8000)
    assert sorted(voice.spoken) == ["Goodbye!", HELLO]
    began = trio.current_time()
    assert await speak_whole(phrases.spoken_by(FakeVoice(failures=[BROKEN])), HELLO, 8000) == bytes(3200)
    assert trio.current_time() == began


async def test_a_phrase_is_handed_on_as_it_comes_the_first_time(autojump_clock: MockClock) -> None:
    voice = FakeVoice(streams=True, seconds=1.0)
    async with FixedPhrases(frozenset({HELLO})).spoken_by(voice).speak(HELLO, 8000) as pieces:
        began = trio.current_time()
        assert await anext(pieces) == bytes(1600)
        assert trio.current_time() - began == pytest.approx(1.0)


async def half(voice: Voice) -> None:
    async with voice.speak(HELLO, 8000) as pieces:
        await anext(pieces)


async def broken_off(voice: FakeVoice, known: Voice) -> None:
    voice.failures = [None, BROKEN]
    with pytest.raises(ProviderUnavailable):
        await speak_whole(known, HELLO, 8000)


@pytest.mark.parametrize("why", ["interrupted", "failed"])
async def test_a_phrase_that_was_not_spoken_to_its_end_is_not_known(why: str, autojump_clock: MockClock) -> None:
    voice = FakeVoice(streams=True)
    known = FixedPhrases(frozenset({HELLO})).spoken_by(voice)
    await (half(known) if why == "interrupted" else broken_off(voice, known))
    assert len(await speak_whole(known, HELLO, 8000)) == 3200
    assert len(voice.spoken) == 2


async def test_a_phrase_without_end_is_handed_on_and_not_kept(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(module, "LONGEST", 0.15)
    voice = FakeVoice(streams=True)
    phrases = FixedPhrases(frozenset({HELLO}))
    async with voice.speak(HELLO, 8000) as pieces, aclosing(phrases.keep(HELLO, 8000, pieces)) as kept:
        assert len(b"".join([piece async for piece in kept])) == 3200
    assert phrases.sound(HELLO, 8000) is None
