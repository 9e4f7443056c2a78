"""What an extension asks for: Stasis(agentd,agent=NAME,media=WAY)."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.dialplan import DialplanError, StasisArguments, parse_arguments

WAYS = ("external", "fork")
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


def test_an_extension_that_asks_for_nothing_gets_the_configuration_s_defaults() -> None:
    assert parse_arguments((), WAYS) == StasisArguments("", "")


def test_an_extension_names_its_agent_and_its_media_way_in_either_order() -> None:
    asked = StasisArguments("sales", "fork")
    assert parse_arguments(("agent=sales", "media=fork"), WAYS) == asked
    assert parse_arguments(("media=fork", "agent=sales"), WAYS) == asked


@pytest.mark.parametrize("way", WAYS)
def test_every_media_way_can_be_asked_for(way: str) -> None:
    assert parse_arguments((f"media={way}",), WAYS).media == way


def test_spaces_that_the_dialplan_s_author_left_do_not_matter() -> None:
    assert parse_arguments((" agent = sales ", " media= external"), WAYS) == StasisArguments("sales", "external")


def test_an_empty_agent_is_the_default_one() -> None:
    assert parse_arguments(("agent=",), WAYS) == StasisArguments()


def test_a_name_may_hold_an_equals_sign() -> None:
    assert parse_arguments(("agent=a=b",), WAYS).agent == "a=b"


@pytest.mark.parametrize(
    "argument, expected",
    [
        ("sales", r"'sales' should be name=value, as in Stasis\(agentd,agent=NAME\)"),
        ("media=carrier-pigeon", "media='carrier-pigeon' should be one of external, fork"),
        ("media=Fork", "media='Fork' should be one of external, fork"),
        ("agnet=sales", "'agnet=sales' is unknown; there are agent=NAME, media=WAY, fallback=PLACE"),
        ("Agent=sales", "'Agent=sales' is unknown"),
    ],
)
def test_a_wrong_argument_is_refused_in_words_for_the_dialplan_s_author(argument: str, expected: str) -> None:
    with pytest.raises(DialplanError, match=expected):
        parse_arguments((argument,), WAYS)


@pytest.mark.parametrize("arguments", [("agent=a", "agent=b"), ("media=fork", "media=external")])
def test_an_argument_that_is_given_twice_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(DialplanError, match="given twice"):
        parse_arguments(arguments, WAYS)


@unhurried
@given(st.lists(st.text() | st.sampled_from(["agent=", "media=", "media=fork"])))
def test_arguments_of_any_kind_are_read_or_refused(args: list[str]) -> None:
    try:
        parse_arguments(tuple(args), WAYS)
    except DialplanError:
        pass
