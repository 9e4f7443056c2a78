"""What a Realtime session does about what comes in, as playbooks: event in, commands out."""

from agentd import session_events as tells
from agentd.agent import SayOutcome
from agentd.budgets import HELD_ANSWERS
from agentd.history import ToolUse
from agentd_providers.openai.realtime import messages
from agentd_providers.openai.realtime.events import ResponseCreated, SpeechStarted, VendorError
from agentd_providers.vendor import commands as do
from agentd_providers.vendor import inputs
from tests.unit.openai.realtime_playbook import AGENTD, SECOND, SERVER, Playbook

# --- a sound that was no turn


def test_an_answer_that_waits_in_the_playout_is_not_asked_for_again() -> None:
    play = Playbook(SERVER)
    play.question()
    play.answer()
    play.voice()
    play.end()
    play.on(SpeechStarted("i", 0))  # and the call, which protects other words, does not interrupt
    play.wait(10)
    assert play.told(tells.CallerSpeechDismissed)
    assert not play.asked


def test_an_answer_that_waits_for_the_call_s_word_goes_on_waiting_after_a_cough() -> None:
    play = Playbook(AGENTD)
    play.question()  # over protected words
    play.on(SpeechStarted("i", 0))
    play.wait(10)
    assert play.told(tells.CallerSpeechDismissed)
    assert not play.asked
    assert play.on(inputs.Answer()) == [do.Send(messages.response_create("answer-1"))]


# --- who makes the next answer


def test_the_server_s_own_answer_is_asked_for_where_it_does_not_come() -> None:
    play = Playbook(SERVER)
    play.question()
    assert not play.wait(2.75)
    assert play.wait(0.25) == [do.Send(messages.response_create("answer-1"))]
    assert not play.wait(10)


def test_a_result_that_comes_after_the_turn_is_over_waits_for_the_call_s_word_and_is_spoken_of_once() -> None:
    play = Playbook(AGENTD)
    play.question()
    play.on(inputs.Answer())
    play.answer()
    play.end("r1", "completed", "call_1")
    play.question()  # over protected words: the call does not interrupt, and says nothing yet
    play.on(inputs.ToolResult("call_1", "7"))
    assert play.asked == ["answer-1"], "an answer without the call's word"
    play.on(inputs.Answer())
    play.answer("r2")
    play.voice("r2")
    play.end("r2")
    assert play.asked == ["answer-1", "answer-2"], "it was to everything so far"


def test_text_over_an_aside_that_gives_way_is_answered_once() -> None:
    play = Playbook(SERVER)
    play.question()
    play.answer()  # of which nothing is heard yet, while the caller hears a greeting
    play.on(inputs.Interrupt())
    play.on(inputs.CallerWrote("four"))
    play.end("r1", "cancelled")
    play.on(inputs.Answer())
    play.answer("r2")
    play.voice("r2")
    play.end("r2")
    assert play.asked == ["answer-1"]


def test_a_request_that_an_interruption_made_void_is_not_the_answer_to_what_was_written_since() -> None:
    play = Playbook(AGENTD)
    play.on(inputs.CallerWrote("Hello."), inputs.Answer())
    play.on(inputs.Interrupt())
    play.on(inputs.CallerWrote("And another thing."), inputs.Answer())
    assert play.asked == ["answer-1"]
    assert play.answer("r1") == [do.Send(messages.response_cancel("r1"))], "it knows half"
    assert play.end("r1", "cancelled") == [do.Send(messages.response_create("answer-2"))]


def test_a_void_answer_that_begins_is_not_the_one_that_the_server_makes_by_itself() -> None:
    play = Playbook(SERVER)
    play.on(inputs.CallerWrote("four"))
    play.question()
    play.answer("r1")
    play.end("r1", "cancelled")
    play.wait(3)
    assert play.asked == ["answer-1", "answer-2"], "the server has forgotten its own"


def test_an_answer_to_an_earlier_turn_does_not_answer_the_last_one() -> None:
    play = Playbook(AGENTD)
    play.on(inputs.CallerWrote("one"), inputs.Answer())
    play.answer("r1")
    play.on(inputs.CallerWrote("two"), inputs.Answer())
    play.voice("r1")
    play.on(inputs.Started(1))
    play.on(SpeechStarted("i", 0), inputs.Interrupt())
    play.end("r1", "cancelled")
    play.wait(10)
    assert play.told(tells.CallerSpeechDismissed)
    assert play.asked == ["answer-1", "answer-2"]


def test_two_sounds_whose_ends_are_not_told_are_one_and_cost_no_answer() -> None:
    play = Playbook(AGENTD)
    play.question()
    play.on(inputs.Answer())
    play.answer("r1")
    play.on(SpeechStarted("i", 0), inputs.Interrupt())
    play.end("r1", "cancelled")
    play.on(SpeechStarted("i", 0))  # nothing is left to interrupt
    play.wait(10)
    assert play.told(tells.CallerSpeechDismissed)
    assert play.asked == ["answer-1", "answer-2"]


