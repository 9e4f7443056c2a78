"""Whether a call can carry 16 kHz."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.audiosocket.wideband import carries_wideband
from agentd.media.wideband import WIDEBAND_FORMATS, is_wideband


@pytest.mark.parametrize(
    "version, carries",
    [
        ("18.26.4", False),
        ("20.16.0", False),
        ("20.17.0", True),
        ("21.11.9", False),
        ("21.12.0", True),
        ("22.6.0", False),
        ("22.7.0", True),
        ("22.10.1", True),
        ("23.0.0", False),
        ("23.1.0", True),
        ("24.0.0", True),
        ("certified-22.8-cert1", True),
        ("certified-20.7-cert3", False),
        ("GIT-master-1a2b3c", False),
        ("", False),
    ],
)
def test_asterisk_s_audiosocket_has_wideband_since(version: str, carries: bool) -> None:
    assert carries_wideband(version) is carries


@pytest.mark.parametrize(
    "native, wideband",
    [
        ("(g722)", True),
        ("(slin16)", True),
        ("(opus|ulaw)", True),
        ("(OPUS)", True),
        ("g722", True),
        ("(ulaw)", False),
        ("(ulaw|alaw)", False),
        ("(ulaw|g722)", False),
        ("(slin)", False),
        ("(slin12)", False),
        ("(gsm)", False),
        ("()", False),
        ("", False),
    ],
)
def test_the_telephone_s_first_codec_decides(native: str, wideband: bool) -> None:
    assert is_wideband(native) is wideband


@given(st.sampled_from(WIDEBAND_FORMATS), st.sampled_from(["ulaw", "alaw", "gsm", "slin"]))
def test_the_order_of_the_codecs_counts(wide: str, narrow: str) -> None:
    assert is_wideband(f"({wide}|{narrow})")
    assert not is_wideband(f"({narrow}|{wide})")


@given(st.text())
def test_whatever_asterisk_says_is_an_answer(text: str) -> None:
    assert carries_wideband(text) in (True, False)
    assert is_wideband(text) in (True, False)
