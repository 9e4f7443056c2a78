"""Codecs that Asterisk passes from telephone to telephone and cannot convert: no agent is heard, and hears nobody.

Sources: chan-sccp/chan-sccp issue 450 (no audio either way), FreePBX/issue-tracker issue 578 (no path from g729),
asterisk/asterisk issue 1594 and andrius/asterisk issue 57 (opus, whose module is not there), seanbright/asterisk-opus
issue 12 (`core show codecs` lists it all the same).
"""

import pytest

from agentd.doctor.codecs import TRANSLATORS, Endpoint, allowed, judge_codecs, translated
from agentd.doctor.findings import State
from agentd.media.codecs import unconverted

STOCK = frozenset({"codec_ulaw", "codec_alaw", "codec_a_mu", "codec_gsm", "codec_g722", "codec_resample", "res_ari"})


@pytest.mark.parametrize(
    ("native", "read", "written", "stuck"),
    [
        # asked of Asterisk 22.10 by a telephone with u-law, g722 and g729, in a bridge with our leg and without
        ("(ulaw)", "slin", "slin", ""),
        ("(ulaw)", "ulaw", "slin", ""),
        ("(g722)", "slin", "slin", ""),
        ("(g729)", "g729", "g729", "g729"),
        ("(opus)", "opus", "opus", "opus"),
        ("(ilbc)", "ilbc", "ilbc", "ilbc"),
        ("(g723)", "g723", "g723", "g723"),
        ("(siren14)", "siren14", "siren14", "siren14"),
        ("(g729|ulaw)", "g729", "g729", "g729"),
        ("(g729|ulaw)", "slin", "slin", ""),
        # ours already
        ("(slin)", "slin", "slin", ""),
        ("(slin16)", "slin16", "slin16", ""),
        # what is not told proves nothing
        ("", "", "", ""),
        ("(g729)", "", "", ""),
        ("(nothing)", "", "", ""),
        ("(h264)", "slin", "slin", ""),
        ("(ulaw", "slin", "none", ""),
    ],
)
def test_a_channel_is_stuck_where_neither_way_is_converted(native: str, read: str, written: str, stuck: str) -> None:
    assert unconverted(native, read, written) == stuck


def test_a_channel_in_the_leg_s_own_codec_has_nothing_to_be_converted() -> None:
    """media=rtp carries u-law: a telephone with u-law is in the bridge as it is, and may be silent for long."""
    assert unconverted("(ulaw|alaw)", "ulaw", "ulaw", "ulaw") == ""
    assert unconverted("(g729)", "g729", "g729", "ulaw") == "g729"


@pytest.mark.parametrize(
    ("codec", "module"),
    [
        ("opus", "codec_opus"),  # Sangoma's
        ("opus", "codec_opus_open_source"),  # Debian's
        ("g729", "codec_g729a"),  # Sangoma's
        ("g729", "codec_g729"),  # bcg729
        ("g729", "codec_dahdi"),  # a card
        ("silk16", "codec_silk"),
        ("siren14", "codec_siren14"),
        ("speex32", "codec_speex"),
        ("g726aal2", "codec_g726"),
    ],
)
def test_a_module_is_known_by_the_beginning_of_its_name(codec: str, module: str) -> None:
    assert not translated(codec, STOCK)
    assert translated(codec, STOCK | {module})


@pytest.mark.parametrize("codec", ["h264", "vp8", "red", "t140", "a codec of tomorrow"])
def test_of_what_is_no_codec_for_audio_nothing_is_said(codec: str) -> None:
    assert translated(codec, STOCK)


@pytest.mark.parametrize(
    ("value", "codecs"),
    [
        ("(ulaw|alaw|g722)", ("ulaw", "alaw", "g722")),
        ("(opus|ulaw|vp8|h264)", ("opus", "ulaw")),  # a web telephone
        ("(nothing)", ()),
        ("", ()),
        (None, ()),
    ],
)
def test_what_an_endpoint_allows_is_read_from_its_attributes(value: str | None, codecs: tuple[str, ...]) -> None:
    assert allowed([{"attribute": "webrtc", "value": "no"}, {"attribute": "allow", "value": value}]) == codecs


@pytest.mark.parametrize("answer", [None, [], {}, "x", [1], [{"attribute": "allow"}]])
def test_an_answer_of_another_shape_allows_nothing(answer: object) -> None:
    assert allowed(answer) == ()


@pytest.mark.parametrize(
    ("allows", "modules", "state", "says"),
    [
        (("ulaw", "alaw", "g722"), STOCK, State.OK, "modules translate each codec"),
        (("opus", "ulaw"), STOCK, State.WARN, "no module translates opus: a call of 100 that agrees on it is handed"),
        (("opus", "ulaw"), STOCK | {"codec_opus_open_source"}, State.OK, "modules translate"),
        (("g729",), STOCK, State.FAIL, "no module translates g729, and 100 allow nothing else"),
        (("g729", "ilbc"), STOCK, State.FAIL, "g729, ilbc"),
        (("ulaw",), frozenset({"codec_resample"}), State.FAIL, "no module translates ulaw"),
        ((), STOCK, State.OK, "modules translate"),
    ],
)
def test_the_doctor_names_what_no_module_translates(
    allows: tuple[str, ...], modules: frozenset[str], state: State, says: str
) -> None:
    finding = judge_codecs([Endpoint("100", allows), Endpoint("101", ("alaw",))], modules | {"codec_alaw"}, 2)
    assert (finding.check, finding.state) == ("codecs", state)
    assert says in finding.found
    assert bool(finding.advice) == (state is not State.OK)
    if finding.advice:
        assert "allow = !all,ulaw,alaw,g722" in finding.advice[-1]


def test_each_codec_has_its_remedy() -> None:
    for codec in TRANSLATORS:
        finding = judge_codecs([Endpoint("100", (codec,))], frozenset({"codec_resample"}), 1)
        assert finding.state is State.FAIL
        assert finding.advice[0].startswith(f"{codec}: ")
    assert "codec_opus_open_source" in judge_codecs([Endpoint("1", ("opus",))], STOCK, 1).advice[0]


def test_many_endpoints_are_named_by_a_few_and_the_rest_counted() -> None:
    endpoints = [Endpoint(str(number), ("opus", "ulaw")) for number in range(200)]
    finding = judge_codecs(endpoints, STOCK, 500)
    assert "0, 1, 2, 3, 4 and 195 more" in finding.found
    assert "(of 500 endpoints the first 200 were looked at)" in finding.found


def test_without_an_endpoint_of_pjsip_nothing_is_claimed() -> None:
    assert judge_codecs([], STOCK, 0).state is State.OK
