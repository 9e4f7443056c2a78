"""What a Realtime session does about what comes in, as playbooks: event in, commands out."""

from agentd.session_events import AgentText, CallerSpeechDismissed
from agentd_providers.openai.realtime import commands as do
from agentd_providers.openai.realtime import inputs, messages
from agentd_providers.openai.realtime.events import SpeechStarted
from tests.unit.openai.realtime_playbook import AGENTD, SERVER, Playbook

# --- a sound that was no turn


def test_an_answer_that_waits_in_the_playout_is_not_asked_for_again() -> None:
    play = Playbook(SERVER)
    play.question()
    play.answer()
    play.voice()
    play.end()
    play.on(SpeechStarted("i", 0))  # and the call, which protects other words, does not interrupt
    play.wait(10)
    assert play.told(CallerSpeechDismissed)
    assert not play.asked


def test_an_answer_that_waits_for_the_call_s_word_goes_on_waiting_after_a_cough() -> None:
    play = Playbook(AGENTD)
    play.question()  # over protected words
    play.on(SpeechStarted("i", 0))
    play.wait(10)
    assert play.told(CallerSpeechDismissed)
    assert not play.asked
    assert play.on(inputs.Answer()) == [do.Send(messages.response_create("answer-1"))]


# --- what is too much


def test_a_withheld_answer_is_bounded_in_seconds_of_audio() -> None:
    play = Playbook()
    play.question()
    play.answer()
    play.on(inputs.Withhold())
    for _ in range(400):
        play.voice()
    assert ["too long" in command.reason for command in play.of(do.Degrade)] == [True]
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
    assert sum(len(event.text) for event in play.told(AgentText)) < 64 * 1024 + 30_000
    assert len(play.of(do.Speak)) < 4096
    assert play.of(do.Finish), "its end was kept"
    play.question()
    play.on(inputs.CallerWrote("And now?"))
    play.wait(4)
    assert play.asked, "nothing is in progress any more"
