"""Tools in a pipeline: when they are asked for, what the model is told of them, and what an interruption leaves."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.agent import UtteranceEnd
from agentd.history import ToolUse
from agentd_providers.pipeline.replies import CALLS_AT_ONCE, TOOL_ROUNDS
from agentd_providers.pipeline.stages import Message, Role, ToolCall
from agentd_providers.pipeline.tool_requests import DEADLINE, MOST_OPEN, NO_RESULT
from tests.shell.pipeline_fakes import CLOCK, Talk, talking

LOOK = ToolCall("model-1", "clock", '{"zone": "CET"}')


def uses(talk: Talk) -> list[ToolUse]:
    return [turn.tool for turn in talk.session.history.turns if turn.tool is not None]


async def requested(talk: Talk, count: int = 1) -> str:
    """The session's name of the latest of `count` requests, once it is there."""
    await talk.until(lambda: len(talk.of(tells.ToolRequested)) == count)
    return talk.of(tells.ToolRequested)[-1].call


# --- one tool


async def test_a_tool_is_asked_for_and_the_model_goes_on_with_what_it_gave(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"what is the time": [LOOK], "five o'clock": ["It is five."]}
        await talk.say("what is the time")
        call = await requested(talk)
        assert talk.of(tells.ToolRequested) == [tells.ToolRequested("clock", '{"zone": "CET"}', call)]
        talk.session.tool_result(call, "five o'clock")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.take() == ["It is five."]
        assert talk.responder.offered == [["clock"], ["clock"]]
        assert talk.responder.asked[-1][1:] == [
            Message(Role.USER, "what is the time"),
            Message(Role.ASSISTANT, "", (ToolCall(call, "clock", '{"zone": "CET"}'),)),
            Message(Role.TOOL, "five o'clock", call=call),
        ]
        assert uses(talk) == [ToolUse("clock", '{"zone": "CET"}', "five o'clock")]


async def test_words_before_a_tool_are_an_utterance_of_their_own_that_has_ended(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"what is the time": ["Let me see. ", LOOK], "five": ["It is five."]}
        await talk.say("what is the time")
        call = await requested(talk)
        kinds = [type(event) for event in talk.events]
        assert kinds.index(tells.ToolRequested) > kinds.index(tells.UtteranceEnded)
        assert isinstance(talk.chunks[-1], UtteranceEnd)
        assert talk.take() == ["Let me see."]
        talk.session.tool_result(call, "five")
        await talk.until(lambda: len(talk.of(tells.UtteranceEnded)) == 2)
        assert talk.take() == ["It is five."]
        assert talk.responder.asked[-1][2].text == "Let me see. ", "the model is told its own words"


async def test_a_draft_asks_for_no_tool(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"what is the time": [LOOK]}
        await talk.speak("what is the time")
        await talk.be_silent(0.24)
        assert talk.responder.asked and not talk.responder.writing
        await talk.speak("in Rome")
        await talk.be_silent(0.5)
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert not talk.of(tells.ToolRequested)
        assert talk.take() == ["I heard what is the time in Rome."]


async def test_a_committed_answer_asks_for_its_tool_only_when_it_is_let_go(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,), call_answers=False) as talk:
        talk.responder.replies = {"what is the time": [LOOK]}
        await talk.say("what is the time")
        await trio.sleep(5)
        assert not talk.of(tells.ToolRequested)
        talk.session.answer()
        assert await requested(talk)


async def test_tools_of_one_reply_are_used_at_once(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"compare": [LOOK, ToolCall("model-1", "clock", "{}")], "two": ["Three hours."]}
        await talk.say("compare")
        await requested(talk, 2)
        first, second = (event.call for event in talk.of(tells.ToolRequested))
        assert first != second
        talk.session.tool_result(second, "two")
        talk.session.tool_result(first, "one")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert [message.text for message in talk.responder.asked[-1][3:]] == ["one", "two"], "in the order of requests"
        assert talk.take() == ["Three hours."]


async def test_a_later_answer_knows_what_a_tool_gave(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"what is the time": ["Let me see. ", LOOK], "five": ["It is five."]}
        await talk.say("what is the time")
        call = await requested(talk)
        talk.take()
        talk.session.tool_result(call, "five")
        await talk.until(lambda: len(talk.of(tells.UtteranceEnded)) == 2)
        talk.take()
        await talk.say("thank you")
        used = talk.responder.asked[-1][2]
        assert (used.role, used.text, used.calls[0].name) == (Role.ASSISTANT, "Let me see.", "clock")
        assert talk.responder.asked[-1][3] == Message(Role.TOOL, "five", call=used.calls[0].call)
        assert [message.text for message in talk.responder.asked[-1][4:]] == ["It is five.", "thank you"]


# --- bounds


async def test_a_model_that_goes_on_asking_for_tools_has_to_answer_without_in_the_end(
    autojump_clock: MockClock,
) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"what is the time": [LOOK], "there is no such tool": [ToolCall("x", "unknown", "{}")]}
        await talk.say("what is the time")
        for count in range(1, TOOL_ROUNDS + 1):
            talk.session.tool_result(await requested(talk, count), "there is no such tool")
        await talk.until(lambda: talk.of(tells.NothingToSay))
        assert len(talk.of(tells.ToolRequested)) == TOOL_ROUNDS
        assert talk.responder.offered[-1] == []
        assert not talk.of(tells.Ended)