def test_a_refusal_because_of_another_answer_is_not_provoked_again_before_that_has_ended() -> None:
    play = Playbook(SERVER)
    play.on(inputs.CallerWrote("four"))
    play.on(VendorError("invalid_request_error", "conversation_already_has_active_response", "no", cause="answer-1"))
    assert not play.wait(10)
    assert not play.on(ResponseCreated("r1"))[1:]
    assert play.end("r1")[-1] == do.Send(messages.response_create("answer-2"))


# --- words to say


def test_words_are_refused_while_anything_is_on_its_way() -> None:
    play = Playbook(SERVER)
    play.question()
    refused = [do.Decide(1, SayOutcome.REFUSED)]
    assert play.on(inputs.Say(1, "One moment.")) == refused, "the server is about to answer"
    play.wait(3)
    assert play.on(inputs.Say(1, "One moment.")) == refused, "an answer was asked for"
    play.answer()
    assert play.on(inputs.Say(1, "One moment.")) == refused, "it has begun"
    play.voice()
    play.end()
    assert play.on(inputs.Say(2, "One moment.")) == [do.Send(messages.say_create("One moment.", "say-2"))]
    assert play.on(inputs.Say(1, "Hello?")) == refused, "one after the other"


def test_words_that_nobody_waits_for_any_more_are_given_up() -> None:
    play = Playbook()
    play.on(inputs.Say(1, "One moment."))
    play.on(ResponseCreated("r1", "say-1"))
    assert play.on(inputs.SayOver(1)) == [
        do.Send(messages.response_cancel("r1")),
        do.Decide(1, SayOutcome.REFUSED),
    ]
    assert not play.voice("r1")


def test_words_that_are_on_their_way_are_decided_once() -> None:
    play = Playbook()
    play.on(inputs.Say(1, "One moment."), ResponseCreated("r1", "say-1"))
    assert play.voice("r1") == [
        do.Begin(1, aside=True, text="One moment."),
        do.Speak(SECOND),
        do.Decide(1, SayOutcome.REPLACED),
    ]
    assert not play.on(inputs.SayOver(1))


# --- the end


def test_what_a_tool_gives_after_the_end_is_recorded_and_nothing_else_is_done() -> None:
    play = Playbook()
    play.question()
    play.answer()
    play.end("r1", "completed", "call_1")
    play.on(inputs.Say(1, "One moment."))
    assert play.on(inputs.Lost("gone")) == [do.Decide(1, SayOutcome.REFUSED), do.End("gone")]
    assert not play.on(inputs.CallerWrote("four"), inputs.Interrupt(), inputs.Lost("gone"), inputs.Closed())
    assert play.on(inputs.Say(2, "Hello?")) == [do.Decide(2, SayOutcome.REFUSED)]
    assert play.on(inputs.ToolResult("call_1", "7")) == [do.RecordTool(ToolUse("tool", "{}", "7"))]


# --- what is too much


def test_a_withheld_answer_is_bounded_in_seconds_of_audio() -> None:
    play = Playbook()
    play.question()
    play.answer()
    play.on(inputs.Withhold())
    for _ in range(400):
        play.voice()
    assert ["too long" in command.reason for command in play.of(do.Degrade)] == [True]
    assert play.of(do.Exceeded) == [do.Exceeded(HELD_ANSWERS)] * 200, "audio and words"
    play.end()
    assert not play.of(do.Begin)
    play.on(inputs.Answer())
    assert play.of(do.Begin) == [do.Begin(1)]
    assert len(play.of(do.Speak)) == 300
    play.on(inputs.Started(1))
    assert play.on(inputs.Heard(1, 300_000, True)) == [do.Send(messages.item_truncate("item of r1", 300_000))], (
        "the server does not take the rest to have been heard"
    )


def test_a_withheld_answer_is_bounded_in_characters_and_messages() -> None:
    play = Playbook()
    play.question()
    play.answer()
    play.on(inputs.Withhold())
    for _ in range(50):
        play.voice(words="x" * 30_000, audio=b"")
    for _ in range(4000):
        play.voice(audio=b"")
    assert len(play.of(do.Degrade)) == 1
    play.end()
    play.end()
    assert not play.of(do.End)
    play.on(inputs.Answer())
    assert sum(len(event.text) for event in play.told(tells.AgentText)) < 64 * 1024 + 30_000
    assert len(play.of(do.Speak)) < 4096
    assert play.of(do.Finish), "its end was kept"
    play.question()
    play.on(inputs.CallerWrote("And now?"))
    play.wait(4)
    assert play.asked, "nothing is in progress any more"
