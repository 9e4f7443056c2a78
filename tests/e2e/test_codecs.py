"""A telephone whose codec the real Asterisk cannot convert: its caller is handed back, and nothing counts as heard.

Source: chan-sccp/chan-sccp issue 450: the call stayed up in silence both ways.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentd.doctor import State, examine
from tests.e2e.test_containment import SOON, Host, a_host, handed_back, served_as_ever
from tests.lab.daemon import environment
from tests.lab.delivery import G729, ULAW, Codec
from tests.lab.measure import speech_spans
from tests.lab.prefix import Prefix
from tests.lab.sip import SipCaller
from tests.lab.speech import human_prompts, silence

pytestmark = [pytest.mark.e2e, pytest.mark.long]

PATIENCE = 30.0
G723 = Codec(4, "G723/8000", bytes.fromhex("010203") * 8)
ALLOWED = "ulaw,g729,g723,opus"
DIALPLAN = """
exten => 7620,1,Gosub(agentd-call,${EXTEN},1(default,external))
exten => 7621,1,Gosub(agentd-call,${EXTEN},1(default,fork))
exten => 7622,1,Gosub(agentd-call,${EXTEN},1(files,external))
"""


@asynccontextmanager
async def a_host_without_translators(prefix: Prefix, directory: Path) -> AsyncIterator[Host]:
    """Its telephones may agree on codecs that nothing converts there."""
    async with a_host(prefix, directory, dialplan=DIALPLAN) as host:
        await allow(host, ALLOWED)
        yield host


async def allow(host: Host, codecs: str) -> None:
    """The codecs that the telephones of the lab may agree on."""
    path = host.pbx.directory / "etc" / "pjsip.conf"
    path.write_text(re.sub(r"^allow = .*", f"allow = {codecs}", path.read_text(), count=1, flags=re.M))
    await host.pbx.cli("module reload res_pjsip.so")


@pytest.mark.parametrize("codec", [G729, G723], ids=["g729", "g723"])
@pytest.mark.parametrize("extension", ["7620", "7621", "7622"], ids=["streaming", "fork", "files"])
async def test_a_caller_whose_codec_cannot_be_converted_is_handed_back_with_the_reason(
    extension: str, codec: Codec, pbx_prefix: Prefix, tmp_path: Path
) -> None:
    name = codec.name.partition("/")[0].lower()
    async with a_host_without_translators(pbx_prefix, tmp_path) as host, host.daemon() as daemon:
        async with SipCaller(codec=codec).call(host.pbx.sip_uri(extension)) as call:
            await daemon.wait_for("call", timeout=PATIENCE)
            await handed_back(host, call, SOON)
        ended = await daemon.wait_for("call ended")
        assert ended["result"] == "failed:media"
        (told,) = daemon.having("Asterisk cannot convert the caller's codec")
        assert told["codec"] == name
        assert f"the codec of the caller's line ({name})" in daemon.having("leaving")[0]["detail"]
        assert not daemon.having("utterance heard")
        assert not daemon.having("streaming failed: the call goes on with file playback")
        assert "agentd_codecs_unconverted_total 1.0" in await daemon.metrics()
        await host.nothing_is_stuck()
        await served_as_ever(host, daemon)


async def test_a_telephone_that_has_another_codec_too_is_heard(pbx_prefix: Prefix, tmp_path: Path) -> None:
    """The endpoint prefers what cannot be converted; Asterisk takes what the two have in common."""
    (speech,) = (one.pcm() for one in human_prompts(pbx_prefix) if one.name == "conf-onlyperson")
    async with a_host_without_translators(pbx_prefix, tmp_path) as host, host.daemon() as daemon:
        async with SipCaller(codec=ULAW).call(host.pbx.sip_uri("7620")) as call:
            await daemon.wait_for("utterance heard", timeout=PATIENCE)
            await call.play(silence(0.5) + speech + silence(0.8))
            await daemon.wait_for("caller said", timeout=PATIENCE)
            assert speech_spans(call.heard)
        await daemon.until_idle()
        assert not daemon.having("Asterisk cannot convert the caller's codec")


async def test_the_doctor_names_the_endpoints_and_what_nothing_translates(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with a_host_without_translators(pbx_prefix, tmp_path) as host:
        for codecs, state, says in (
            (ALLOWED, State.WARN, "no module translates g723, g729, opus: a call of caller that agrees on it"),
            ("g729", State.FAIL, "no module translates g729, and caller allow nothing else"),
            ("ulaw,alaw,g722", State.OK, "modules translate each codec"),
        ):
            await allow(host, codecs)
            found = await examine(host.config, environment(host.pbx) | host.house.environment)
            (finding,) = [one for one in found if one.check == "codecs"]
            assert (finding.state, says in finding.found) == (state, True), finding
