"""Answers that are begun while the caller may still go on: what is thrown away, what is committed, what is let go."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from agentd import session_events as tells
from tests.shell.pipeline_fakes import BROKEN, PAUSE, TURN_END, FakeJudge, Talk, talking

WITHIN_A_TURN = 0.24
"""Seconds of silence in which an answer can be prepared, and after which the caller may still go on."""


def nothing_came_of_it(talk: Talk) -> bool:
    """Nothing that was begun has reached the playout, the history, or the call."""
    told = talk.of(tells.UtteranceStarted) or talk.of(tells.CallerSpeechEnded) or talk.of(tells.StageTiming)
    return not (talk.chunks or talk.history or told)


# --- the draft


async def test_at_a_pause_an_answer_is_prepared_and_nothing_of_it_shows(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.speak("what is the time")
        await talk.be_silent(WITHIN_A_TURN)
        assert talk.transcriber.asked == 1
        assert talk.prompts == [["what is the time"]]
        assert talk.voice.spoken == ["I heard what is the time."]
        assert talk.of(tells.CallerText) == [tells.CallerText("what is the time", final=False)]
        assert nothing_came_of_it(talk)


async def test_a_caller_who_goes_on_is_answered_once_and_to_all_of_it(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.speak("I would like")
        await talk.be_silent(WITHIN_A_TURN)
        await talk.say("to book a table")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.take() == ["I heard I would like to book a table."]
        assert talk.prompts == [["I would like"], ["I would like to book a table"]]
        assert talk.history[0] == ("caller", "I would like to book a table")
        assert len(talk.of(tells.CallerSpeechEnded)) == len(talk.of(tells.CallerSpeechStarted)) == 1
        assert len(talk.transcriber.begun) == 1


async def test_a_draft_that_the_caller_goes_on_after_is_stopped_in_every_stage(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.seconds = 0.15
        talk.responder.replies["tell me"] = ["Certainly my friend. ", *["And then more of all that. "] * 9]
        await talk.speak("tell me")
        await talk.be_silent(WITHIN_A_TURN)
        assert talk.responder.writing
        await talk.speak("a story", 0.1)
        assert talk.of(tells.CallerSpeechResumed)
        assert not talk.responder.writing
        spoken = list(talk.voice.spoken)
        await talk.speak("a story", 3.0)
        assert talk.voice.spoken == spoken
        assert nothing_came_of_it(talk)


async def test_of_a_draft_no_more_is_read_than_its_first_clause_and_all_of_it_once_it_may_be_heard(
    autojump_clock: MockClock,
) -> None:
    """A model may stop writing where nobody reads (agentd_providers.openai.stretches)."""
    reply = ["Certainly my friend. ", "And ", "then more of all that, ", "as much as there is."]
    async with talking(call_answers=False) as talk:
        talk.responder.seconds = 0.01
        talk.responder.replies["tell me"] = list(reply)
        await talk.say("tell me")
        await talk.be_silent(3.0)
        assert talk.voice.spoken == ["Certainly my friend."]
        assert talk.responder.read == reply[:2]
        talk.session.answer()
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.responder.read == reply


async def test_a_click_in_a_pause_does_not_cost_the_draft(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.speak("what is the time")
        await talk.be_silent(PAUSE + 0.02)
        await talk.speak("", 0.04)
        await talk.be_silent(TURN_END)
        assert not talk.of(tells.CallerSpeechResumed)
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.prompts == [["what is the time"]]


@given(
    st.lists(st.tuples(st.floats(0.1, 1.2), st.floats(0.12, 0.22)), max_size=4),
    st.floats(0.01, 0.4),
    st.floats(0.01, 0.3),
)
@settings(deadline=None, max_examples=30)
def test_however_a_caller_hesitates_there_is_one_turn_one_answer_and_all_words(
    hesitations: list[tuple[float, float]], transcribing: float, thinking: float
) -> None:
    async def converse() -> None:
        async with talking() as talk:
            talk.transcriber.seconds, talk.responder.seconds = transcribing, thinking
            for number, (speech, silence) in enumerate(hesitations):
                await talk.speak(f"part {number}", speech)
                await talk.be_silent(silence)
                assert nothing_came_of_it(talk)
            await talk.speak("the end", 0.3)
            await talk.be_silent(1.5)
            await talk.until(lambda: talk.of(tells.UtteranceEnded))
            said = " ".join([*(f"part {number}" for number in range(len(hesitations))), "the end"])
            assert talk.take() == [f"I heard {said}."]
            assert talk.history == [("caller", said), ("agent", f"I heard {said}.")]
            assert len(talk.of(tells.CallerPaused)) == len(hesitations) + 1

    trio.run(converse, clock=MockClock(autojump_threshold=0))


# --- committed, and let go


async def test_when_the_turn_is_over_the_history_has_the_words_at_once_and_the_call_is_told(
    autojump_clock: MockClock,
) -> None:
    async with talking(call_answers=False) as talk:
        await talk.say("what is the time")
        assert talk.history == [("caller", "what is the time")]
        assert talk.of(tells.CallerText)[-1] == tells.CallerText("what is the time")
        assert len(talk.of(tells.CallerSpeechEnded)) == 1


async def test_a_committed_answer_is_heard_only_when_the_call_lets_it_go(autojump_clock: MockClock) -> None:
    async with talking(call_answers=False) as talk:
        await talk.say("what is the time")
        await trio.sleep(5)
        assert not talk.chunks
        assert not talk.of(tells.UtteranceStarted)
        talk.session.answer()
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.words_waiting == ["I heard what is the time."]


async def test_an_answer_can_be_withheld_and_let_go_again(autojump_clock: MockClock) -> None:
    async with talking(call_answers=False) as talk:
        talk.responder.seconds = 1.0
        await talk.say("what is the time")
        talk.session.answer()
        talk.session.withhold()
        await trio.sleep(5)
        assert not talk.chunks
        talk.session.answer()
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.prompts == [["what is the time"]]


async def test_a_prepared_answer_is_heard_the_moment_it_is_let_go(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.say("what is the time")
        (ended,) = talk.of(tells.CallerSpeechEnded)
        await talk.until(lambda: talk.of(tells.UtteranceStarted))
        started = talk.at[talk.events.index(talk.of(tells.UtteranceStarted)[0])]
        assert started == pytest.approx(ended.at, abs=0.001)


async def test_nobody_need_be_answering_for_these_to_be_harmless(autojump_clock: MockClock) -> None:
    async with talking(call_answers=False) as talk:
        talk.session.answer()
        talk.session.withhold()
        talk.session.interrupt()
        await talk.say("hello")
        assert not talk.chunks  # that answer was to no turn
        talk.session.answer()
        await talk.until(lambda: talk.of(tells.UtteranceEnded))


@pytest.mark.parametrize(("transcribing", "thinking", "speaking"), [(0.05, 0.05, 0.05), (0.3, 0.4, 0.5), (0.0, 0.0, 0)])
async def test_the_stages_of_an_answer_add_up_to_what_the_caller_waited(
    transcribing: float, thinking: float, speaking: float, autojump_clock: MockClock
) -> None:
    async with talking() as talk:
        talk.transcriber.seconds, talk.responder.seconds, talk.voice.seconds = transcribing, thinking, speaking
        began = trio.current_time()
        await talk.speak("what is the time")
        await talk.be_silent(2.0)
        stages = {event.stage: event.seconds for event in talk.of(tells.StageTiming)}
        endpoint = stages.pop("endpoint")
        assert list(stages) == ["pause", "transcript", "first_token", "first_audio", "held"]
        started = talk.at[talk.events.index(talk.of(tells.UtteranceStarted)[0])]
        assert sum(stages.values()) == pytest.approx(started - began - 0.5, abs=0.03)
        assert stages["transcript"] == pytest.approx(transcribing, abs=0.001)
        assert stages["first_token"] == pytest.approx(thinking, abs=0.001)
        assert stages["first_audio"] == pytest.approx(speaking, abs=0.001)
        assert endpoint == pytest.approx(max(TURN_END, stages["pause"] + transcribing), abs=0.03)


# --- turns that end otherwise


async def test_a_turn_that_gets_too_long_is_cut_off_and_answered(autojump_clock: MockClock) -> None:
    async with talking(max_turn_ms=2000.0) as talk:
        await talk.speak("on and on", 2.02)
        (ended,) = talk.of(tells.CallerSpeechEnded)
        assert ended.last_speech_at == ended.at
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.take() == ["I heard on and on."]


async def test_no_word_is_lost_when_a_turn_that_got_too_long_goes_on(autojump_clock: MockClock) -> None:
    """The next turn threw the answer away, and with it the transcription that was still at work."""
    async with talking(max_turn_ms=2000.0) as talk:
        talk.transcriber.seconds = 0.4
        await talk.speak("on and on", 2.0)
        await talk.say("and on")
        await talk.be_silent(1.0)
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.history[0] == ("caller", "on and on and on")
        assert talk.take() == ["I heard on and on and on."]


async def test_a_noise_that_does_not_end_is_told_to_have_been_nothing(autojump_clock: MockClock) -> None:
    async with talking(max_turn_ms=2000.0) as talk:
        await talk.speak("", 2.02)
        await talk.until(lambda: talk.of(tells.NothingToSay))
        assert talk.of(tells.NothingToSay) == [tells.NothingToSay("no words were recognised")]
        assert not talk.history


async def test_a_noise_that_is_cut_off_in_a_pause_is_told_to_have_been_nothing(autojump_clock: MockClock) -> None:
    """The draft of it had found no words and was done; nobody told, so the call waited for an answer for ever."""
    async with talking(max_turn_ms=2000.0) as talk:
        await talk.speak("", 1.8)
        await talk.be_silent(0.3)
        await talk.until(lambda: talk.of(tells.NothingToSay))
        assert len(talk.of(tells.CallerSpeechEnded)) == 1
        assert not talk.responder.asked


# --- drafts that fail


@pytest.mark.parametrize("stage", ["transcriber", "responder", "voice", "judge", "sentence"])
async def test_a_draft_that_failed_is_forgotten_when_the_caller_goes_on(stage: str, autojump_clock: MockClock) -> None:
    async with talking(judge=FakeJudge(failures=[BROKEN] if stage == "judge" else []), sentence_ends=True) as talk:
        talk.transcriber.failures = [BROKEN] if stage == "transcriber" else []
        talk.responder.replies["I would like"] = [BROKEN if stage == "responder" else "Yes?"]
        talk.responder.failures = [BROKEN] if stage == "sentence" else []
        talk.voice.failures = [BROKEN] if stage == "voice" else []
        talk.responder.seconds = 0.02
        await talk.speak("I would like")
        await talk.be_silent(0.26)
        assert len(talk.of(tells.Degraded)) == (stage in ("judge", "sentence")), (
            "a draft that is thrown away fails nobody"
        )
        assert not talk.of(tells.AnswerFailed)
        await talk.say("to book a table")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.take() == ["I heard I would like to book a table."]
        assert not talk.of(tells.Ended)


async def test_drafts_that_fail_at_two_pauses_of_one_turn_do_not_end_the_call(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.failures = [BROKEN, BROKEN]
        await talk.speak("I would like")
        await talk.be_silent(WITHIN_A_TURN)
        await talk.speak("to book")
        await talk.be_silent(WITHIN_A_TURN)
        await talk.say("a table")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert not talk.of(tells.Ended)


async def test_a_draft_that_failed_says_so_when_the_turn_is_over(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.replies["hello"] = [BROKEN]
        await talk.speak("hello")
        await talk.be_silent(WITHIN_A_TURN)
        assert not talk.of(tells.AnswerFailed)
        await talk.be_silent(0.1)
        assert len(talk.of(tells.AnswerFailed)) == 1
        kinds = [type(event) for event in talk.events]
        assert kinds.index(tells.AnswerFailed) > kinds.index(tells.CallerSpeechEnded)
        assert talk.history == [("caller", "hello")]
