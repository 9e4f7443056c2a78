"""Dialplans as people write them: arguments left out, empty, or with a comma too many. Each case names its source."""

import pytest

from agentd.dialplan import StasisArguments, parse_arguments

WAYS = ("external", "fork")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # AVA PR 457, phpari issue 67 (`appArgs => ''`): what Stasis() passes on of Gosub(agentd-call,...,1(...))
        ("", StasisArguments()),
        ("agent=,media=", StasisArguments()),
        ("agent=sales,media=", StasisArguments("sales")),
        ("agent=,media=fork", StasisArguments("", "fork")),
        ("agent=sales,", StasisArguments("sales")),
        (",agent=sales", StasisArguments("sales")),
        ("agent=sales,,media=fork", StasisArguments("sales", "fork")),
        (",,,", StasisArguments()),
        (" , ", StasisArguments()),
        ("agent= ,media= ", StasisArguments()),
        ("fallback=", StasisArguments()),
        ("agent=,media=,num-pres=,name-pres=,fallback=", StasisArguments()),
        (
            "agent=sales,media=,num-pres=allowed,name-pres=prohib,fallback=from-internal|200|1",
            StasisArguments("sales", "", "allowed", "prohib", "from-internal|200|1"),
        ),
    ],
)
def test_what_is_left_out_or_empty_is_the_default(line: str, expected: StasisArguments) -> None:
    assert parse_arguments(tuple(line.split(",")) if line else (), WAYS) == expected
