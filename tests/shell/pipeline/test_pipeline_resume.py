"""A pipeline that takes over from another session, and its signs of life."""

import pytest
import trio
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.history import History, ToolUse
from agentd_providers.pipeline.session import CUT_SHORT
from tests.shell.pipeline_fakes import BROKEN, CLOCK, talking


async def test_words_that_were_not_answered_are_answered_at_once(autojump_clock: MockClock) -> None:
    async with talking(call_answers=False) as talk:
        talk.session.history.caller_said("what is the time")
        talk.session.resume()
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.words_waiting == ["I heard what is the time."]
        assert talk.of(tells.UtteranceStarted) == [tells.UtteranceStarted(1)]
        assert not talk.of(tells.CallerSpeechEnded), "the caller has said nothing new"
        assert talk.history == [("caller", "what is the time")]


async def test_an_answer_that_was_cut_short_is_asked_for_again_and_nobody_said_that(autojump_clock: MockClock) -> None:
    async with talking(call_answers=False) as talk:
        history = talk.session.history
        history.caller_said("tell me a story")
        history.agent_heard(3, "Once upon", "Once upon a time")
        talk.session.resume()
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.prompts == [["tell me a story", "Once upon", CUT_SHORT]]
        assert talk.history == [("caller", "tell me a story"), ("agent", "Once upon")]


async def test_a_result_that_another_session_was_told_is_answered_from(autojump_clock: MockClock) -> None:
    async with talking(call_answers=False, tools=(CLOCK,)) as talk:
        talk.responder.replies["five"] = ["It is five."]
        talk.session.history.caller_said("what is the time")
        talk.session.history.tool_used(ToolUse("clock", "{}", "five"))
        talk.session.resume()
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.words_waiting == ["It is five."]


async def test_where_nothing_is_open_nothing_is_said(autojump_clock: MockClock) -> None:
    async with talking(call_answers=False) as talk:
        talk.session.resume()
        await talk.until(lambda: talk.of(tells.NothingToSay))
        assert talk.session.history == History()
        assert not talk.responder.asked


async def test_an_answer_that_is_resumed_can_be_withheld_and_interrupted(autojump_clock: MockClock) -> None:
    async with talking(call_answers=False) as talk:
        talk.session.history.caller_said("what is the time")
        talk.session.resume()
        talk.session.withhold()
        await trio.sleep(5)
        assert talk.voice.spoken and not talk.chunks
        talk.session.interrupt()
        talk.session.answer()
        await trio.sleep(5)
        assert not talk.chunks


async def test_a_resumed_answer_that_fails_says_so(autojump_clock: MockClock) -> None:
    async with talking(call_answers=False) as talk:
        talk.session.history.caller_said("what is the time")
        talk.responder.replies["what is the time"] = [BROKEN]
        talk.session.resume()
        await talk.until(lambda: talk.of(tells.AnswerFailed))
        assert not talk.chunks


async def test_a_caller_who_speaks_while_the_answer_is_resumed_is_answered_once(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.seconds = 2.0
        talk.session.history.caller_said("what is the time")
        talk.session.resume()
        await talk.say("in Rome")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.take() == ["I heard what is the time in Rome."]


@pytest.mark.parametrize(("transcribing", "thinking", "times"), [(0.05, 0.05, 1), (0.05, 2.0, 2), (1.0, 2.0, 2)])
async def test_a_committed_answer_shows_signs_of_life(
    transcribing: float, thinking: float, times: int, autojump_clock: MockClock
) -> None:
    """When its words are known, and when the model begins; a draft shows none before it is committed."""
    async with talking() as talk:
        talk.transcriber.seconds, talk.responder.seconds = transcribing, thinking
        await talk.speak("what is the time")
        await talk.be_silent(5.0)
        kinds = [type(event) for event in talk.events]
        assert kinds.count(tells.Thinking) == times
        assert kinds.index(tells.CallerSpeechEnded) < kinds.index(tells.Thinking) < kinds.index(tells.StageTiming)
