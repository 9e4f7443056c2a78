"""Our key with a vendor: one that no header can hold is refused before it is sent, and never shown."""

import pytest

from agentd.errors import ConfigError
from agentd_providers.vendor.access import find_key


def test_a_key_is_found_by_its_name_and_none_is_needed_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", "hush1")
    assert find_key("VENDOR_KEY", "the vendor") == "hush1"
    assert find_key("", "the vendor") == ""


@pytest.mark.parametrize("key", ["hush1 ", " hush1", "hush1\n", "hu\tsh1", "hush1é", "hu\u200bsh1"])
def test_a_key_that_no_header_holds_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", key)
    with pytest.raises(ConfigError, match="VENDOR_KEY holds characters that no key has") as caught:
        find_key("VENDOR_KEY", "the vendor")
    assert "hush" not in str(caught.value)
    assert "sh1" not in str(caught.value)
