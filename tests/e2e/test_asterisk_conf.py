"""The files of asterisk_conf, loaded verbatim by a real Asterisk, do what they say."""

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
import trio
import trio_websocket

from agentd.ari.caller_id import PRESENTATION, withheld
from agentd.dialplan import parse_arguments
from tests.lab.asterisk import ASTERISK_CONF, Prefix, PrivateAsterisk
from tests.lab.measure import calibrate_echo, find, speech_spans
from tests.lab.sip import CallRefused, SipCaller
from tests.lab.speech import human_prompts, read_wav, silence

pytestmark = pytest.mark.e2e
pytest_plugins = ["tests.lab.fixtures"]

EXTRA_DIALPLAN = """\
exten => 600,1,Answer()
 same => n,Echo()
; Extensions as an administrator writes them.
exten => support,1,Gosub(agentd-call,${EXTEN},1(default,external))
exten => 7002,1,Set(AGENTD_FALLBACK=elsewhere,s,1)
 same => n,Gosub(agentd-call,${EXTEN},1(default,external))
exten => withheld,1,Set(CALLERID(pres)=prohib_passed_screen)
 same => n,Gosub(agentd-call,${EXTEN},1(default,external))
exten => inbound,1,Goto(inbound,s,1)
exten => letter,1,Goto(inbound,x,1)
exten => odd,1,Gosub(agentd-call,_x,1(default,external))
exten => fork-a-fork,1,Goto(ai-agent-media-fork,7000,1)

; An inbound route.
[inbound]
exten => s,1,Gosub(agentd-call,${EXTEN},1(default,external))
exten => x,1,Gosub(agentd-call,${EXTEN},1(default,external))

[elsewhere]
exten => s,1,Verbose(1,elsewhere with ${AGENTD_RESULT})
 same => n,Answer()
 same => n,Echo()
"""


@pytest.fixture
async def pbx(pbx_prefix: Prefix) -> AsyncIterator[PrivateAsterisk]:
    async with PrivateAsterisk(pbx_prefix, extra_dialplan=EXTRA_DIALPLAN) as running:
        yield running


async def test_it_boots_with_the_files_as_they_are_and_complains_about_nothing(pbx: PrivateAsterisk) -> None:
    assert pbx.complaints() == []
    loaded = await pbx.cli("module show")
    wanted = re.findall(r"^load = (\S+)$", (ASTERISK_CONF / "modules_agentd.conf").read_text("utf-8"), re.M)
    assert wanted
    assert [name for name in wanted if not re.search(rf"^{re.escape(name)} .*Running", loaded, re.M)] == []


@pytest.mark.parametrize(("directive", "there"), [("tryinclude", True), ("include", False)])
async def test_a_file_that_is_gone_takes_all_other_extensions_with_it_unless_it_was_only_tried(
    pbx_prefix: Prefix, directive: str, there: bool
) -> None:
    # main/config.c (process_text_line): what agentd.service.includes is for.
    extra = f'{EXTRA_DIALPLAN}\n#{directive} "/nowhere/extensions_agentd.conf"\n'
    async with PrivateAsterisk(pbx_prefix, extra_dialplan=extra) as pbx:
        assert ("'600' =>" in await pbx.cli("dialplan show from-lab")) is there


async def test_its_dialplan_has_the_sample_extensions_and_the_fork(pbx: PrivateAsterisk) -> None:
    agentd = await pbx.cli("dialplan show agentd")
    assert "'7000' =>" in agentd and "(default,external)" in agentd
    assert "'7001' =>" in agentd and "(default,fork)" in agentd
    fork = await pbx.cli("dialplan show ai-agent-media-fork")
    assert "'_[0-9a-f].' =>" in fork
    assert "AudioSocket(${AUDIOSOCKET_UUID},${AGENTD_SOCKET})" in fork
    assert f"AGENTD_SOCKET=127.0.0.1:{pbx.agent_port}" in await pbx.cli("dialplan show globals")


