"""Whether a call can carry 16 kHz."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.media.wideband import WIDEBAND_FORMATS, is_wideband


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
    assert is_wideband(text) in (True, False)
