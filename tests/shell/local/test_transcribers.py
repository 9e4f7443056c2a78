"""The two transcribers at a caller's pauses, with engines that read the words out of the audio.

Every word has a sample value of its own; 16 kHz, so that nothing is resampled.
"""

from collections.abc import Iterator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from agentd.errors import ProviderUnavailable
from agentd_providers.local import moonshine, vosk
from agentd_providers.local.transcribers import SETTLED_SECONDS, VOSK_BLOCK_MS, MoonshineTranscriber, VoskTranscriber
from agentd_providers.pipeline.stages import Transcript
from tests.shell.local.fake_worker import RATE, WORDS, FakeWorker, fake_engines

FRAME = RATE // 50 * 2


@pytest.fixture(autouse=True)
def engines() -> Iterator[None]:
    with fake_engines():
        yield


def speak(transcript: Transcript, word: str, seconds: float = 0.4) -> None:
    """Frame by frame, as the line brings it."""
    for _ in range(round(seconds * 50)):
        transcript.feed(bytes([WORDS.index(word), 16 if word else 0]) * (FRAME // 2))


ENGINES = [MoonshineTranscriber, VoskTranscriber]


def begin(engine: type, worker: FakeWorker) -> Transcript:
    transcript: Transcript = engine(worker, "model", RATE).begin()
    return transcript


# --- both


@pytest.mark.parametrize("engine", ENGINES)
async def test_what_is_said_while_the_words_are_looked_for_is_not_lost(engine: type, autojump_clock: MockClock) -> None:
    transcript = begin(engine, FakeWorker(seconds=1.0))
    speak(transcript, "one")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transcript.words)
        await trio.sleep(0.5)
        speak(transcript, "two", SETTLED_SECONDS + 1)
    assert await transcript.words() == "one two"
    assert await transcript.words() == "one two"


@pytest.mark.parametrize("engine", ENGINES)
async def test_an_engine_that_fails_is_told_and_asked_again_at_the_next_pause(
    engine: type, autojump_clock: MockClock
) -> None:
    worker = FakeWorker()
    worker.dies_at = vosk.words if engine is VoskTranscriber else moonshine.transcribe
    transcript = begin(engine, worker)
    speak(transcript, "one")
    with pytest.raises(ProviderUnavailable):
        await transcript.words()
    speak(transcript, "two")
    assert await transcript.words() == "one two"


what_happens = st.lists(
    st.sampled_from([*WORDS[1:], "words", "given up", "started again", "dies", "busy", "free"]), max_size=25
)


@pytest.mark.parametrize("engine", ENGINES)
@given(what_happens)
def test_whatever_happens_to_the_engine_the_words_are_those_that_were_said(engine: type, events: list[str]) -> None:
    async def listen() -> None:
        vosk._utterances.clear()
        worker = FakeWorker()
        transcript = begin(engine, worker)
        said: list[str] = []
        for event in events:
            match event:
                case "words":
                    deaths = worker.deaths
                    try:
                        assert await transcript.words() == " ".join(dict.fromkeys(said))
                    except ProviderUnavailable:
                        assert worker.full or worker.deaths > deaths, "nothing was wrong with the engine"
                case "given up":
                    with trio.move_on_after(0.05):
                        try:
                            await transcript.words()
                        except ProviderUnavailable:
                            assert worker.full
                case "started again":
                    worker.start_again()
                case "dies":
                    worker.dies_at = vosk.feed if engine is VoskTranscriber else moonshine.transcribe
                case "busy" | "free":
                    worker.full = event == "busy"
                case word if word not in said:
                    said.append(word)
                    speak(transcript, word)
                    worker.catch_up()
        worker.full, worker.dies_at = False, None
        assert await transcript.words() == " ".join(said)
        transcript.close()
        worker.catch_up()
        assert not vosk._utterances

    trio.run(listen, clock=MockClock(autojump_threshold=0))


# --- Moonshine


async def test_a_long_turn_s_earlier_part_is_not_decoded_again(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    said = []
    for word in WORDS[1:]:
        speak(transcript, word, 3.0)
        said.append(word)
        assert await transcript.words() == " ".join(said)
    seconds = [len(job.args[1]) / 2 / RATE for job in worker.done]
    assert seconds == pytest.approx([3, 6, 3, 6, 3, 6, 3, 6, 3])


async def test_what_was_not_decoded_to_its_end_is_decoded_again(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    speak(transcript, "one", SETTLED_SECONDS + 1)
    with trio.move_on_after(0.05):
        await transcript.words()
    speak(transcript, "two")
    assert await transcript.words() == "one two"


def test_moonshine_keeps_nothing_of_a_turn_that_is_over() -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    speak(transcript, "one")
    transcript.close()
    worker.catch_up()
    assert not worker.done


# --- Vosk


async def test_vosk_hears_the_caller_while_the_caller_speaks(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(VoskTranscriber, worker)
    speak(transcript, "one", 1.0)
    worker.catch_up()
    assert [len(job.args[2]) / 2 / RATE * 1000 for job in worker.jobs_of(vosk.feed)] == [VOSK_BLOCK_MS] * 10
    speak(transcript, "two", 0.04)
    assert await transcript.words() == "one two"


@pytest.mark.parametrize("loudly", [True, False])
async def test_vosk_hears_the_whole_turn_again_after_its_process_was_started_again_in_mid_speech(
    loudly: bool, autojump_clock: MockClock
) -> None:
    """It took what came after for the whole turn, and the words before were lost."""
    worker = FakeWorker()
    transcript = begin(VoskTranscriber, worker)
    speak(transcript, "one")
    worker.catch_up()
    if loudly:
        worker.dies_at = vosk.feed
    else:
        worker.start_again()
    speak(transcript, "two")
    worker.catch_up()
    speak(transcript, "three")
    assert await transcript.words() == "one two three"


async def test_vosk_is_back_in_step_after_that(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(VoskTranscriber, worker)
    speak(transcript, "one")
    assert await transcript.words() == "one"
    worker.start_again()
    assert await transcript.words() == "one"
    before = len(worker.jobs_of(vosk.feed))
    speak(transcript, "two", 1.0)
    worker.catch_up()
    assert len(worker.jobs_of(vosk.feed)) == before + 10
    assert await transcript.words() == "one two"


async def test_a_caller_who_goes_on_while_vosk_hears_the_turn_again_loses_no_word(autojump_clock: MockClock) -> None:
    """What was to be heard again was given up with the draft, and counted as heard."""
    worker = FakeWorker()
    transcript = begin(VoskTranscriber, worker)
    speak(transcript, "one")
    worker.catch_up()
    worker.start_again()
    with trio.move_on_after(0.15):
        await transcript.words()
    speak(transcript, "two")
    worker.catch_up()
    assert await transcript.words() == "one two"


async def test_vosk_is_given_what_it_was_too_busy_for(autojump_clock: MockClock) -> None:
    worker = FakeWorker(full=True)
    transcript = begin(VoskTranscriber, worker)
    speak(transcript, "one")
    worker.full = False
    speak(transcript, "two")
    assert await transcript.words() == "one two"


async def test_vosk_that_loses_a_turn_again_and_again_is_told(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(VoskTranscriber, worker)
    worker.dies_at = vosk.feed
    speak(transcript, "one", 0.06)

    async def die_again() -> None:
        await trio.sleep(0.15)
        worker.dies_at = vosk.feed

    async with trio.open_nursery() as nursery:
        nursery.start_soon(die_again)
        with pytest.raises(ProviderUnavailable, match="lost"):
            await transcript.words()


async def test_a_turn_that_is_over_is_forgotten_by_vosk(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(VoskTranscriber, worker)
    speak(transcript, "one")
    await transcript.words()
    assert vosk._utterances
    transcript.close()
    worker.catch_up()
    assert not vosk._utterances


def test_a_turn_can_be_closed_while_vosk_is_too_busy() -> None:
    worker = FakeWorker()
    transcript = begin(VoskTranscriber, worker)
    worker.full = True
    transcript.close()
    worker.catch_up()
    assert not worker.done
