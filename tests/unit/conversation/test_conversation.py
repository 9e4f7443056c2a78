"""Conversations as playbooks: what happens | what agentd does | what an operator reads.

Each line of a playbook is one event, the commands that answer it, and the state afterwards. Read them aloud.
"""

import attrs
import pytest

from agentd import session_events as tells
from agentd.conversation import commands as do
from agentd.conversation import events as happens
from agentd.conversation.commands import Command, Destination, Phrase, Result
from agentd.conversation.machine import Conversation, Hold, Line, Transition

EVENTS: dict[str, object] = {
    "media and agent are up": happens.Connected(),
    "the caller makes a sound": tells.CallerSpeechStarted(1.0),
    "the sound goes on": tells.CallerSpeechConfirmed(1.2),
    "the sound is likely nothing": tells.CallerSpeechDoubted(1.3),
    "the caller takes the turn": tells.CallerTakesTurn(1.4),
    "it was a cough": tells.CallerSpeechDismissed("no words were recognised"),
    'it was a "mhm"': tells.CallerSpeechDismissed("a backchannel while the agent spoke"),
    "the caller pauses": tells.CallerPaused(2.0),
    "the caller goes on": tells.CallerSpeechResumed(2.4),
    "the caller has spoken": tells.CallerSpeechEnded(3.0, 2.5),
    "the agent has nothing to say": tells.NothingToSay("no words were recognised"),
    "the greeting begins": happens.AsideStarted(1),
    "words that are no answer begin": happens.AsideStarted(2),
    "the answer begins": happens.PlaybackStarted(3),
    "all has been heard": happens.PlaybackFinished(3, idle=True),
    "it has been heard, and more waits": happens.PlaybackFinished(3, idle=False),
    "the notice begins": happens.ProtectionBegan(),
    "the notice is over": happens.ProtectionEnded(),
    "the answer is taken back": tells.Withdrawn(3),
    "nobody speaks": happens.CheckInDue(),
    "still nobody speaks": happens.SilenceOver(),
    "the answer takes its time": happens.AnswerSlow(),
    "the time is nearly up": happens.DurationWarningDue(),
    "the time is up": happens.DurationOver(),
    "the caller presses 5": happens.DigitPressed("5"),
    "the media leg is lost": happens.MediaLost("closed by Asterisk"),
    "the media leg is back": happens.MediaRestored(),
    "no media leg can be had": happens.MediaFailed("no connection within 5 s"),
    "no agent can be had": happens.AgentFailed("the engine is down"),
    "another session takes over": happens.AgentReplaced(),
    "the agent says farewell": tells.Ended(),
    "the agent ends the call": happens.DepartureRequested(Result.COMPLETED),
    "the agent transfers the call": happens.DepartureRequested(Result.TRANSFERRED, Destination("from-internal", "200")),
    "the agent breaks": tells.Ended("the engine died"),
    "the caller holds": happens.HoldBegan(),
    "the caller is back": happens.HoldEnded(),
    "another party is there": happens.CallerReplaced("PJSIP/sales-2"),
    "the caller hangs up": happens.CallerHungUp(),
    "the daemon's patience is over": happens.ShutdownDue(),
    "the channel is handed back": happens.Left(),
}
COMMANDS: dict[str, Command] = {
    "greet": do.Say(Phrase.GREETING),
    "check in": do.Say(Phrase.CHECK_IN),
    "say a filler": do.Say(Phrase.FILLER),
    "warn": do.Say(Phrase.DURATION_WARNING),
    "feed 5": do.FeedDigit("5"),
    "answer": do.Answer(),
    "withhold": do.Withhold(),
    "attenuate": do.Attenuate(),
    "pause": do.Pause(),
    "restore": do.Restore(),
    "hold": do.Hold(),
    "unhold": do.Unhold(),
    "interrupt": do.Interrupt(),
    "stop that": do.Withdraw(3),
    "leave completed, when all is heard": do.Leave(Result.COMPLETED, finish=True),
    "leave for 200, when all is heard": do.Leave(
        Result.TRANSFERRED, finish=True, destination=Destination("from-internal", "200")
    ),
    "announce, leave failed:media": do.Leave(Result.FAILED_MEDIA, "no connection within 5 s", announce=True),
    "announce, leave failed:agent": do.Leave(Result.FAILED_AGENT, "the engine is down", announce=True),
    "tell the break, leave failed:agent": do.Leave(Result.FAILED_AGENT, "the engine died", announce=True),
    "announce, leave shutdown": do.Leave(Result.SHUTDOWN, announce=True),
    "announce, leave caller-silent": do.Leave(Result.CALLER_SILENT, announce=True),
    "announce, leave max-duration": do.Leave(Result.MAX_DURATION, announce=True),
    "free everything": do.End(Result.CALLER_HUNG_UP),
}

