"""Words that are kept for the next agentd are read back as they were, and nothing else is played to a caller."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.agent import Audio
from agentd.config.settings import AgentConfig, Failover
from agentd.service.kept_words import from_bytes, kept_texts, key, to_bytes

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

names = st.text(max_size=20)
pieces = st.lists(
    st.builds(
        lambda samples, rate: Audio(0, 0, samples * 2, rate),
        st.binary(min_size=1, max_size=50),
        st.sampled_from([8000, 16000, 24000]),
    ),
    min_size=1,
    max_size=4,
).map(tuple)


@unhurried
@given(names, names, pieces)
def test_what_was_written_is_read_back(agent: str, text: str, spoken: tuple[Audio, ...]) -> None:
    assert from_bytes(agent, text, to_bytes(agent, text, spoken)) == spoken


@unhurried
@given(names, names, pieces, st.integers(0, 1000))
def test_a_file_that_was_cut_is_nothing(agent: str, text: str, spoken: tuple[Audio, ...], at: int) -> None:
    whole = to_bytes(agent, text, spoken)
    assert from_bytes(agent, text, whole[: at % len(whole)]) == ()


@unhurried
@given(st.binary(max_size=200))
def test_any_other_bytes_are_nothing(data: bytes) -> None:
    assert from_bytes("front", "Hello", data) == ()


def test_what_another_agent_says_or_in_other_words_is_nothing() -> None:
    data = to_bytes("front", "Hello", (Audio(0, 0, bytes(4), 8000),))
    assert from_bytes("other", "Hello", data) == from_bytes("front", "Hi", data) == ()


def test_each_text_of_each_agent_has_a_file_of_its_own() -> None:
    assert len({key("a", "b c"), key("a b", "c"), key("a", "b"), key("b", "a")}) == 4


def test_the_words_of_the_wait_are_kept_as_far_as_there_are_any() -> None:
    assert kept_texts(AgentConfig(failover=Failover(restart_words="Back.", hold_message="Wait."))) == {"Back.", "Wait."}
    assert kept_texts(AgentConfig(failover=Failover(restart_words="", hold_message=""))) == frozenset()
