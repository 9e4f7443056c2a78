"""A pipeline's voice: sound that comes in pieces, and words that come too late to be said."""

import pytest
import trio
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.agent import Audio, SayOutcome, SegmentEnd, SegmentStart, UtteranceEnd
from tests.shell.pipeline_fakes import BROKEN, TURN_END, talking

LONG = "One two three four five six seven eight nine ten."


async def test_a_clause_is_heard_from_its_first_piece_on(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.voice.streams, talk.voice.seconds = True, 0.5
        talk.responder.replies["count"] = [LONG]
        await talk.say("count")
        await talk.until(lambda: talk.audio_waiting)
        assert talk.voice.speaking, "the rest is still being made"
        assert [type(chunk) for chunk in talk.chunks] == [SegmentStart, Audio]
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert [type(chunk) for chunk in talk.chunks] == [SegmentStart, *[Audio] * 10, SegmentEnd, UtteranceEnd]
        stages = {event.stage: event.seconds for event in talk.of(tells.StageTiming)}
        assert stages["first_audio"] == pytest.approx(0.5, abs=0.01)


async def test_a_draft_whose_sound_comes_in_pieces_waits_with_the_first(autojump_clock: MockClock) -> None:
    async with talking(call_answers=False) as talk:
        talk.voice.streams = True
        talk.responder.replies["count"] = [LONG]
        await talk.speak("count")
        await talk.be_silent(TURN_END + 1)
        assert talk.voice.speaking
        assert not talk.chunks
        talk.session.answer()
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.words_waiting == [LONG]


async def test_an_aside_and_a_farewell_come_in_pieces_too(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.voice.streams = True
        pieces = [SegmentStart, Audio, Audio, SegmentEnd, UtteranceEnd]
        assert await talk.session.say("Hello there.") is SayOutcome.SPOKEN
        assert [type(chunk) for chunk in talk.chunks] == pieces
        talk.take()
        await talk.say("goodbye")
        await talk.until(lambda: talk.of(tells.Ended))
        assert [type(chunk) for chunk in talk.chunks] == pieces


async def test_a_voice_that_breaks_off_ends_the_utterance(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.voice.streams, talk.voice.failures = True, [None, None, BROKEN]
        talk.responder.replies["count"] = [LONG]
        await talk.say("count")
        await talk.until(lambda: talk.of(tells.AnswerFailed))
        assert [type(chunk) for chunk in talk.chunks] == [SegmentStart, Audio, Audio, UtteranceEnd]


async def test_a_voice_that_breaks_off_in_an_aside_has_not_said_it(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.voice.streams, talk.voice.failures = True, [None, BROKEN]
        assert await talk.session.say("Hello there.") is SayOutcome.REFUSED
        assert [type(chunk) for chunk in talk.chunks] == [SegmentStart, Audio, UtteranceEnd]


async def test_an_interruption_stops_a_voice_that_streams(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.voice.streams, talk.voice.seconds = True, 0.5
        talk.responder.replies["count"] = [LONG]
        await talk.say("count")
        await talk.until(lambda: talk.audio_waiting)
        talk.interrupt()
        await talk.until(lambda: not talk.voice.speaking)
        await trio.sleep(10)
        assert not talk.chunks


async def test_a_clause_without_sound_is_left_out_and_told(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.voice.soundless = {"It is, as they say,"}
        talk.responder.replies["what is it"] = ["It is, as they say, ", "five o'clock."]
        await talk.say("what is it")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.take() == ["five o'clock."]
        assert talk.of(tells.Degraded) == [tells.Degraded("the voice gave no sound for a clause")]


# --- fillers


async def test_a_filler_is_said_while_the_answer_is_awaited(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.seconds = 3.0
        await talk.say("what is the time")
        assert await talk.session.say("One moment.") is SayOutcome.SPOKEN
        await talk.until(lambda: len(talk.of(tells.UtteranceEnded)) == 2)
        assert talk.words_waiting == ["One moment.", "I heard what is the time."]


async def test_a_filler_that_is_ready_after_its_answer_has_begun_is_not_said(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.seconds, talk.voice.seconds = 1.0, 1.0
        await talk.say("what is the time")
        await trio.sleep(0.9)
        assert await talk.session.say("One moment.") is SayOutcome.REPLACED
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.words_waiting == ["I heard what is the time."]
        assert [event.aside for event in talk.of(tells.UtteranceStarted)] == [False]


async def test_what_is_no_filler_is_said_after_the_answer(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.seconds, talk.voice.seconds = 1.0, 1.0
        await talk.say("what is the time")
        await trio.sleep(0.9)
        assert await talk.session.say("Our call has to end soon.") is SayOutcome.SPOKEN
        assert talk.words_waiting == ["I heard what is the time.", "Our call has to end soon."]