async def test_nothing_includes_the_fork(pbx: PrivateAsterisk) -> None:
    everything = await pbx.cli("dialplan show")
    assert "'ai-agent-media-fork'" not in re.findall(r"Include => +(\S+)", everything)
    assert "Goto(ai-agent-media-fork" not in (ASTERISK_CONF / "extensions_agentd.conf").read_text("utf-8")


async def test_the_sample_phone_reaches_the_agents_only(pbx: PrivateAsterisk) -> None:
    endpoint = await pbx.cli("pjsip show endpoint agentd-phone")
    assert re.search(r"^ context +: agentd$", endpoint, re.M)
    assert re.search(r"^ direct_media +: false$", endpoint, re.M)
    assert "InAuth:  agentd-phone-auth/agentd-phone" in endpoint


async def test_ari_answers_the_user_agentd_and_nobody_else(pbx: PrivateAsterisk) -> None:
    async with httpx.AsyncClient(base_url=pbx.ari_url, trust_env=False, timeout=5) as client:
        right = (pbx.ari_user, pbx.ari_password)
        assert (await client.get("/asterisk/info", auth=right)).status_code == 200
        # May write: a variable is set, not only read.
        variable = {"variable": "AGENTD_TEST", "value": "1"}
        assert (await client.post("/asterisk/variable", params=variable, auth=right)).status_code == 204
        for auth in [(pbx.ari_user, "CHANGE-ME"), ("asterisk", pbx.ari_password)]:
            assert (await client.get("/asterisk/info", auth=auth)).status_code == 401


@pytest.mark.parametrize("extension", ["7000", "7001", "support"])
async def test_without_agentd_the_caller_hears_an_apology_and_the_call_ends(
    pbx: PrivateAsterisk, pbx_prefix: Prefix, extension: str
) -> None:
    with trio.fail_after(20):
        async with SipCaller().call(pbx.sip_uri(extension)) as call:
            await call.ended.wait()
    assert call.ended_by == "remote"
    assert speech_spans(call.heard)
    if prompts := [directory / "please-try-call-later.wav" for directory in pbx_prefix.sounds]:
        assert find(read_wav(prompts[0]), call.heard).correlation > 0.9
    assert "agentd: agent default: failed:unavailable" in pbx.log_path.read_text("utf-8")


async def test_without_agentd_the_call_goes_to_the_fallback_that_was_set(pbx: PrivateAsterisk) -> None:
    with trio.fail_after(20):
        async with SipCaller().call(pbx.sip_uri("7002")) as call:
            await trio.sleep(0.3)
            assert not call.ended.is_set()
    assert "elsewhere with failed:unavailable" in pbx.log_path.read_text("utf-8")


