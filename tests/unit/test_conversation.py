"""Conversations as playbooks: what happens | what agentd does | what an operator reads.

Each line of a playbook is one event, the commands that answer it, and the state afterwards. Read them aloud.
"""

import attrs
import pytest

from agentd.agent import CallerSpeechEnded, CallerSpeechStarted, NothingToSay
from agentd.agent import Ended as AgentEnded
from agentd.conversation import (
    AgentFailed,
    CallerHungUp,
    Command,
    Connected,
    Conversation,
    DigitPressed,
    DiscardAnswer,
    End,
    FeedDigit,
    Greet,
    Leave,
    Left,
    Line,
    MediaFailed,
    MediaLost,
    MediaRestored,
    PlaybackFinished,
    PlaybackStarted,
    Result,
    ShutdownDue,
    Transition,
)

EVENTS: dict[str, object] = {
    "media and agent are up": Connected(),
    "the caller begins to speak": CallerSpeechStarted(1.0),
    "the caller has spoken": CallerSpeechEnded(3.0, 2.5),
    "the agent has nothing to say": NothingToSay("no words were recognised"),
    "the caller begins to hear the agent": PlaybackStarted(1),
    "the agent has been heard": PlaybackFinished(1, idle=True),
    "the agent has been heard, and more waits": PlaybackFinished(1, idle=False),
    "the caller presses 5": DigitPressed("5"),
    "the media leg is lost": MediaLost("closed by Asterisk"),
    "the media leg is back": MediaRestored(),
    "no media leg can be had": MediaFailed("no connection within 5 s"),
    "no agent can be had": AgentFailed("the engine is down"),
    "the agent says farewell": AgentEnded(),
    "the agent breaks": AgentEnded("the engine died"),
    "the caller hangs up": CallerHungUp(),
    "the daemon's patience is over": ShutdownDue(),
    "the channel is handed back": Left(),
}
COMMANDS: dict[str, Command] = {
    "greet": Greet(),
    "feed 5": FeedDigit("5"),
    "discard the answer": DiscardAnswer(),
    "leave completed, when all is heard": Leave(Result.COMPLETED, finish=True),
    "announce and leave failed:media": Leave(Result.FAILED_MEDIA, "no connection within 5 s", announce=True),
    "announce and leave failed:agent": Leave(Result.FAILED_AGENT, "the engine is down", announce=True),
    "announce the break and leave failed:agent": Leave(Result.FAILED_AGENT, "the engine died", announce=True),
    "announce and leave shutdown": Leave(Result.SHUTDOWN, announce=True),
    "free everything": End(Result.CALLER_HUNG_UP),
}


def play(playbook: str) -> Conversation:
    """Step through a playbook; each line has to come true. Gives the conversation as it stands then."""
    conversation = Conversation()
    for line in filter(None, map(str.strip, playbook.splitlines())):
        event, commands, state = (part.strip() for part in line.split("|"))
        step = conversation.step(EVENTS[event])
        expected = tuple(COMMANDS[command] for command in commands.split(" and then ") if command)
        assert (step.commands, str(conversation.state)) == (expected, state), line
    return conversation


def test_the_caller_asks_and_the_agent_answers() -> None:
    conversation = play("""
        media and agent are up              | greet                              | Idle
        the caller begins to hear the agent |                                    | Speaking
        the agent has been heard            |                                    | Idle
        the caller begins to speak          |                                    | Streaming
        the caller has spoken               |                                    | Processing
        the caller begins to hear the agent |                                    | Speaking
        the agent has been heard            |                                    | Idle
        the caller hangs up                 | free everything                    | Ended
    """)
    assert conversation.line is Line.ENDED


def test_the_caller_speaks_before_the_greeting_is_heard() -> None:
    play("""
        media and agent are up              | greet                              | Idle
        the caller begins to speak          |                                    | Streaming
        the caller begins to hear the agent |                                    | Speaking
        the caller has spoken               |                                    | Speaking
        the agent has been heard            |                                    | Processing
        the caller begins to hear the agent |                                    | Speaking
        the agent has been heard            |                                    | Idle
    """)


