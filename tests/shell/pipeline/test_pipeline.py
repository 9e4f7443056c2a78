"""The pipeline: a turn's way from sound to sound, words that are given, the prompt, failures, the end."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.agent import Audio, CallInfo, SayOutcome, SegmentEnd, SegmentStart, UtteranceEnd
from agentd_providers.pipeline.answer import Answer
from agentd_providers.pipeline.stages import Message, Role, fill_in
from agentd_providers.turns.end_of_turn import PatienceSettings
from agentd_providers.turns.settings import SentenceCue
from tests.shell.pipeline_fakes import BROKEN, SETTINGS, TURN_END, TURNS, FakeJudge, FakeSentences, Piece, talking

# --- one turn


async def test_a_turn_is_heard_transcribed_answered_and_spoken(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.replies["what is the time"] = ["It is ", "five o'clock."]
        await talk.say("what is the time")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.story == [
            tells.CallerSpeechStarted,
            tells.CallerSpeechConfirmed,
            tells.CallerTakesTurn,
            tells.CallerPaused,
            tells.CallerText,
            tells.CallerText,
            tells.CallerSpeechEnded,
            tells.UtteranceStarted,
            tells.AgentText,
            tells.UtteranceEnded,
        ]
        assert talk.of(tells.CallerText) == [
            tells.CallerText("what is the time", final=False),
            tells.CallerText("what is the time"),
        ]
        assert [type(chunk) for chunk in talk.chunks] == [SegmentStart, Audio, SegmentEnd, UtteranceEnd]
        assert talk.take() == ["It is five o'clock."]
        assert talk.history == [("caller", "what is the time"), ("agent", "It is five o'clock.")]


async def test_a_turn_ends_after_its_silence(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        began = trio.current_time()
        await talk.speak("what is the time")
        await talk.be_silent(TURN_END - 0.02)
        assert not talk.of(tells.CallerSpeechEnded)
        await talk.be_silent(0.04)
        (ended,) = talk.of(tells.CallerSpeechEnded)
        assert ended.at - ended.last_speech_at == pytest.approx(TURN_END, abs=0.03)
        assert ended.last_speech_at - began == pytest.approx(0.5, abs=0.03)


async def test_who_goes_on_before_the_answer_could_be_heard_was_not_cut_off(autojump_clock: MockClock) -> None:
    async with talking(patience=PatienceSettings(300, 300, 1300, 2000)) as talk:
        talk.voice.seconds = 0.3
        await talk.speak("i would like a table")
        await talk.be_silent(TURN_END + 0.06)
        assert not talk.of(tells.CallerSpeechEnded)
        await talk.speak("for two")
        await talk.be_silent(1.0)
        assert talk.of(tells.CallerText)[-1].text == "i would like a table for two"
        assert len(talk.of(tells.CallerSpeechEnded)) == 1


async def test_an_answer_that_cannot_be_made_does_not_hold_the_turn_up(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.replies["what is the time"] = [BROKEN]
        await talk.say("what is the time")
        assert talk.of(tells.CallerSpeechEnded)


async def test_the_first_syllable_is_not_lost(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.be_silent(2.0)
        await talk.say("hello")
        heard = [any(frame) for frame in talk.transcriber.begun[0].heard]
        assert heard.count(True) == 25  # half a second, whole
        assert heard.index(True) == pytest.approx(SETTINGS.pre_roll_ms / 20, abs=2)


async def test_a_turn_that_follows_at_once_does_not_hear_the_end_of_the_one_before(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.say("one")
        await talk.say("two")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.history[0] == ("caller", "one two")


async def test_a_click_is_no_turn(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        for _ in range(10):
            await talk.speak("click", 0.02)
            await talk.be_silent(0.2)
        assert not talk.events
        assert not talk.transcriber.begun


async def test_the_detector_is_kept_open_for_as_long_as_a_turn_lasts(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.be_silent(0.2)
        await talk.say("hello")
        await talk.be_silent(0.2)
        detector = talk.session.detector
        opened = detector.keep_open  # type: ignore[attr-defined]
        assert not opened[0] and not opened[-1]
        assert opened.count(True) == pytest.approx((0.5 + TURN_END) / 0.02, abs=5)


async def test_the_delay_of_caller_audio_is_observed_for_every_frame(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.session.feed(bytes(320), trio.current_time() - 0.1)
        assert talk.delays == pytest.approx([0.1])


async def test_a_sound_without_words_was_no_turn(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.say("")
        assert talk.of(tells.CallerSpeechDismissed) == [tells.CallerSpeechDismissed("no words were recognised")]
        assert not talk.of(tells.CallerSpeechEnded)
        await trio.sleep(2)
        assert not talk.responder.asked
        assert not talk.history


@pytest.mark.parametrize("reply", [[], [""], ["  ", "\n"], ["*", "**"]])
async def test_a_model_without_words_is_told_as_such(reply: list[Piece], autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.replies["hello"] = reply
        await talk.say("hello")
        await talk.until(lambda: talk.of(tells.NothingToSay))
        assert not talk.chunks


async def test_the_first_clause_is_spoken_while_the_rest_is_still_being_written(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.seconds = 1.0
        talk.responder.replies["tell me"] = [
            "Certainly my friend. ", "The second ", "sentence comes ", "a good deal later."
        ]  # fmt: skip
        await talk.say("tell me")
        await talk.until(lambda: talk.audio_waiting)
        assert talk.responder.writing
        assert not talk.of(tells.UtteranceEnded)
        assert [type(chunk) for chunk in talk.chunks] == [SegmentStart, Audio, SegmentEnd]
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.take() == ["Certainly my friend.", "The second sentence comes a good deal later."]
        assert len(talk.of(tells.UtteranceStarted)) == 1


# --- words that are given


async def test_say_speaks_exactly_the_words_as_an_aside(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        assert await talk.session.say("Hello, how can I help you?") is SayOutcome.SPOKEN
        assert talk.of(tells.UtteranceStarted) == [tells.UtteranceStarted(1, aside=True)]
        assert talk.take() == ["Hello, how can I help you?"]
        assert not talk.responder.asked
        await talk.say("who are you")
        assert talk.prompts == [["Hello, how can I help you?", "who are you"]]


async def test_asides_and_an_answer_are_never_interleaved(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.replies["hello"] = ["A first clause. ", "A second clause that is a good deal longer. ", "End."]
        talk.responder.seconds = 0.3
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.say, "hello")
            for moment in range(8):
                await trio.sleep(0.2)
                nursery.start_soon(talk.session.say, f"Aside number {moment}.")
        await talk.until(lambda: len(talk.of(tells.UtteranceEnded)) == 9)
        numbers = [chunk.utterance for chunk in talk.chunks]
        assert numbers == sorted(numbers)
        answers = [event.utterance for event in talk.of(tells.UtteranceStarted) if not event.aside]
        assert len(answers) == 1
        assert len([chunk for chunk in talk.chunks if chunk.utterance == answers[0]]) == 10


async def test_what_cannot_be_said_is_told(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.voice.failures = [BROKEN]
        assert await talk.session.say("Hello.") is SayOutcome.REFUSED
        await trio.testing.wait_all_tasks_blocked()
        assert talk.of(tells.Degraded) == [tells.Degraded("the engine died")]
        assert not talk.of(tells.Ended)


@pytest.mark.parametrize("words", ["Goodbye!", "ok, GOODBYE then", "please hang up."])
async def test_an_end_phrase_says_the_farewell_and_ends_the_session(words: str, autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.say(words)
        await talk.until(lambda: talk.of(tells.Ended))
        assert talk.of(tells.Ended) == [tells.Ended()]
        assert talk.take() == ["Bye bye."]
        assert not talk.responder.asked
        assert await talk.session.say("One more thing.") is SayOutcome.REFUSED


@pytest.mark.parametrize("words", ["goodbyes are hard", "hang upwards", "do not hang the picture up"])
async def test_words_that_only_look_like_an_end_phrase_are_answered(words: str, autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.say(words)
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert not talk.of(tells.Ended)


async def test_a_farewell_is_prepared_at_a_pause_and_waits_for_the_end_of_the_turn(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.speak("goodbye")
        await talk.be_silent(0.24)
        assert talk.voice.spoken == ["Bye bye."]
        assert not talk.chunks
        await talk.speak("and thank you")
        assert not talk.of(tells.Ended)
        await talk.be_silent(TURN_END + 0.02)
        await talk.until(lambda: talk.of(tells.Ended))
        assert talk.take() == ["Bye bye."]
        assert talk.history[0] == ("caller", "goodbye and thank you")


@pytest.mark.parametrize("failing", [False, True])
async def test_without_a_farewell_the_session_just_ends(failing: bool, autojump_clock: MockClock) -> None:
    async with talking(farewell="Bye bye." if failing else "") as talk:
        talk.voice.failures = [BROKEN] if failing else []
        await talk.say("goodbye")
        await talk.until(lambda: talk.of(tells.Ended))
        assert talk.of(tells.Ended) == [tells.Ended()]
        assert not talk.chunks


async def test_digits_that_follow_each_other_quickly_are_one_turn(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        for digit in "12#":
            talk.session.feed_digits(digit)
            await trio.sleep(1.0)
        await trio.sleep(2.0)
        talk.session.feed_digits("9")
        await talk.until(lambda: len(talk.of(tells.UtteranceEnded)) == 2)
        assert [event.text for event in talk.of(tells.CallerText)] == ["(pressed 1 2 #)", "(pressed 9)"]
        assert talk.prompts[0] == ["(pressed 1 2 #)"]


async def test_text_is_a_turn_like_any_other(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.session.feed_text("hello")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.story[:2] == [tells.CallerText, tells.CallerSpeechEnded]
        assert talk.take() == ["I heard hello."]


# --- the prompt


async def test_the_prompt_knows_the_call(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        assert talk.session._replies.messages(Answer(0, 0.0)) == [Message(Role.SYSTEM, "You serve Alice (100) at 600.")]


def test_unknown_callers_and_unknown_braces_leave_the_prompt_readable() -> None:
    prompt = 'Answer {caller_name} as {"json": {}} or {other}.'
    assert fill_in(prompt, CallInfo("1.1")) == 'Answer unknown as {"json": {}} or {other}.'


async def test_a_session_goes_on_where_the_history_stopped(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.session.history.caller_said("my name is Bob")
        talk.session.history.agent_heard(7, "Hello Bob.", "Hello Bob.")
        await talk.say("what is my name")
        assert talk.prompts == [["my name is Bob", "Hello Bob.", "what is my name"]]


# --- cues for the end of turns


async def test_the_sound_of_a_pause_is_judged_with_the_end_of_the_turn(autojump_clock: MockClock) -> None:
    judge = FakeJudge()
    async with talking(judge=judge) as talk:
        await talk.say("a very long story", 12.0)
        (judged,) = judge.judged
        assert len(judged) == 8 * 8000 * 2
        silent = len(judged) - len(judged.rstrip(b"\0"))
        assert silent / 16 == pytest.approx(TURNS.looks_ms[0], abs=21)


async def test_the_model_is_asked_whether_a_sentence_ends_before_it_answers(autojump_clock: MockClock) -> None:
    async with talking(sentence_ends=True) as talk:
        await talk.say("what is the time")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.responder.asked_for_ends == talk.responder.asked


async def test_another_model_is_asked_beside_the_reply_where_the_one_that_writes_it_does_not_tell(
    autojump_clock: MockClock,
) -> None:
    silent, tells_ends = FakeSentences(tells_sentence_ends=False), FakeSentences(seconds=0.4)
    async with talking(sentences=[silent, tells_ends]) as talk:
        await talk.speak("what is the time")
        await talk.be_silent(0.26)
        assert tells_ends.asked == talk.responder.asked
        assert talk.voice.spoken, "the reply does not wait for it"
        await talk.be_silent(0.5)
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert not silent.asked


@pytest.mark.parametrize("cue", SentenceCue)
async def test_who_writes_the_reply_is_asked_rather_than_another_unless_nobody_is_to_be(
    cue: SentenceCue, autojump_clock: MockClock
) -> None:
    other = FakeSentences()
    async with talking(sentence_ends=True, sentences=[other], sentence_cue=cue) as talk:
        await talk.say("what is the time")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert bool(talk.responder.asked_for_ends) == (cue is not SentenceCue.NONE)
        assert not other.asked


async def test_a_model_that_is_asked_beside_the_reply_is_left_with_it(autojump_clock: MockClock) -> None:
    asked = FakeSentences(seconds=30)
    async with talking(sentences=[asked]) as talk:
        await talk.speak("what is")
        await talk.be_silent(0.2)
        await talk.speak("the time")
        await talk.be_silent(0.7)
        assert len(asked.asked) == 2
        await talk.until(lambda: talk.of(tells.UtteranceEnded))


async def test_who_was_asked_for_digits_is_waited_for_while_some_are_due(autojump_clock: MockClock) -> None:
    patience = PatienceSettings(300, 300, 1300, 2000)
    async with talking(patience=patience, sentence_ends=True) as talk:
        history = talk.session.history
        history.agent_speaks(1)
        history.agent_heard(1, "Please tell me your four-digit PIN.", "Please tell me your four-digit PIN.")
        await talk.speak("four seven")
        await talk.be_silent(1.0)
        assert not talk.of(tells.CallerSpeechEnded)
        await talk.speak("one one")
        await talk.be_silent(0.4)
        assert talk.of(tells.CallerSpeechEnded)


@pytest.mark.parametrize("seconds", [0.02, 30.0])
async def test_a_cue_that_fails_or_hangs_delays_a_turn_but_does_not_lose_it(
    seconds: float, autojump_clock: MockClock
) -> None:
    judge = FakeJudge(seconds=seconds, failures=[BROKEN])
    async with talking(judge=judge, sentence_ends=True) as talk:
        talk.responder.failures = [BROKEN]
        await talk.speak("what is the time")
        await talk.be_silent(0.7)
        assert talk.of(tells.CallerSpeechEnded)
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        missing = tells.Degraded("a cue for the end of turns is missing: the engine died")
        assert talk.of(tells.Degraded) == [missing] * (2 if seconds < 1 else 1)
        assert not talk.of(tells.Ended)


# --- failures


async def test_one_failed_answer_is_an_accident(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.replies = {"one": [BROKEN], "one two": ["It is working again."], "three": [BROKEN]}
        await talk.say("one")
        await talk.until(lambda: talk.of(tells.AnswerFailed))
        assert talk.of(tells.AnswerFailed) == [tells.AnswerFailed("the engine died")]
        await talk.say("two")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.take() == ["It is working again."]
        await talk.say("three")
        await talk.until(lambda: len(talk.of(tells.AnswerFailed)) == 2)
        assert not talk.of(tells.Ended)


@pytest.mark.parametrize("stage", ["transcriber", "responder", "voice"])
async def test_two_failed_answers_in_a_row_end_the_session_with_the_reason(
    stage: str, autojump_clock: MockClock
) -> None:
    async with talking() as talk:
        talk.transcriber.failures = [BROKEN, BROKEN] if stage == "transcriber" else []
        talk.responder.replies = {"one": [BROKEN], "one two": [BROKEN]} if stage == "responder" else {}
        talk.voice.failures = [BROKEN, BROKEN] if stage == "voice" else []
        for phrase in ("one", "two"):
            await talk.speak(phrase)
            await talk.be_silent(2.0)
        told = [
            event
            for event in talk.events
            if isinstance(event, tells.Degraded | tells.NothingToSay | tells.AnswerFailed | tells.Ended)
        ]
        assert told == [
            tells.AnswerFailed("the engine died"),
            tells.AnswerFailed("the engine died"),
            tells.Ended("the engine died"),
        ]


async def test_a_transcriber_that_hangs_does_not_hold_the_caller(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.seconds = 5.0
        await talk.speak("are you there")
        await talk.be_silent(2.5 * TURN_END)
        assert talk.of(tells.CallerSpeechEnded)
        assert not talk.history
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.take() == ["I heard are you there."]


async def test_a_reply_that_breaks_off_ends_its_utterance_so_that_the_caller_is_not_left_waiting(
    autojump_clock: MockClock,
) -> None:
    async with talking() as talk:
        talk.responder.replies["tell me"] = ["Certainly my friend. ", "And then ", BROKEN]
        await talk.say("tell me")
        await talk.until(lambda: talk.of(tells.AnswerFailed))
        await trio.sleep(0.1)
        assert [type(chunk) for chunk in talk.chunks] == [SegmentStart, Audio, SegmentEnd, UtteranceEnd]
        assert talk.of(tells.UtteranceEnded) == [tells.UtteranceEnded(1)]


# --- the end


async def test_a_session_that_has_ended_hears_nothing_more(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.say("goodbye")
        await talk.until(lambda: talk.of(tells.Ended))
        before = list(talk.events)
        await talk.say("are you still there")
        talk.session.feed_text("hello?")
        talk.session.feed_digits("1")
        await trio.sleep(5)
        assert talk.events == before
        assert len(talk.transcriber.begun) == 1


async def test_audio_that_comes_after_the_session_was_left_is_of_no_interest(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.speak("hello")
    await talk.be_silent(1.0)
    await talk.say("hello?")
    talk.session.feed_text("hello?")
    assert len(talk.transcriber.begun) == 1


@pytest.mark.parametrize("moment", [index / 25 for index in range(1, 50)])
async def test_a_hang_up_at_any_moment_leaves_nothing(moment: float, autojump_clock: MockClock) -> None:
    """Through a hesitation, a draft, its commitment, an aside, an answer being heard, and its interruption; that
    nothing is left is for `talking` to see."""
    judge = FakeJudge()
    with trio.move_on_after(moment):
        async with talking(judge=judge, sentence_ends=True) as talk:
            talk.responder.replies["tell me please"] = ["Certainly my friend. ", *["And a lot more of all that. "] * 9]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk.session.say, "A greeting.")
                await talk.speak("tell me", 0.2)
                await talk.be_silent(0.2)
                await talk.say("please", 0.2)
                await talk.until(lambda: talk.audio_waiting)
                talk.begin_to_hear("Certainly")
                await talk.say("wait", 0.3)
                await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(moment)