@pytest.mark.parametrize(
    ("extension", "result", "logged", "apology"),
    [
        ("7000", "completed", "agentd-return,s,1", False),
        ("7000", "failed:provider", "agentd: agent default: failed:provider", False),
        ("7000", "transferred", "agentd: agent default: transferred", True),
        ("7000", "failed:transfer", "agentd: agent default: failed:transfer", True),
        ("7000", "", "agentd: agent default: failed:internal", True),  # it could not be set
        ("7002", "failed:provider", "elsewhere with failed:provider", False),
        ("7002", "failed:transfer", "elsewhere with failed:transfer", False),
        ("7002", "", "elsewhere with failed:internal", False),
    ],
)
async def test_a_call_that_is_handed_back_goes_on_as_its_result_says(
    pbx: PrivateAsterisk, extension: str, result: str, logged: str, apology: bool
) -> None:
    auth = (pbx.ari_user, pbx.ari_password)
    token = base64.b64encode(":".join(auth).encode()).decode()
    events = f"ws://127.0.0.1:{pbx.http_port}/ari/events?app=agentd"

    async def hand_back(websocket: trio_websocket.WebSocketConnection) -> None:
        async with httpx.AsyncClient(base_url=pbx.ari_url, trust_env=False, timeout=5, auth=auth) as client:
            start = json.loads(await websocket.get_message())
            presentation = ["num-pres=allowed_not_screened", "name-pres=allowed_not_screened"]
            fallback = "elsewhere|s|1" if extension == "7002" else ""
            assert start["args"] == ["agent=default", "media=external", *presentation, f"fallback={fallback}"]
            assert start["channel"]["dialplan"]["exten"] == extension
            channel = f"/channels/{start['channel']['id']}"
            await client.post(f"{channel}/answer")
            await trio.sleep(0.3)
            if result:
                await client.post(f"{channel}/variable", params={"variable": "AGENTD_RESULT", "value": result})
            await client.post(f"{channel}/continue")

    with trio.fail_after(15):
        async with trio_websocket.open_websocket_url(
            events, extra_headers=[(b"Authorization", f"Basic {token}".encode())]
        ) as websocket:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hand_back, websocket)
                async with SipCaller().call(pbx.sip_uri(extension)) as call:
                    with trio.move_on_after(8 if apology else 2):
                        await call.ended.wait()
    # Whoever gave up has apologised already; only the fallback keeps the call.
    assert call.ended_by == ("local" if extension == "7002" else "remote")
    assert bool(speech_spans(call.heard)) is apology
    assert logged in pbx.log_path.read_text("utf-8")


async def test_an_extension_that_does_not_exist_is_refused(pbx: PrivateAsterisk) -> None:
    with pytest.raises(CallRefused) as refused:
        async with SipCaller().call(pbx.sip_uri("999")):
            pass
    assert refused.value.status == 404


async def test_a_fork_connects_with_the_uuid_that_its_extension_spells(pbx: PrivateAsterisk) -> None:
    listener = trio.socket.socket()
    with listener:
        await listener.bind(("127.0.0.1", pbx.agent_port))
        listener.listen(1)
        extension = "0123456789abcdef0123456789abcdef"
        leg = {"endpoint": f"Local/{extension}@ai-agent-media-fork/n", "formats": "slin"}
        away = {"context": "from-lab", "extension": "600", "priority": "1"}
        with trio.fail_after(10):
            async with httpx.AsyncClient(base_url=pbx.ari_url, trust_env=False, timeout=5) as client:
                auth = (pbx.ari_user, pbx.ari_password)
                answer = await client.post("/channels", params={**leg, **away}, auth=auth)
                assert answer.status_code == 200, answer.text
            connection, _ = await listener.accept()
            with connection:
                stream = trio.SocketStream(connection)
                received = b""
                while len(received) < 19:
                    received += await stream.receive_some(19 - len(received))
    assert received == bytes([0x01, 0, 16]) + bytes.fromhex(extension)


async def test_a_call_to_echo_hears_what_it_says_and_calibrates_the_lab(
    pbx: PrivateAsterisk, pbx_prefix: Prefix
) -> None:
    prompts = {prompt.name: prompt for prompt in human_prompts(pbx_prefix)}
    if not prompts:
        pytest.skip(f"no recorded prompts with transcripts in {pbx_prefix.root}")
    with trio.fail_after(30):
        async with SipCaller().call(pbx.sip_uri("600"), caller_id="+4930123456", name="Ada") as call:
            await call.play(silence(0.5) + prompts["please-try-call-later"].pcm())
            shown = await pbx.cli("core show channels concise")
            await trio.sleep(0.5)
    assert "+4930123456" in shown
    echo = calibrate_echo(call.said, call.heard)
    print(f"calibration: heard {1000 * echo.at:.2f} ms after said, correlation {echo.correlation:.4f}")
    print(call.line_stats())
    assert echo.correlation > 0.99
    assert 0 <= echo.at < 0.06
    assert call.ended_by == "local"
    assert call.line_stats().lost == 0