def test_an_answer_to_half_a_question_is_discarded() -> None:
    play("""
        media and agent are up              | greet                              | Idle
        the caller begins to speak          |                                    | Streaming
        the caller has spoken               |                                    | Processing
        the caller begins to speak          | discard the answer                 | Streaming
        the caller has spoken               |                                    | Processing
        the caller begins to hear the agent |                                    | Speaking
    """)


def test_a_cough_gets_no_answer() -> None:
    play("""
        media and agent are up              | greet                              | Idle
        the caller begins to speak          |                                    | Streaming
        the caller has spoken               |                                    | Processing
        the agent has nothing to say        |                                    | Idle
    """)


def test_news_of_an_answer_that_was_thrown_away_does_not_silence_the_caller_who_goes_on() -> None:
    play("""
        media and agent are up              | greet                              | Idle
        the caller begins to speak          |                                    | Streaming
        the agent has nothing to say        |                                    | Streaming
        the caller has spoken               |                                    | Processing
    """)


def test_a_question_while_the_agent_speaks_is_answered_afterwards() -> None:
    play("""
        media and agent are up                   | greet                         | Idle
        the caller begins to hear the agent      |                               | Speaking
        the caller begins to speak               |                               | Speaking
        the caller has spoken                    |                               | Speaking
        the agent has been heard                 |                               | Processing
        the caller begins to hear the agent      |                               | Speaking
        the agent has been heard                 |                               | Idle
    """)


def test_a_cough_while_the_agent_speaks_is_owed_nothing() -> None:
    play("""
        media and agent are up                   | greet                         | Idle
        the caller begins to hear the agent      |                               | Speaking
        the caller begins to speak               |                               | Speaking
        the caller has spoken                    |                               | Speaking
        the agent has nothing to say             |                               | Speaking
        the agent has been heard                 |                               | Idle
    """)


def test_between_two_utterances_the_agent_is_not_idle() -> None:
    play("""
        media and agent are up                   | greet                         | Idle
        the caller begins to hear the agent      |                               | Speaking
        the agent has been heard, and more waits |                               | Processing
        the caller begins to hear the agent      |                               | Speaking
        the agent has been heard                 |                               | Idle
    """)


def test_digits_reach_the_agent_whatever_it_does() -> None:
    play("""
        media and agent are up              | greet                              | Idle
        the caller presses 5                | feed 5                             | Idle
        the caller begins to speak          |                                    | Streaming
        the caller presses 5                | feed 5                             | Streaming
        the caller has spoken               |                                    | Processing
        the caller presses 5                | feed 5                             | Processing
        the caller begins to hear the agent |                                    | Speaking
        the caller presses 5                | feed 5                             | Speaking
        the caller has spoken               |                                    | Speaking
        the caller presses 5                | feed 5                             | Speaking
        the media leg is lost               |                                    | Connecting
        the caller presses 5                | feed 5                             | Connecting
    """)


def test_digits_before_the_agent_is_there_and_after_the_end_reach_nobody() -> None:
    play("""
        the caller presses 5                |                                    | Connecting
        media and agent are up              | greet                              | Idle
        the agent says farewell             | leave completed, when all is heard | Ended
        the caller presses 5                |                                    | Ended
    """)


def test_the_agent_says_farewell_and_is_heard_to_the_end() -> None:
    conversation = play("""
        media and agent are up              | greet                              | Idle
        the caller begins to speak          |                                    | Streaming
        the caller has spoken               |                                    | Processing
        the caller begins to hear the agent |                                    | Speaking
        the agent says farewell             | leave completed, when all is heard | Ended
        the agent has been heard            |                                    | Ended
        the channel is handed back          |                                    | Ended
    """)
    assert conversation.line is Line.ENDED


def test_the_caller_hangs_up_during_the_farewell() -> None:
    play("""
        media and agent are up              | greet                              | Idle
        the agent says farewell             | leave completed, when all is heard | Ended
        the caller hangs up                 | free everything                    | Ended
        the channel is handed back          |                                    | Ended
    """)