async def test_a_reply_with_far_too_many_tools_has_the_first_ones_used(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"compare": [LOOK] * (CALLS_AT_ONCE + 4)}
        await talk.say("compare")
        await requested(talk, CALLS_AT_ONCE)
        assert len(talk.of(tells.Degraded)) == 1


async def test_a_tool_that_gives_nothing_is_done_without(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"what is the time": [LOOK], NO_RESULT: ["I cannot tell."]}
        await talk.say("what is the time")
        began = trio.current_time()
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert trio.current_time() - began == pytest.approx(DEADLINE, abs=1)
        assert talk.take() == ["I cannot tell."]
        assert [use.result for use in uses(talk)] == [NO_RESULT]


async def test_a_result_that_nobody_asked_for_is_no_part_of_the_conversation(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.session.tool_result("another", "five")
        assert not talk.session.history.turns


async def test_requests_that_get_no_result_do_not_pile_up(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"what is the time": [LOOK] * CALLS_AT_ONCE}
        for count in range(1, MOST_OPEN // CALLS_AT_ONCE + 2):
            talk.session.feed_text("what is the time")
            await requested(talk, count * CALLS_AT_ONCE)
            talk.session.history.turns.clear()
        assert len(talk.session._requests._open) == MOST_OPEN


async def test_a_model_that_was_told_of_no_tools_cannot_use_any(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.replies = {"what is the time": ["Let me see. ", LOOK]}
        await talk.say("what is the time")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        await talk.be_silent(1)
        assert not talk.of(tells.ToolRequested)
        assert talk.take() == ["Let me see."]


async def test_a_model_that_says_nothing_after_a_tool_has_said_enough_before(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"bye now": ["Take care! ", LOOK], "done": []}
        await talk.say("bye now")
        talk.session.tool_result(await requested(talk), "done")
        await talk.be_silent(1)
        assert not talk.of(tells.NothingToSay)
        assert len(talk.responder.asked) == 2


# --- interruptions


async def test_an_interruption_gives_up_waiting_and_the_result_is_kept_for_the_model(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"what is the time": ["Let me see. ", LOOK]}
        await talk.say("what is the time")
        call = await requested(talk)
        talk.take()
        talk.interrupt()
        talk.session.tool_result(call, "five")
        await talk.be_silent(5)
        assert len(talk.responder.asked) == 1, "the model is not asked to speak because of it"
        assert [use.result for use in uses(talk)] == ["five"]
        await talk.say("never mind")
        assert [message.text for message in talk.responder.asked[-1][1:]] == [
            "what is the time", "Let me see.", "five", "never mind",
        ]  # fmt: skip


async def test_a_caller_who_speaks_while_a_tool_runs_is_answered_once(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"what is the time": ["Let me see. ", LOOK], "five": ["It is five."]}
        await talk.say("what is the time")
        call = await requested(talk)
        talk.take()
        await talk.say("no the date")
        await talk.until(lambda: len(talk.of(tells.UtteranceEnded)) == 2)
        talk.session.tool_result(call, "five")
        await talk.be_silent(1)
        assert talk.take() == ["I heard no the date."]
        assert len([event for event in talk.of(tells.UtteranceStarted) if not event.aside]) == 2


async def test_what_follows_a_tool_is_withheld_while_the_caller_may_be_going_on(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,), call_answers=False) as talk:
        talk.responder.replies = {"what is the time": [LOOK], "five": ["It is five."]}
        await talk.say("what is the time")
        talk.session.answer()
        call = await requested(talk)
        talk.session.withhold()
        talk.session.tool_result(call, "five")
        await trio.sleep(5)
        assert not talk.chunks
        talk.session.answer()
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.words_waiting == ["It is five."]


@pytest.mark.parametrize("moment", [index / 20 for index in range(8, 40)])
async def test_a_hang_up_at_any_moment_leaves_nothing(moment: float, autojump_clock: MockClock) -> None:
    """Through a reply that asks for tools, their use, and the reply to what they gave, with a voice that streams."""
    with trio.move_on_after(moment):
        async with talking(tools=(CLOCK,)) as talk:
            talk.voice.streams = True
            talk.responder.replies = {"what is the time": ["Let me see. ", LOOK, LOOK], "five": ["It is five."]}
            await talk.say("what is the time", 0.3)
            first = await requested(talk, 2)
            await trio.sleep(0.2)
            talk.session.tool_result(first, "five")
            talk.session.tool_result(talk.of(tells.ToolRequested)[0].call, "five")
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(moment)


async def test_a_result_that_comes_after_the_hang_up_harms_nobody(autojump_clock: MockClock) -> None:
    async with talking(tools=(CLOCK,)) as talk:
        talk.responder.replies = {"what is the time": [LOOK]}
        await talk.say("what is the time")
        call = await requested(talk)
    talk.session.tool_result(call, "five")
    assert [use.result for use in uses(talk)] == ["five"]