async def test_nothing_of_a_call_that_is_cancelled_stays_at_the_pbx(pbx: PrivateAsterisk) -> None:
    with trio.move_on_after(0.5):
        async with SipCaller().call(pbx.sip_uri("600")):
            await trio.sleep_forever()
    with trio.fail_after(3):
        while "PJSIP/" in await pbx.cli("core show channels concise"):
            await trio.sleep(0.1)


async def test_it_comes_back_on_the_same_ports_after_a_restart_and_after_a_crash(
    pbx: PrivateAsterisk,
) -> None:
    for end in (pbx.stop, pbx.kill):
        await end()
        await pbx.restart()
        async with SipCaller().call(pbx.sip_uri("600")) as call:
            assert not call.ended.is_set()


@pytest.mark.parametrize(
    "extension",
    ["s", "a", "x", "X", "b", "S", "_x", "_", "7000", "+4930123456", "*7", "#1", "ann", "a.b", "a-b", "a_b", "s1"],
)
async def test_whatever_an_inbound_route_ends_at_is_an_extension_of_agentd_call(
    pbx: PrivateAsterisk, extension: str
) -> None:
    """AVA PR 457, 507, 527: inbound routes end at `s`, which failed, where internal extensions worked."""
    assert "Stasis(${AGENTD_APP}," in await pbx.cli(f"dialplan show {extension}@agentd-call")


@pytest.mark.parametrize("special", ["h", "i", "t", "T", "e"])
async def test_asterisk_s_own_extensions_lead_nowhere(pbx: PrivateAsterisk, special: str) -> None:
    assert "Stasis" not in await pbx.cli(f"dialplan show {special}@agentd-call")


@pytest.mark.parametrize(("extension", "dialled"), [("inbound", "s"), ("letter", "x"), ("odd", "_x")])
async def test_a_caller_of_an_inbound_route_is_served(pbx: PrivateAsterisk, extension: str, dialled: str) -> None:
    with trio.fail_after(20):
        async with SipCaller().call(pbx.sip_uri(extension)) as call:
            await call.ended.wait()
    log = pbx.log_path.read_text("utf-8")
    assert "agentd: agent default: failed:unavailable" in log, "no Gosub failed"
    assert re.search(rf"\[{dialled}@agentd-call:\d+\] Stasis", log)


async def test_a_withheld_number_is_told_as_such(pbx: PrivateAsterisk) -> None:
    """asterisk issue 1112. What FreePBX and trunks set, too: CALLERID(pres)."""
    auth = (pbx.ari_user, pbx.ari_password)
    token = base64.b64encode(":".join(auth).encode()).decode()
    events = f"ws://127.0.0.1:{pbx.http_port}/ari/events?app=agentd"
    with trio.fail_after(15):
        async with trio_websocket.open_websocket_url(
            events, extra_headers=[(b"Authorization", f"Basic {token}".encode())]
        ) as websocket:
            async with trio.open_nursery() as nursery:

                async def call() -> None:
                    with suppress(CallRefused):
                        async with SipCaller(answer_seconds=5.0).call(pbx.sip_uri("withheld"), caller_id="+49301"):
                            await trio.sleep_forever()

                nursery.start_soon(call)
                start = json.loads(await websocket.get_message())
                async with httpx.AsyncClient(base_url=pbx.ari_url, trust_env=False, timeout=5, auth=auth) as client:
                    path = f"/channels/{start['channel']['id']}/variable"
                    answer = (await client.get(path, params={"variable": PRESENTATION})).json()
                nursery.cancel_scope.cancel()
    arguments = parse_arguments(tuple(start["args"]), ("external",))
    assert start["channel"]["caller"]["number"] == "+49301", "it is delivered all the same"
    assert withheld(arguments.num_pres) and withheld(arguments.name_pres)
    assert withheld(answer["value"]), "what a dialplan that does not tell is asked for"