GREETED = """
    media and agent are up            | greet                               | Idle
    the greeting begins               |                                     | Speaking
    all has been heard                |                                     | Idle
"""
ASKED = f"""{GREETED}
    the caller makes a sound          |                                     | Streaming
    the sound goes on                 |                                     | Streaming
    the caller takes the turn         |                                     | Streaming
    the caller pauses                 |                                     | Streaming
    the caller has spoken             | answer                              | Processing
"""
ANSWERING = f"""{ASKED}
    the answer begins                 |                                     | Speaking
"""


def play(playbook: str) -> Conversation:
    """Step through a playbook; each line has to come true. Gives the conversation as it stands then."""
    conversation = Conversation()
    for line in filter(None, map(str.strip, playbook.splitlines())):
        event, commands, state = (part.strip() for part in line.split("|"))
        step = conversation.step(EVENTS[event])
        expected = tuple(COMMANDS[command] for command in commands.split(" and then ") if command)
        assert (step.commands, str(conversation.state)) == (expected, state), line
    return conversation


# --- on hold


def test_an_agent_that_speaks_when_the_caller_holds_goes_on_where_it_stopped() -> None:
    play(f"""{ANSWERING}
        the caller holds                  | hold                                | Speaking
        the caller is back                | unhold                              | Speaking
        all has been heard                |                                     | Idle
    """)


def test_a_turn_that_a_hold_has_cut_off_is_answered_when_the_caller_is_back() -> None:
    play(f"""{GREETED}
        the caller makes a sound          |                                     | Streaming
        the caller takes the turn         |                                     | Streaming
        the caller holds                  | hold                                | Streaming
        the caller has spoken             | answer                              | Processing
        the answer takes its time         |                                     | Processing
        the caller is back                | unhold                              | Processing
        the answer begins                 |                                     | Speaking
    """)


@pytest.mark.parametrize(
    "due", ["nobody speaks", "still nobody speaks", "the answer takes its time", "the time is nearly up"]
)
def test_who_holds_is_asked_nothing_and_told_nothing(due: str) -> None:
    conversation = play(f"""{GREETED}
        the caller holds                  | hold                                | Idle
        {due}                             |                                     | Idle
        the caller is back                | unhold                              | Idle
    """)
    assert conversation.hold is Hold.OFF


def test_a_caller_who_holds_before_the_call_is_up_is_greeted_later() -> None:
    play("""
        the caller holds                  | hold                                | Connecting
        media and agent are up            | greet                               | Idle
        the caller is back                | unhold                              | Idle
        the greeting begins               |                                     | Speaking
    """)


def test_a_hold_is_over_when_another_party_takes_the_caller_s_place() -> None:
    play(f"""{GREETED}
        the caller holds                  | hold                                | Idle
        another party is there            | unhold                              | Idle
    """)


def test_one_hold_told_twice_is_one() -> None:
    play(f"""{GREETED}
        the caller is back                |                                     | Idle
        the caller holds                  | hold                                | Idle
        the caller holds                  |                                     | Idle
        the caller is back                | unhold                              | Idle
    """)


def test_last_words_that_wait_for_the_caller_begin_when_they_are_back_and_are_heard_whole() -> None:
    play(f"""{GREETED}
        the caller holds                  | hold                                | Idle
        the agent ends the call           | leave completed, when all is heard  | Ended
        the caller is back                | unhold                              | Ended
        the caller holds                  |                                     | Ended
    """)


