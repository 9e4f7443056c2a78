"""Words over the agent: those that take no turn, and those that always do."""

import pytest

from agentd_providers.turns.settings import BACKCHANNELS, COMMANDS
from agentd_providers.turns.small_words import HUMS, is_backchannel, is_command
from agentd_providers.turns.words import plain_words

KNOWN = frozenset(BACKCHANNELS)


@pytest.mark.parametrize("text", ["Mhm.", "Right.", "Okay, okay.", "I see.", "yeah sure"])
def test_what_is_said_while_listening_is_a_backchannel(text: str) -> None:
    assert is_backchannel(plain_words(text), 1000, KNOWN, asked=False)


@pytest.mark.parametrize("text", ["Yes.", "Right.", "Sure.", "Mhm.", "Uh-huh.", "Mm-hmm."])
def test_upon_a_question_it_is_an_answer(text: str) -> None:
    assert not is_backchannel(plain_words(text), 400, KNOWN, asked=True)


@pytest.mark.parametrize("hum", sorted(HUMS))
def test_a_lone_hum_is_none_even_upon_a_question(hum: str) -> None:
    assert is_backchannel([hum], 400, KNOWN, asked=True)


@pytest.mark.parametrize("text", ["Stop.", "No!", "wait", "Hello?", "Hold on.", "Excuse me.", "oh no", "no thank you"])
def test_who_says_stop_no_wait_or_hello_wants_the_agent_to_stop(text: str) -> None:
    assert is_command(plain_words(text), frozenset(COMMANDS))


@pytest.mark.parametrize("text", ["Mhm.", "Right.", "I see.", "hold", "excuse"])
def test_others_do_not(text: str) -> None:
    assert not is_command(plain_words(text), frozenset(COMMANDS))


def test_no_command_is_a_backchannel() -> None:
    assert not set(COMMANDS) & KNOWN
