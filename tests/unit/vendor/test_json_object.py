"""A vendor's text message is a JSON object in whole characters, or an error that shows no secret."""

import pytest

from agentd.errors import ProviderProtocolError
from agentd_providers.vendor.json_object import SHOWN, parse_object


def test_half_a_character_is_not_taken() -> None:
    text = r'{"a": ["\ud83d", "\ud83d\ude00"], "\ude00": {}}'
    assert parse_object("Vendor", text) == {"a": ["\ufffd", "😀"], "\ufffd": {}}


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", "7", "[" * 100_000, "[" * 99 + "]" * 99])
def test_what_is_no_json_object_is_a_protocol_error_that_shows_only_its_beginning(text: str) -> None:
    with pytest.raises(ProviderProtocolError, match="Vendor: expected") as caught:
        parse_object("Vendor", text)
    assert len(str(caught.value)) < 300


def test_what_is_shown_of_it_is_concealed_before_it_is_cut() -> None:
    text = " " * (SHOWN - 5) + "secret-key"
    with pytest.raises(ProviderProtocolError) as caught:
        parse_object("Vendor", text, lambda message: message.replace("secret-key", "***"))
    assert "secre" not in str(caught.value)