def test_the_time_of_a_call_is_up_on_hold_too() -> None:
    play(f"""{GREETED}
        the caller holds                  | hold                                | Idle
        the time is up                    | announce, leave max-duration        | Ended
    """)


# --- taking turns


def test_the_caller_asks_and_the_agent_answers() -> None:
    conversation = play(f"""{ANSWERING}
        all has been heard                |                                     | Idle
        the caller hangs up               | free everything                     | Ended
    """)
    assert conversation.line is Line.ENDED


def test_a_hesitation_is_waited_for() -> None:
    play(f"""{GREETED}
        the caller makes a sound          |                                     | Streaming
        the caller takes the turn         |                                     | Streaming
        the caller pauses                 |                                     | Streaming
        the caller goes on                |                                     | Streaming
        the caller pauses                 |                                     | Streaming
        the caller has spoken             | answer                              | Processing
    """)


def test_a_cough_into_silence_gets_no_answer() -> None:
    play(f"""{GREETED}
        the caller makes a sound          |                                     | Streaming
        the caller pauses                 |                                     | Streaming
        it was a cough                    |                                     | Idle
    """)


def test_a_turn_that_needs_no_answer_gets_none() -> None:
    play(f"""{ASKED}
        the agent has nothing to say      |                                     | Idle
    """)


# --- words that the agent takes back


