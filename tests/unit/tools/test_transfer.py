"""Destinations are what an Asterisk dialplan may have, and nothing that a dialplan function would read otherwise."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.contract import Transfer
from agentd.tools.transfer import TRANSFER, TransferSettings, parse_destination


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("200@from-internal", Transfer("from-internal", "200")),
        ("400@ext-queues", Transfer("ext-queues", "400")),
        ("*97@app_voicemail.1", Transfer("app_voicemail.1", "*97")),
        ("+4930123456@trunk", Transfer("trunk", "+4930123456")),
        ("s@queue-sales", Transfer("queue-sales", "s")),
    ],
)
def test_an_extension_and_its_context(text: str, destination: Transfer) -> None:
    assert parse_destination(text) == destination


@pytest.mark.parametrize(
    "text",
    [
        "",
        "200",
        "@",
        "200@",
        "@from-internal",
        "200@a@b",
        "200@from internal",
        "200@from-internal\n",
        "200,1@from-internal",
        "200@from-internal,1",
        "200)@x",
        "${EVIL}@x",
        "200@${EVIL}",
        "200@x)(",
        '200"@x',
        "_X.@from-internal",
        "20é@x",
        "2" * 80 + "@x",
        "2@" + "x" * 80,
    ],
)
def test_what_is_no_destination(text: str) -> None:
    assert parse_destination(text) is None


@given(st.text() | st.from_regex(r"[ -~]{1,8}@[ -~]{1,8}", fullmatch=True))
def test_whatever_is_taken_is_two_plain_arguments_of_a_function(text: str) -> None:
    if (found := parse_destination(text)) is not None:
        assert f"{found.extension}@{found.context}" == text
        assert re.fullmatch(r"[0-9A-Za-z*#+._-]+,[0-9A-Za-z*#+._-]+", f"{found.context},{found.extension}")


def test_the_model_may_choose_among_the_names_only() -> None:
    settings = TransferSettings(
        {"sales": "200@from-internal", "support": "400@ext-queues"}, {"support": "for broken things"}
    )
    declaration = TRANSFER.make("operator", "", settings).declaration
    assert declaration.name == "operator"
    assert declaration.parameters == {
        "type": "object",
        "properties": {
            "destination": {
                "type": "string",
                "enum": ["sales", "support"],
                "description": "Where to; support: for broken things",
            }
        },
        "required": ["destination"],
        "additionalProperties": False,
    }
    assert "200" not in str(declaration)