def test_a_lost_media_leg_is_replaced_and_the_conversation_goes_on() -> None:
    play("""
        media and agent are up              | greet                              | Idle
        the caller begins to speak          |                                    | Streaming
        the media leg is lost               |                                    | Connecting
        the media leg is back               |                                    | Idle
        the caller begins to speak          |                                    | Streaming
        the caller has spoken               |                                    | Processing
        the caller begins to hear the agent |                                    | Speaking
    """)


def test_an_answer_goes_on_while_the_media_leg_is_replaced() -> None:
    play("""
        media and agent are up              | greet                              | Idle
        the caller begins to speak          |                                    | Streaming
        the caller has spoken               |                                    | Processing
        the media leg is lost               |                                    | Connecting
        the caller begins to hear the agent |                                    | Connecting
        the media leg is back               |                                    | Speaking
        the agent has been heard            |                                    | Idle
    """)


def test_a_media_leg_that_does_not_come_back_ends_the_call_with_an_announcement() -> None:
    play("""
        media and agent are up              | greet                              | Idle
        the media leg is lost               |                                    | Connecting
        no media leg can be had             | announce and leave failed:media    | Ended
        the media leg is back               |                                    | Ended
        the channel is handed back          |                                    | Ended
    """)


def test_a_media_leg_that_never_comes_ends_the_call_with_an_announcement() -> None:
    play("""
        no media leg can be had             | announce and leave failed:media    | Ended
        media and agent are up              |                                    | Ended
        the channel is handed back          |                                    | Ended
    """)


def test_an_agent_that_cannot_be_had_ends_the_call_with_an_announcement() -> None:
    play("""
        no agent can be had                 | announce and leave failed:agent    | Ended
        no media leg can be had             |                                    | Ended
        the channel is handed back          |                                    | Ended
    """)


def test_an_agent_that_breaks_ends_the_call_with_an_announcement() -> None:
    play("""
        media and agent are up              | greet                                     | Idle
        the caller begins to speak          |                                           | Streaming
        the agent breaks                    | announce the break and leave failed:agent | Ended
        the agent breaks                    |                                           | Ended
        the channel is handed back          |                                           | Ended
    """)


@pytest.mark.parametrize(
    "before",
    [
        "",
        "media and agent are up | greet | Idle",
        "media and agent are up | greet | Idle\nthe media leg is lost | | Connecting",
        "media and agent are up | greet | Idle\nthe caller begins to speak | | Streaming",
        "media and agent are up | greet | Idle\nthe caller has spoken | | Processing",
        "media and agent are up | greet | Idle\nthe caller begins to hear the agent | | Speaking",
    ],
)
def test_shutdown_is_announced_from_wherever_the_call_is(before: str) -> None:
    play(f"""
        {before}
        the daemon's patience is over       | announce and leave shutdown        | Ended
        the daemon's patience is over       |                                    | Ended
        the channel is handed back          |                                    | Ended
    """)


def test_the_caller_hangs_up_before_anything_is_up() -> None:
    play("""
        the caller hangs up                 | free everything                    | Ended
        media and agent are up              |                                    | Ended
        the caller hangs up                 |                                    | Ended
    """)


@pytest.mark.parametrize("late", EVENTS)
def test_whatever_comes_after_the_hang_up_is_harmless(late: str) -> None:
    conversation = play("""
        media and agent are up              | greet                              | Idle
        the caller hangs up                 | free everything                    | Ended
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
    assert conversation.step(Connected()).transitions == (Transition("line", "connecting", "live", "Connected"),)
    assert conversation.step(CallerSpeechStarted(1.0)).transitions == (
        Transition("caller", "silent", "speaking", "CallerSpeechStarted"),
    )
    assert conversation.step(CallerSpeechEnded(3.0, 2.5)).transitions == (
        Transition("caller", "speaking", "silent", "CallerSpeechEnded"),
        Transition("agent", "idle", "preparing", "CallerSpeechEnded"),
    )
    assert conversation.step(DigitPressed("5")).transitions == ()
