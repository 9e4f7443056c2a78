"""The agent's mouth: leaving an utterance ends it, and takes no longer than that may."""

import attrs
import structlog.testing
import trio
import trio.testing

from agentd import session_events as tells
from agentd.agent import Audio, Chunk, SegmentEnd, SegmentStart
from agentd.playout import PlayoutBuffer
from agentd_providers.pipeline.speech_output import END_DEADLINE, SpeechOutput
from agentd_providers.text_normalisation.normaliser import TextNormaliser
from agentd_providers.text_normalisation.tables import open_language
from tests.shell.pipeline_fakes import FakeVoice


@attrs.define(eq=False)
class StuckPlayout(PlayoutBuffer):
    """A playout that takes nothing, not even an end."""

    async def put(self, chunk: Chunk) -> None:
        await trio.sleep_forever()


async def test_a_playout_that_takes_no_end_does_not_keep_the_call(autojump_clock: trio.testing.MockClock) -> None:
    told: list[str] = []
    output = SpeechOutput(StuckPlayout(), FakeVoice(), 8000, lambda event: told.append(type(event).__name__))
    with structlog.testing.capture_logs() as logs, trio.move_on_after(1):
        async with output.utterance(aside=True):
            await trio.sleep_forever()
    assert trio.current_time() <= 1 + END_DEADLINE + 0.001
    assert told == ["UtteranceStarted", "UtteranceEnded"]
    assert [line["event"] for line in logs] == ["the playout did not take the end of an utterance"]


async def test_an_utterance_that_is_cancelled_has_its_end() -> None:
    playout = PlayoutBuffer()
    output = SpeechOutput(playout, FakeVoice(), 8000)
    with trio.move_on_after(0):
        async with output.utterance(aside=True):
            await trio.sleep_forever()
    with trio.move_on_after(0.1) as nothing_more:
        await playout.next_utterance()
    assert nothing_more.cancelled_caught
    assert playout.empty


async def test_the_voice_gets_the_text_as_it_is_spoken_and_the_history_as_it_was_written() -> None:
    playout, voice, told = PlayoutBuffer(), FakeVoice(), list[object]()
    output = SpeechOutput(playout, voice, 8000, told.append, TextNormaliser(open_language("en")))
    async with output.speak("Dr. Lee wants $5 😀 now.") as clause, output.utterance(aside=False) as utterance:
        await utterance.put(clause)
    assert voice.spoken == ["Doctor Lee wants five dollars now."]
    assert tells.AgentText(1, "Dr. Lee wants $5 😀 now.") in told
    stream = await playout.next_utterance()
    start = await stream.next()
    assert isinstance(start, SegmentStart)
    assert (start.text, start.spoken) == (
        "Dr. Lee wants $5 😀 now.",
        ("Doctor", "Lee", "wants", "five dollars", "", "now."),
    )
    assert isinstance(await stream.next(), Audio)
    assert isinstance(await stream.next(), SegmentEnd)


async def test_a_text_without_anything_to_say_is_not_asked_of_the_voice() -> None:
    voice, told = FakeVoice(), list[object]()
    output = SpeechOutput(PlayoutBuffer(), voice, 8000, told.append)
    async with output.speak("😀 ...") as clause:
        assert clause.first + b"".join([piece async for piece in clause.rest]) == b""
    assert (voice.spoken, told) == ([], [])