def test_an_answer_that_is_taken_back_stops_and_another_one_follows() -> None:
    play(f"""{ANSWERING}
        the answer is taken back          | stop that                           | Processing
        all has been heard                |                                     | Processing
        the answer takes its time         | say a filler                        | Processing
        the answer begins                 |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


@pytest.mark.parametrize("further", ["", "the sound goes on | pause | Speaking"], ids=["attenuated", "paused"])
def test_over_a_sound_of_the_callers_the_other_answer_waits_for_what_comes_of_it(further: str) -> None:
    begin = f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        {further}
        the answer is taken back          | stop that and then withhold         | Streaming
    """
    play(f"""{begin}
        it was a cough                    | answer                              | Processing
    """)
    play(f"""{begin}
        the caller takes the turn         | interrupt                           | Streaming
        the caller has spoken             | answer                              | Processing
    """)


def test_what_must_be_heard_to_its_end_is_not_where_it_is_taken_back_and_what_is_owed_follows() -> None:
    play(f"""{ANSWERING}
        the notice begins                 |                                     | Speaking
        the caller makes a sound          |                                     | Speaking
        the caller has spoken             |                                     | Speaking
        the answer is taken back          | stop that and then answer           | Processing
        all has been heard                |                                     | Processing
        the notice is over                |                                     | Processing
        the answer begins                 |                                     | Speaking
    """)


def test_the_same_while_the_caller_goes_on_waits_for_the_end_of_that() -> None:
    play(f"""{ANSWERING}
        the notice begins                 |                                     | Speaking
        the caller makes a sound          |                                     | Speaking
        the caller has spoken             |                                     | Speaking
        the caller makes a sound          |                                     | Speaking
        the answer is taken back          | stop that                           | Streaming
        the notice is over                |                                     | Streaming
        the caller has spoken             | interrupt and then answer           | Processing
    """)


def test_on_hold_an_answer_is_taken_back_too() -> None:
    play(f"""{ANSWERING}
        the caller holds                  | hold                                | Speaking
        the answer is taken back          | stop that                           | Processing
        the answer takes its time         |                                     | Processing
        the caller is back                | unhold                              | Processing
        the answer begins                 |                                     | Speaking
    """)


# --- a caller who goes on before the answer is heard


def test_an_answer_to_half_a_question_is_withheld_and_thrown_away() -> None:
    play(f"""{ASKED}
        the caller makes a sound          | withhold                            | Streaming
        the sound goes on                 |                                     | Streaming
        the caller takes the turn         | interrupt                           | Streaming
        the caller pauses                 |                                     | Streaming
        the caller has spoken             | answer                              | Processing
        the answer begins                 |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


def test_an_answer_that_was_withheld_for_a_cough_is_let_go() -> None:
    play(f"""{ASKED}
        the caller makes a sound          | withhold                            | Streaming
        it was a cough                    | answer                              | Processing
        the answer begins                 |                                     | Speaking
    """)


def test_an_answer_that_could_not_be_withheld_any_more_is_attenuated_like_any_speech() -> None:
    play(f"""{ASKED}
        the caller makes a sound          | withhold                            | Streaming
        the answer begins                 | attenuate                           | Speaking
        it was a cough                    | restore                             | Speaking
        all has been heard                |                                     | Idle
    """)


def test_news_that_there_is_no_answer_does_not_silence_the_caller_who_goes_on() -> None:
    play(f"""{ASKED}
        the caller makes a sound          | withhold                            | Streaming
        the agent has nothing to say      |                                     | Streaming
        the caller takes the turn         |                                     | Streaming
        the caller has spoken             | answer                              | Processing
    """)


# --- barge-in, by degrees


def test_an_interruption_attenuates_at_the_onset_pauses_and_then_stops() -> None:
    play(f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        the sound goes on                 | pause                               | Speaking
        the caller takes the turn         | interrupt                           | Streaming
        all has been heard                |                                     | Streaming
        the caller pauses                 |                                     | Streaming
        the caller has spoken             | answer                              | Processing
        the answer begins                 |                                     | Speaking
    """)


def test_a_short_cough_only_attenuates() -> None:
    play(f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        the caller pauses                 |                                     | Speaking
        it was a cough                    | restore                             | Speaking
        all has been heard                |                                     | Idle
    """)


def test_after_a_mhm_the_agent_goes_on_where_it_paused() -> None:
    play(f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        the sound goes on                 | pause                               | Speaking
        the caller pauses                 |                                     | Speaking
        it was a "mhm"                    | restore                             | Speaking
        all has been heard                |                                     | Idle
    """)


def test_the_agent_goes_on_as_soon_as_a_sound_is_likely_nothing() -> None:
    play(f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        the sound goes on                 | pause                               | Speaking
        the sound is likely nothing       | restore                             | Speaking
        the caller pauses                 |                                     | Speaking
        it was a "mhm"                    |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


def test_a_sound_that_was_doubted_and_turns_out_to_be_a_turn_interrupts() -> None:
    play(f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        the sound goes on                 | pause                               | Speaking
        the sound is likely nothing       | restore                             | Speaking
        the caller takes the turn         | interrupt                           | Streaming
        the caller has spoken             | answer                              | Processing
    """)


def test_who_goes_on_after_a_doubtful_sound_has_the_agent_pause_again() -> None:
    play(f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        the sound goes on                 | pause                               | Speaking
        the sound is likely nothing       | restore                             | Speaking
        the caller pauses                 |                                     | Speaking
        the caller goes on                |                                     | Speaking
        the sound goes on                 | pause                               | Speaking
        the caller takes the turn         | interrupt                           | Streaming
    """)


def test_words_take_the_turn_at_once() -> None:
    play(f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        the caller takes the turn         | interrupt                           | Streaming
        the caller has spoken             | answer                              | Processing
    """)


def test_a_turn_that_is_over_interrupts_in_any_case() -> None:
    play(f"""{ANSWERING}
        the caller has spoken             | interrupt and then answer           | Processing
        the answer begins                 |                                     | Speaking
        the caller makes a sound          | attenuate                           | Speaking
        the caller has spoken             | interrupt and then answer           | Processing
        the answer begins                 |                                     | Speaking
        the caller makes a sound          | attenuate                           | Speaking
        the sound goes on                 | pause                               | Speaking
        the caller has spoken             | interrupt and then answer           | Processing
    """)


def test_the_greeting_can_be_interrupted() -> None:
    play("""
        media and agent are up            | greet                               | Idle
        the greeting begins               |                                     | Speaking
        the caller makes a sound          | attenuate                           | Speaking
        the sound goes on                 | pause                               | Speaking
        the caller takes the turn         | interrupt                           | Streaming
        the caller has spoken             | answer                              | Processing
    """)


def test_an_utterance_that_ends_under_a_sound_leaves_the_next_one_at_full_level() -> None:
    play(f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        all has been heard                | restore                             | Streaming
        it was a cough                    |                                     | Idle
        nobody speaks                     | check in                            | Idle
    """)


def test_what_begins_while_the_caller_speaks_begins_attenuated() -> None:
    play("""
        media and agent are up            | greet                               | Idle
        the caller makes a sound          |                                     | Streaming
        the greeting begins               | attenuate                           | Speaking
        it was a cough                    | restore                             | Speaking
    """)


def test_between_two_utterances_the_agent_speaks_on() -> None:
    play(f"""{ANSWERING}
        it has been heard, and more waits |                                     | Speaking
        words that are no answer begin    |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


def test_a_sound_across_two_utterances_is_one_sound() -> None:
    play(f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        it has been heard, and more waits |                                     | Speaking
        words that are no answer begin    |                                     | Speaking
        it was a cough                    | restore                             | Speaking
    """)


# --- protection


PROTECTED = """
    media and agent are up            | greet                               | Idle
    the greeting begins               |                                     | Speaking
    the notice begins                 |                                     | Speaking
"""


def test_a_protected_notice_is_heard_whatever_the_caller_does() -> None:
    play(f"""{PROTECTED}
        the caller makes a sound          |                                     | Speaking
        the sound goes on                 |                                     | Speaking
        the caller takes the turn         |                                     | Speaking
        the caller presses 5              | feed 5                              | Speaking
        the caller pauses                 |                                     | Speaking
        it was a cough                    |                                     | Speaking
        the notice is over                |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


def test_a_question_during_the_notice_is_answered_once_it_is_over() -> None:
    play(f"""{PROTECTED}
        the caller makes a sound          |                                     | Speaking
        the caller takes the turn         |                                     | Speaking
        the caller has spoken             |                                     | Speaking
        the caller presses 5              | feed 5                              | Speaking
        the notice is over                | interrupt and then answer           | Processing
        all has been heard                |                                     | Processing
        the answer begins                 |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


def test_a_question_during_a_protected_greeting_is_answered_after_it() -> None:
    play(f"""{PROTECTED}
        the caller has spoken             |                                     | Speaking
        all has been heard                | answer                              | Processing
        the notice is over                |                                     | Processing
    """)


def test_a_caller_who_still_speaks_when_the_notice_is_over_pauses_the_agent() -> None:
    play(f"""{PROTECTED}
        the caller makes a sound          |                                     | Speaking
        the caller takes the turn         |                                     | Speaking
        the notice is over                | pause                               | Speaking
        the caller has spoken             | interrupt and then answer           | Processing
    """)


def test_a_caller_who_goes_on_after_a_question_is_not_answered_yet_when_the_notice_is_over() -> None:
    play(f"""{PROTECTED}
        the caller has spoken             |                                     | Speaking
        the caller makes a sound          |                                     | Speaking
        the caller takes the turn         |                                     | Speaking
        the notice is over                | interrupt                           | Streaming
        all has been heard                |                                     | Streaming
        the caller has spoken             | interrupt and then answer           | Processing
    """)


def test_a_question_during_the_notice_that_needs_no_answer_is_owed_none() -> None:
    play(f"""{PROTECTED}
        the caller has spoken             |                                     | Speaking
        the agent has nothing to say      |                                     | Speaking
        the notice is over                |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


@pytest.mark.parametrize("degree", ["", "the sound goes on | pause | Speaking"])
def test_a_notice_is_heard_at_full_level_even_if_the_caller_made_a_sound_before_it(degree: str) -> None:
    play(f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        {degree}
        the notice begins                 | restore                             | Speaking
        it was a cough                    |                                     | Speaking
        the notice is over                |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


def test_an_answer_that_was_let_go_survives_a_protected_aside_before_it() -> None:
    play(f"""{ASKED}
        words that are no answer begin    |                                     | Speaking
        the notice begins                 |                                     | Speaking
        the caller presses 5              | feed 5                              | Speaking
        the notice is over                |                                     | Speaking
        it has been heard, and more waits | answer                              | Processing
        the answer begins                 |                                     | Speaking
    """)


# --- asides that leave an answer owed


FILLER = f"""{ASKED}
    the answer takes its time         | say a filler                        | Processing
    words that are no answer begin    |                                     | Speaking
"""


def test_after_a_filler_the_answer_is_still_to_come() -> None:
    play(f"""{FILLER}
        all has been heard                | answer                              | Processing
        the answer begins                 |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


def test_a_filler_that_came_too_late_is_owed_nothing() -> None:
    play(f"""{ASKED}
        the answer takes its time         | say a filler                        | Processing
        the answer begins                 |                                     | Speaking
        it has been heard, and more waits |                                     | Speaking
        words that are no answer begin    |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


def test_the_caller_may_take_the_turn_during_a_filler() -> None:
    play(f"""{FILLER}
        the caller makes a sound          |                                     | Speaking
        the caller takes the turn         | interrupt                           | Streaming
        the caller has spoken             | answer                              | Processing
    """)


def test_no_answer_begins_over_a_caller_who_speaks_when_the_filler_ends() -> None:
    play(f"""{FILLER}
        the caller makes a sound          |                                     | Speaking
        all has been heard                | withhold                            | Streaming
        it was a cough                    | answer                              | Processing
    """)


def test_an_answer_that_is_withheld_when_the_filler_begins_comes_after_it() -> None:
    play(f"""{ASKED}
        the answer takes its time         | say a filler                        | Processing
        the caller makes a sound          | withhold                            | Streaming
        words that are no answer begin    |                                     | Speaking
        it was a cough                    |                                     | Speaking
        all has been heard                | answer                              | Processing
        the answer begins                 |                                     | Speaking
    """)


def test_after_a_filler_the_agent_may_find_that_it_has_nothing_to_say() -> None:
    play(f"""{FILLER}
        the agent has nothing to say      |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


# --- when nobody speaks, and for how long


def test_a_silent_caller_is_asked_and_then_let_go() -> None:
    play(f"""{GREETED}
        nobody speaks                     | check in                            | Idle
        words that are no answer begin    |                                     | Speaking
        all has been heard                |                                     | Idle
        still nobody speaks               | announce, leave caller-silent       | Ended
        the channel is handed back        |                                     | Ended
    """)


@pytest.mark.parametrize("busy", [ASKED, ANSWERING])
def test_nobody_is_asked_whether_they_are_there_while_the_agent_is_at_work(busy: str) -> None:
    conversation = play(busy)
    assert conversation.step(happens.CheckInDue()).commands == ()


def test_a_filler_is_for_an_answer_in_preparation_only() -> None:
    play(f"""{GREETED}
        the answer takes its time         |                                     | Idle
    """)
    play(f"""{ANSWERING}
        the answer takes its time         |                                     | Speaking
    """)


def test_a_long_call_is_warned_and_then_ended() -> None:
    conversation = play(f"""{ANSWERING}
        the time is nearly up             | warn                                | Speaking
        it has been heard, and more waits |                                     | Speaking
        words that are no answer begin    |                                     | Speaking
        all has been heard                |                                     | Idle
        the time is up                    | announce, leave max-duration        | Ended
        the channel is handed back        |                                     | Ended
    """)
    assert conversation.line is Line.ENDED


def test_a_call_s_time_is_up_even_while_its_media_leg_is_lost() -> None:
    play(f"""{GREETED}
        the media leg is lost             |                                     | Connecting
        the time is up                    | announce, leave max-duration        | Ended
    """)


# --- digits


def test_digits_reach_the_agent_whatever_it_does_and_interrupt_what_it_says() -> None:
    play(f"""{GREETED}
        the caller presses 5              | feed 5                              | Idle
        the caller makes a sound          |                                     | Streaming
        the caller presses 5              | feed 5                              | Streaming
        the caller has spoken             | answer                              | Processing
        the caller presses 5              | feed 5                              | Processing
        the caller makes a sound          | withhold                            | Streaming
        the caller presses 5              | feed 5                              | Streaming
        it was a cough                    | answer                              | Processing
        the answer begins                 |                                     | Speaking
        the caller presses 5              | interrupt and then feed 5           | Idle
        the media leg is lost             |                                     | Connecting
        the caller presses 5              | feed 5                              | Connecting
    """)


@pytest.mark.parametrize("degree", ["", "the sound goes on | pause | Speaking"])
def test_digits_interrupt_an_agent_that_is_attenuated_or_paused(degree: str) -> None:
    play(f"""{ANSWERING}
        the caller makes a sound          | attenuate                           | Speaking
        {degree}
        the caller presses 5              | interrupt and then feed 5           | Streaming
    """)


def test_digits_interrupt_a_filler() -> None:
    play(f"""{FILLER}
        the caller presses 5              | interrupt and then feed 5           | Idle
    """)


def test_digits_before_the_agent_is_there_and_after_the_end_reach_nobody() -> None:
    play("""
        the caller presses 5              |                                     | Connecting
        media and agent are up            | greet                               | Idle
        the agent says farewell           | leave completed, when all is heard  | Ended
        the caller presses 5              |                                     | Ended
    """)


# --- the media leg


def test_a_lost_media_leg_is_replaced_and_the_conversation_goes_on() -> None:
    play(f"""{GREETED}
        the caller makes a sound          |                                     | Streaming
        the media leg is lost             |                                     | Connecting
        the media leg is back             |                                     | Idle
        the caller makes a sound          |                                     | Streaming
        the caller has spoken             | answer                              | Processing
    """)


def test_an_answer_goes_on_while_the_media_leg_is_replaced() -> None:
    play(f"""{ASKED}
        the media leg is lost             |                                     | Connecting
        the answer begins                 |                                     | Connecting
        the media leg is back             |                                     | Speaking
        all has been heard                |                                     | Idle
    """)


def test_a_media_leg_that_does_not_come_back_ends_the_call_with_an_announcement() -> None:
    play(f"""{GREETED}
        the media leg is lost             |                                     | Connecting
        no media leg can be had           | announce, leave failed:media        | Ended
        the media leg is back             |                                     | Ended
        the channel is handed back        |                                     | Ended
    """)


def test_a_media_leg_that_never_comes_ends_the_call_with_an_announcement() -> None:
    play("""
        no media leg can be had           | announce, leave failed:media        | Ended
        media and agent are up            |                                     | Ended
        the channel is handed back        |                                     | Ended
    """)


# --- the end


def test_the_agent_says_farewell_and_is_heard_to_the_end() -> None:
    conversation = play(f"""{ANSWERING}
        the agent says farewell           | leave completed, when all is heard  | Ended
        the caller takes the turn         |                                     | Ended
        all has been heard                |                                     | Ended
        the channel is handed back        |                                     | Ended
    """)
    assert conversation.line is Line.ENDED


def test_the_caller_hangs_up_during_the_farewell() -> None:
    play(f"""{GREETED}
        the agent says farewell           | leave completed, when all is heard  | Ended
        the caller hangs up               | free everything                     | Ended
        the channel is handed back        |                                     | Ended
    """)


def test_an_agent_that_cannot_be_had_ends_the_call_with_an_announcement() -> None:
    play("""
        no agent can be had               | announce, leave failed:agent        | Ended
        no media leg can be had           |                                     | Ended
        the channel is handed back        |                                     | Ended
    """)


def test_an_agent_that_breaks_ends_the_call_with_an_announcement() -> None:
    play(f"""{ASKED}
        the agent breaks                  | tell the break, leave failed:agent  | Ended
        the agent breaks                  |                                     | Ended
        the channel is handed back        |                                     | Ended
    """)


@pytest.mark.parametrize(
    "before",
    ["", GREETED, f"{GREETED}\nthe media leg is lost | | Connecting", ASKED, FILLER, ANSWERING, PROTECTED],
)
def test_shutdown_is_announced_from_wherever_the_call_is(before: str) -> None:
    play(f"""{before}
        the daemon's patience is over     | announce, leave shutdown            | Ended
        the daemon's patience is over     |                                     | Ended
        the channel is handed back        |                                     | Ended
    """)


def test_the_caller_hangs_up_before_anything_is_up() -> None:
    play("""
        the caller hangs up               | free everything                     | Ended
        media and agent are up            |                                     | Ended
        the caller hangs up               |                                     | Ended
    """)


def test_nothing_that_the_caller_does_interrupts_the_words_before_a_transfer() -> None:
    play(f"""{ANSWERING}
        the agent transfers the call      | leave for 200, when all is heard    | Ended
        the caller makes a sound          |                                     | Ended
        the sound goes on                 |                                     | Ended
        the caller takes the turn         |                                     | Ended
        the caller presses 5              |                                     | Ended
        the caller has spoken             |                                     | Ended
        the agent ends the call           |                                     | Ended
        all has been heard                |                                     | Ended
        the channel is handed back        |                                     | Ended
    """)


def test_the_agent_may_end_the_call_while_the_media_leg_is_lost() -> None:
    play(f"""{GREETED}
        the media leg is lost             |                                     | Connecting
        the agent ends the call           | leave completed, when all is heard  | Ended
        the caller hangs up               | free everything                     | Ended
    """)


# --- a session that is replaced


def test_what_the_caller_is_saying_the_new_session_will_tell() -> None:
    play(f"""{GREETED}
        the caller makes a sound          |                                     | Streaming
        another session takes over        |                                     | Idle
        the caller makes a sound          |                                     | Streaming
        the caller has spoken             | answer                              | Processing
    """)


def test_an_answer_that_is_due_is_still_due() -> None:
    play(f"""{ASKED}
        another session takes over        |                                     | Processing
        words that are no answer begin    |                                     | Speaking
        all has been heard                | answer                              | Processing
        the answer begins                 |                                     | Speaking
    """)


def test_an_answer_that_was_withheld_is_let_go() -> None:
    play(f"""{ASKED}
        the caller makes a sound          | withhold                            | Streaming
        another session takes over        |                                     | Processing
        the answer begins                 |                                     | Speaking
    """)


@pytest.mark.parametrize(
    ("sound", "command"), [("the caller makes a sound", "attenuate"), ("the sound goes on", "pause")]
)
def test_what_a_sound_has_lowered_is_itself_again(sound: str, command: str) -> None:
    play(f"""{ANSWERING}
        {sound}                           | {command}                           | Speaking
        another session takes over        | restore                             | Speaking
        all has been heard                |                                     | Idle
    """)


@pytest.mark.parametrize("late", EVENTS)
def test_whatever_comes_after_the_hang_up_is_harmless(late: str) -> None:
    conversation = play(f"""{ANSWERING}
        the caller hangs up               | free everything                     | Ended
    """)
    ended = attrs.evolve(conversation)
    step = conversation.step(EVENTS[late])
    assert (step.commands, step.transitions) == ((), ())
    assert conversation == ended


def test_what_the_machine_does_not_know_changes_nothing() -> None:
    conversation = Conversation()
    assert conversation.step("no event at all").commands == ()
    assert conversation == Conversation()


def test_every_transition_is_told_with_its_region_and_cause() -> None:
    conversation = Conversation()
    assert conversation.step(happens.Connected()).transitions == (
        Transition("line", "connecting", "live", "Connected"),
    )
    assert conversation.step(tells.CallerSpeechStarted(1.0)).transitions == (
        Transition("caller", "silent", "speaking", "CallerSpeechStarted"),
    )
    assert conversation.step(tells.CallerSpeechEnded(3.0, 2.5)).transitions == (
        Transition("caller", "speaking", "silent", "CallerSpeechEnded"),
        Transition("agent", "idle", "preparing", "CallerSpeechEnded"),
    )
    assert conversation.step(happens.DigitPressed("5")).transitions == ()
    assert conversation.step(happens.ProtectionBegan()).transitions == (
        Transition("protection", "open", "protected", "ProtectionBegan"),
    )
