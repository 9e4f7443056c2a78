"""The caller and the agent at once: interruptions, backchannels, noise, and what the model is told afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from agentd import session_events as tells
from agentd_providers.turns.first_sound import Kinds
from tests.shell.pipeline_fakes import BROKEN, TURN_END, FakeSounds, Talk, talking

STORY = "Once upon a time there was a king. "
REST = "And he lived in a castle with a dragon and a queen. "


@asynccontextmanager
async def story_time(*, call_answers: bool = True, sounds: FakeSounds | None = None) -> AsyncIterator[Talk]:
    """The agent tells a story, which is still being written; the caller has heard "Once upon". From then on the call
    does something about what it is told only with `call_answers`."""
    async with talking(sounds=sounds) as talk:
        talk.responder.seconds = 0.3
        talk.responder.replies["tell me a story"] = [STORY, *[REST] * 100]
        await talk.say("tell me a story")
        await talk.until(lambda: talk.audio_waiting)
        talk.begin_to_hear("Once upon")
        talk.call_answers = call_answers
        yield talk


# --- no turn


@pytest.mark.parametrize("sound", ["mhm", "Okay.", "", "mhm okay"])
async def test_a_backchannel_or_a_noise_while_the_agent_is_heard_is_dismissed_and_leaves_no_trace(
    sound: str, autojump_clock: MockClock
) -> None:
    async with story_time() as talk:
        before, told = talk.history, len(talk.events)
        await talk.speak(sound, 0.3)
        await talk.be_silent(1.0)
        kinds = [type(event) for event in talk.events[told:]]
        assert tells.CallerSpeechStarted in kinds and tells.CallerSpeechConfirmed in kinds
        assert len(talk.of(tells.CallerSpeechDismissed)) == 1
        assert tells.CallerTakesTurn not in kinds and tells.CallerSpeechEnded not in kinds
        assert talk.history == before
        assert talk.hearing, "the agent goes on"
        assert len(talk.responder.asked) == 1
        await talk.be_silent(1.0)
        assert len(talk.of(tells.UtteranceStarted)) == 1


async def test_the_agent_goes_on_before_the_words_are_known_where_the_sound_is_likely_nothing(
    autojump_clock: MockClock,
) -> None:
    sounds = FakeSounds(Kinds(0.0, 0.99, 0.01), first=[Kinds(0.0, 0.2, 0.8)] * 4)
    async with story_time(sounds=sounds) as talk:
        await talk.speak("mhm", 0.4)
        [doubted] = talk.of(tells.CallerSpeechDoubted)
        confirmed = talk.of(tells.CallerSpeechConfirmed)[-1]
        assert doubted.at - confirmed.at < 0.3
        assert not talk.of(tells.CallerSpeechDismissed)
        await talk.be_silent(1.0)
        assert len(talk.of(tells.CallerSpeechDismissed)) == 1
        assert talk.hearing


async def test_the_agent_is_never_silent_for_what_is_nothing_from_the_first_look_on(autojump_clock: MockClock) -> None:
    async with story_time(sounds=FakeSounds(Kinds(0.99, 0.0, 0.01))) as talk:
        told = len(talk.events)
        await talk.speak("mhm", 0.4)
        assert [type(event) for event in talk.events[told:]].count(tells.CallerSpeechConfirmed) == 0
        assert len(talk.of(tells.CallerSpeechDoubted)) == 1
        await talk.be_silent(1.0)
        assert len(talk.of(tells.CallerSpeechDismissed)) == 1
        assert talk.hearing


async def test_the_agent_pauses_again_for_what_is_a_turn_after_all(autojump_clock: MockClock) -> None:
    nothing, turn = Kinds(0.0, 0.99, 0.01), Kinds(0.0, 0.1, 0.9)
    async with story_time(sounds=FakeSounds(turn, first=[turn, nothing, nothing])) as talk:
        told = len(talk.events)
        await talk.speak("I do not want to", 0.5)
        kinds = [type(event) for event in talk.events[told:]]
        confirmed, doubted = tells.CallerSpeechConfirmed, tells.CallerSpeechDoubted
        assert [kind for kind in kinds if kind in (confirmed, doubted)] == [confirmed, doubted, confirmed]


async def test_a_sound_that_was_doubted_takes_the_turn_when_it_goes_on(autojump_clock: MockClock) -> None:
    async with story_time(sounds=FakeSounds(Kinds(0.0, 0.99, 0.01))) as talk:
        await talk.speak("I do not want to hear that", 1.1)
        assert talk.of(tells.CallerSpeechDoubted)
        assert not talk.hearing


async def test_what_is_weighed_is_the_sound_with_a_little_before_it(autojump_clock: MockClock) -> None:
    sounds = FakeSounds(Kinds(0.0, 0.0, 1.0))
    async with story_time(sounds=sounds) as talk:
        await talk.be_silent(0.5)
        await talk.speak("wait a moment please", 0.6)
        assert len(sounds.weighed) >= 3
        assert all(0.2 < len(pcm) / 16000 <= 0.86 for pcm in sounds.weighed)
        assert not talk.of(tells.CallerSpeechDoubted)


@pytest.mark.parametrize(("after", "answers"), [(0.3, True), (3.0, False)])
async def test_a_backchannel_is_an_answer_shortly_after_a_question(
    after: float, answers: bool, autojump_clock: MockClock
) -> None:
    async with talking() as talk:
        talk.responder.replies["hello"] = ["Would you like to hear more? ", *[REST] * 100]
        await talk.say("hello")
        await talk.until(lambda: len(talk.words_waiting) > 1)
        talk.begin_to_hear("Would you like to hear more?")
        await talk.be_silent(0.6 + after)
        await talk.speak("okay", 0.3)
        await talk.be_silent(0.5)
        assert bool(talk.of(tells.CallerTakesTurn)[1:]) is answers


async def test_the_same_word_is_an_answer_where_the_agent_is_not_heard(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.say("okay", 0.3)
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.take() == ["I heard okay."]


async def test_the_same_word_is_an_answer_once_the_agent_has_been_heard(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.session.say("Shall I go on?")
        talk.take()
        await talk.say("okay", 0.3)
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.prompts == [["Shall I go on?", "okay"]]


# --- a turn


async def test_a_word_that_is_no_backchannel_takes_the_turn(autojump_clock: MockClock) -> None:
    async with story_time() as talk:
        await talk.speak("wait", 0.3)
        await talk.be_silent(0.2)
        assert not talk.hearing
        await talk.be_silent(0.2)
        await talk.until(lambda: len(talk.of(tells.UtteranceStarted)) == 2)
        assert talk.words_waiting == ["I heard wait."]


async def test_speech_that_goes_on_takes_the_turn_before_its_words_are_known(autojump_clock: MockClock) -> None:
    async with story_time() as talk:
        await talk.speak("I do not want to hear that", 0.68)
        assert talk.hearing
        await talk.speak("one at all", 0.06)
        assert not talk.hearing
        assert not talk.of(tells.CallerSpeechEnded)[1:]


async def test_after_an_interruption_the_model_is_told_what_was_heard(autojump_clock: MockClock) -> None:
    async with story_time() as talk:
        await talk.say("wait", 0.3)
        await talk.until(lambda: len(talk.of(tells.UtteranceStarted)) == 2)
        assert talk.prompts[-1] == ["tell me a story", "Once upon", "wait"]
        assert talk.history == [("caller", "tell me a story"), ("agent", "Once upon"), ("caller", "wait")]


async def test_an_answer_is_not_composed_before_it_is_known_what_was_heard(autojump_clock: MockClock) -> None:
    async with story_time(call_answers=False) as talk:
        await talk.speak("wait", 0.3)
        await talk.be_silent(0.2)
        talk.session.interrupt()
        talk.playout.interrupt()
        await talk.be_silent(0.1)
        assert len(talk.responder.asked) == 1
        talk.stop_hearing()
        await talk.until(lambda: len(talk.responder.asked) == 2)
        assert talk.prompts[-1] == ["tell me a story", "Once upon", "wait"]


async def test_what_is_being_heard_counts_as_said_where_nobody_tells_in_time(autojump_clock: MockClock) -> None:
    async with story_time(call_answers=False) as talk:
        await talk.speak("wait", 0.3)
        await talk.be_silent(1.0)
        assert talk.prompts[-1][0] == "tell me a story"
        assert talk.prompts[-1][1].startswith(STORY.strip())
        assert talk.prompts[-1][2] == "wait"


async def test_an_interruption_of_which_nothing_was_heard_leaves_no_trace_of_the_agent(
    autojump_clock: MockClock,
) -> None:
    async with story_time() as talk:
        talk.heard = ""
        await talk.say("wait", 0.3)
        await talk.until(lambda: len(talk.of(tells.UtteranceStarted)) == 2)
        assert talk.history == [("caller", "tell me a story wait")]


async def test_an_interruption_stops_the_model_and_the_voice(autojump_clock: MockClock) -> None:
    async with story_time() as talk:
        assert talk.responder.writing
        talk.interrupt()
        await trio.testing.wait_all_tasks_blocked()
        assert not talk.responder.writing
        spoken = list(talk.voice.spoken)
        await trio.sleep(10)
        assert talk.voice.spoken == spoken
        assert not talk.chunks


async def test_an_interruption_spares_the_draft_of_the_turn_that_interrupts(autojump_clock: MockClock) -> None:
    async with story_time(call_answers=False) as talk:
        await talk.speak("wait", 0.3)
        await talk.be_silent(0.2)
        talk.interrupt()
        await talk.be_silent(TURN_END)
        talk.session.answer()
        await talk.until(lambda: len(talk.of(tells.UtteranceStarted)) == 2)
        assert len(talk.responder.asked) == 2


async def test_an_interruption_that_comes_when_its_turn_is_already_over_stops_the_agent_all_the_same(
    autojump_clock: MockClock,
) -> None:
    """Where the words come late, the turn is taken and over at once, before the call can interrupt. What was spoken
    went on being written for nobody, and the new answer waited for its end."""
    async with story_time() as talk:
        talk.transcriber.seconds = TURN_END + 0.2
        await talk.speak("wait", 0.3)
        await talk.be_silent(1.0)
        assert all(messages[-1].text == "wait" for messages in talk.responder.writing)
        await talk.until(lambda: len(talk.of(tells.UtteranceStarted)) == 2)
        assert talk.words_waiting == ["I heard wait."]


async def test_an_interruption_stops_asides_too(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.voice.seconds = 1.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.session.say, "One moment please.")
            await trio.sleep(0.5)
            talk.interrupt()
        assert trio.current_time() == pytest.approx(0.5)
        assert not talk.chunks


# --- an answer that nothing was heard of


async def test_a_caller_who_goes_on_before_the_answer_is_heard_is_answered_to_all_of_it(
    autojump_clock: MockClock,
) -> None:
    async with talking() as talk:
        talk.responder.seconds = 2.0
        await talk.say("I would like")
        await talk.say("to book a table")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.take() == ["I heard I would like to book a table."]
        assert talk.prompts[-1] == ["I would like to book a table"]


async def test_a_cough_before_the_answer_is_heard_only_delays_it(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.seconds = 0.6
        await talk.say("what is the time")
        await talk.speak("", 0.1)  # too short to take a turn
        await talk.be_silent(1.0)
        assert len(talk.of(tells.CallerSpeechDismissed)) == 1
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.words_waiting == ["I heard what is the time."]
        assert talk.prompts == [["what is the time"]]


async def test_an_answer_that_was_thrown_away_for_a_noise_is_owed_and_given_again(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.seconds = 0.6
        await talk.say("what is the time")
        await talk.speak("", 0.5)  # a lorry passes: nobody knows yet that it is no words
        assert not talk.responder.writing
        await talk.be_silent(0.5)
        assert len(talk.of(tells.CallerSpeechDismissed)) == 1
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.words_waiting == ["I heard what is the time."]
        assert talk.history == [("caller", "what is the time")]
        await talk.be_silent(5.0)
        assert len(talk.of(tells.UtteranceStarted)) == 1


async def test_a_noise_after_an_answer_was_heard_is_answered_by_nothing(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.say("what is the time")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        talk.take()
        await talk.say("")
        await talk.be_silent(2.0)
        assert len(talk.responder.asked) == 1


# --- the next answer is owed while this one is heard


async def test_an_answer_that_waits_for_a_protected_sentence_waits_until_it_is_let_go(
    autojump_clock: MockClock,
) -> None:
    """While a sentence is protected, the call neither interrupts nor answers: it does both when the sentence ends."""
    async with story_time(call_answers=False) as talk:
        await talk.say("I have a question", 1.0)
        await talk.be_silent(2.0)
        assert len(talk.of(tells.UtteranceStarted)) == 1
        assert talk.responder.writing, "the protected answer goes on"
        assert "I heard I have a question." in talk.voice.spoken
        talk.interrupt()
        talk.session.answer()
        await talk.until(lambda: len(talk.of(tells.UtteranceStarted)) == 2)
        assert not any("dragon" in words for words in talk.words_waiting)
        assert talk.words_waiting == ["I heard I have a question."]


async def test_a_reply_that_breaks_off_does_not_take_the_owed_answer_for_done(autojump_clock: MockClock) -> None:
    """AnswerFailed would be taken for the answer that is owed, and that one never be let go."""
    async with story_time(call_answers=False) as talk:
        await talk.speak("I have a question", 1.0)
        await talk.be_silent(2.0)
        assert len(talk.of(tells.CallerSpeechEnded)) == 2
        talk.voice.failures = [BROKEN]
        await talk.until(lambda: talk.of(tells.Degraded))
        assert not talk.of(tells.AnswerFailed)
