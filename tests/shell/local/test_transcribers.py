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
from agentd_providers.local.transcribers import (
    LONGEST_AHEAD,
    LULL_SECONDS,
    SETTLED_SECONDS,
    VOSK_BLOCK_MS,
    MoonshineTranscriber,
    VoskTranscriber,
)
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
    worker.dies_at = vosk.words if engine is VoskTranscriber else moonshine.hear
    transcript = begin(engine, worker)
    speak(transcript, "one")
    with pytest.raises(ProviderUnavailable):
        await transcript.words()
    speak(transcript, "two")
    assert await transcript.words() == "one two"


what_happens = st.lists(
    st.sampled_from(
        [*WORDS[1:], "words", "given up", "started again", "dies", "busy", "free", "behind", "in step", "quiet"]
    ),
    max_size=25,
)


@pytest.mark.parametrize("engine", ENGINES)
@given(what_happens)
def test_whatever_happens_to_the_engine_the_words_are_those_that_were_said(engine: type, events: list[str]) -> None:
    async def listen() -> None:
        vosk._utterances.clear()
        worker, behind = FakeWorker(), False
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
                    worker.dies_at = vosk.feed if engine is VoskTranscriber else moonshine.hear
                case "busy" | "free":
                    worker.full = event == "busy"
                case "behind" | "in step":
                    behind = event == "behind"
                case "quiet":
                    speak(transcript, "", 0.1)
                case word if word not in said:
                    said.append(word)
                    speak(transcript, word, 1.4)
                    if not behind:
                        worker.catch_up()
        worker.full, worker.dies_at = False, None
        assert await transcript.words() == " ".join(said)
        transcript.close()
        worker.catch_up()
        assert not vosk._utterances

    trio.run(listen, clock=MockClock(autojump_threshold=0))


# --- Moonshine


def seconds_heard(worker: FakeWorker) -> list[float]:
    """How much sound each job of Moonshine's had."""
    return [len(job.args[1]) / 2 / RATE for job in worker.jobs_of(moonshine.hear)]


async def test_a_long_turn_s_earlier_part_is_not_decoded_again(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    said, part = list[str](), SETTLED_SECONDS / 2 + 1
    for word in WORDS[1:]:
        speak(transcript, word, part)
        said.append(word)
        assert await transcript.words() == " ".join(said)
    assert seconds_heard(worker) == pytest.approx([part, 2 * part] * 4 + [part])


async def test_when_the_caller_s_sound_falls_low_it_is_decoded_before_it_is_known_to_be_a_pause(
    autojump_clock: MockClock,
) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    speak(transcript, "one", 2.0)
    speak(transcript, "", 0.1)
    worker.catch_up()
    asked = trio.current_time()
    assert await transcript.words() == "one"
    assert trio.current_time() == asked, "nothing is waited for"
    assert seconds_heard(worker) == pytest.approx([2 + LULL_SECONDS])


async def test_a_pause_waits_for_the_decoding_that_was_begun_before_it(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    speak(transcript, "one", 2.0)
    speak(transcript, "", 0.1)
    assert await transcript.words() == "one"
    assert len(seconds_heard(worker)) == 1


async def test_who_goes_on_after_a_lull_is_heard_to_the_end(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    for word in WORDS[1:]:
        speak(transcript, word)
        speak(transcript, "", 0.06)
        worker.catch_up()
    speak(transcript, "one", 0.1)
    assert await transcript.words() == " ".join(WORDS[1:])
    assert len(seconds_heard(worker)) == len(WORDS)


async def test_what_was_heard_is_the_guess_of_what_will_be(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    for word in WORDS[1:4]:
        speak(transcript, word)
        await transcript.words()
    assert [job.args[3] for job in worker.done] == [(), [1], [1, 2]]


async def test_a_lull_is_decoded_once(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    speak(transcript, "", 2.0)
    speak(transcript, "one")
    for _ in range(20):
        speak(transcript, "", 0.1)
        worker.catch_up()
    assert len(seconds_heard(worker)) == 1


async def test_long_after_a_lull_it_is_decoded_anew_for_there_may_have_been_a_whisper(
    autojump_clock: MockClock,
) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    speak(transcript, "one")
    speak(transcript, "", 0.1)
    whisper = bytes([WORDS.index("two"), 0]) * (FRAME // 2)
    for _ in range(40):
        transcript.feed(whisper)
        worker.catch_up()
    assert await transcript.words() == "one two"


async def test_nothing_is_decoded_ahead_while_the_engine_has_other_work(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    other = worker.post(len, b"")
    transcript = begin(MoonshineTranscriber, worker)
    speak(transcript, "one")
    speak(transcript, "", 0.1)
    worker.catch_up()
    assert worker.done == [other]
    speak(transcript, "", 0.02)
    worker.catch_up()
    assert len(seconds_heard(worker)) == 1, "it has time now"
    assert await transcript.words() == "one"


async def test_in_a_long_turn_without_pauses_nothing_is_decoded_ahead(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    for _ in range(40):
        speak(transcript, "one", 1.0)
        speak(transcript, "", 0.1)
        worker.catch_up()
    assert max(seconds_heard(worker)) <= LONGEST_AHEAD
    assert await transcript.words() == "one"


async def test_what_was_lost_ahead_is_decoded_at_the_pause(autojump_clock: MockClock) -> None:
    worker = FakeWorker(dies_at=moonshine.hear)
    transcript = begin(MoonshineTranscriber, worker)
    speak(transcript, "one")
    speak(transcript, "", 0.1)
    worker.catch_up()
    assert worker.deaths == 1
    assert await transcript.words() == "one"


async def test_a_decoding_that_was_given_up_before_it_began_is_not_waited_for(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    speak(transcript, "one")
    speak(transcript, "", 0.1)
    with trio.move_on_after(0.05):
        await transcript.words()
    assert await transcript.words() == "one"


async def test_what_was_not_decoded_to_its_end_is_decoded_again(autojump_clock: MockClock) -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    speak(transcript, "one", SETTLED_SECONDS + 1)
    with trio.move_on_after(0.05):
        await transcript.words()
    speak(transcript, "two")
    assert await transcript.words() == "one two"


async def test_moonshine_keeps_nothing_of_a_turn_that_is_over() -> None:
    worker = FakeWorker()
    transcript = begin(MoonshineTranscriber, worker)
    speak(transcript, "one")
    speak(transcript, "", 0.1)
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
