"""Whole calls: a real Asterisk, a real SIP caller, real engines, and the recording of what the caller heard."""

import socket
from collections.abc import Awaitable, Callable

import httpx
import pytest
import trio

from tests.e2e.conftest import Lab
from tests.lab.hearing import confirms, likeness, speak, words
from tests.lab.measure import speech_spans
from tests.lab.scene import ask, listen, words_heard
from tests.lab.sip import Call, SipCaller
from tests.lab.speech import human_prompts

pytestmark = [pytest.mark.e2e, pytest.mark.engines]

WAYS = {"external": "7000", "fork": "7001"}
QUIET_WAYS = {"external": "7102", "fork": "7103"}
GREETING = "Hello, how can I help you?"
Moment = Callable[[Lab, Call, int], Awaitable[None]]


def call_id(lab: Lab, start: int) -> str:
    """The id of the first call in the log since a line."""
    return str(next(line["call_id"] for line in lab.daemon.lines[start:] if line.get("event") == "call"))


async def greeted(call: Call) -> None:
    start, end = await listen(call, 0.0)
    assert likeness(GREETING, await words_heard(call, start, end)) > 0.6


@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_is_greeted_asks_and_hears_the_answer(lab: Lab, way: str) -> None:
    since = len(lab.daemon.lines)
    question = next(prompt for prompt in human_prompts(lab.pbx.prefix) if prompt.name == "conf-onlyperson")
    async with SipCaller().call(lab.pbx.sip_uri(WAYS[way]), caller_id="+4930123456", name="Ada") as call:
        await greeted(call)
        answer = await ask(call, bytes(8000) + question.pcm() + bytes(8000))
        heard = await words_heard(call, answer.start, answer.end)
        await call.hangup()
    await lab.nothing_is_left()

    mine = [line for line in lab.daemon.lines[since:] if line.get("call_id") == call_id(lab, since)]
    assert any(line["event"] == "media leg bound" and line["way"] == way for line in mine)
    said = [line["text"] for line in mine if line["event"] == "caller said"]
    assert len(said) == 1, "the agent took its own voice, or noise, for the caller"
    assert likeness(question.text, said[0]) > 0.6
    spoken = " ".join(line["text"] for line in mine if line["event"] == "agent says")
    assert confirms(spoken.removeprefix(GREETING), heard)
    assert [line["result"] for line in mine if line["event"] == "call ended"] == ["caller-hung-up"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_callers_line_is_never_dead(lab: Lab, way: str) -> None:
    """Audio or silence, packets come all the time. How evenly is for a benchmark on a quiet machine."""
    async with SipCaller().call(lab.pbx.sip_uri(WAYS[way])) as call:
        await listen(call, 0.0)
        await trio.sleep(1)
        stats = call.line_stats(start=0.5)
        expected = (call.now - 0.5) * 50
        await call.hangup()
    await lab.nothing_is_left()
    assert stats.packets > 0.5 * expected
    assert stats.max_gap_ms < 1000


async def hang_up_at_once(lab: Lab, call: Call, since: int) -> None:
    await trio.lowlevel.checkpoint()


async def hang_up_while_the_agent_speaks(lab: Lab, call: Call, since: int) -> None:
    await lab.daemon.wait_for("state", start=since, state="Speaking")


async def hang_up_while_idle(lab: Lab, call: Call, since: int) -> None:
    await lab.daemon.wait_for("utterance heard", start=since)


async def hang_up_while_the_caller_speaks(lab: Lab, call: Call, since: int) -> None:
    await lab.daemon.wait_for("utterance heard", start=since)
    call.play_nowait(await speak("I would like to know what the weather will be like tomorrow."))
    await lab.daemon.wait_for("state", start=since, state="Streaming")


async def hang_up_while_an_answer_is_prepared(lab: Lab, call: Call, since: int) -> None:
    await lab.daemon.wait_for("utterance heard", start=since)
    call.play_nowait(await speak("What is the capital of France?"))
    await lab.daemon.wait_for("state", start=since, state="Processing")


@pytest.mark.parametrize(
    "moment",
    [
        hang_up_at_once,
        hang_up_while_the_agent_speaks,
        hang_up_while_idle,
        hang_up_while_the_caller_speaks,
        hang_up_while_an_answer_is_prepared,
    ],
    ids=lambda moment: moment.__name__.removeprefix("hang_up_"),
)
@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_who_hangs_up_leaves_nothing_behind(lab: Lab, way: str, moment: Moment) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri(WAYS[way])) as call:
        await moment(lab, call, since)
        await call.hangup()
    await lab.daemon.wait_for("call ended", start=since)
    await lab.nothing_is_left()
    errors = [line for line in lab.daemon.lines[since:] if line.get("level") == "error"]
    assert not errors


async def test_the_agent_says_farewell_and_hangs_up_when_the_caller_says_goodbye(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri("7102")) as call:
        await lab.daemon.wait_for("state", start=since, after="live")
        call.play_nowait(await speak("Thank you and goodbye."))
        with trio.fail_after(20):
            await call.ended.wait()
        assert call.ended_by == "remote"
    ended = await lab.daemon.wait_for("call ended", start=since)
    assert ended["result"] == "completed"
    await lab.nothing_is_left()
    assert "thank" in words(await words_heard(call, 0.0, call.now))


async def test_an_extension_with_an_unknown_agent_goes_on_in_the_dialplan(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri("7100")) as call:
        with trio.fail_after(20):
            await call.ended.wait()
    assert "sorry" in words(await words_heard(call, 0.0, call.now)), "the fallback apologises"
    refused = await lab.daemon.wait_for("caller handed back to the dialplan", start=since)
    assert refused["result"] == "refused:agent"
    assert "AGENTD_RESULT" not in refused["detail"]
    await lab.nothing_is_left()


async def test_dtmf_reaches_the_agent_once(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri("7102")) as call:
        await lab.daemon.wait_for("state", start=since, after="live")
        await trio.sleep(0.5)
        await call.send_dtmf("7")
        await lab.daemon.wait_for("caller said", start=since)
        await trio.sleep(1)
        await call.hangup()
    said = [line["text"] for line in lab.daemon.lines[since:] if line.get("event") == "caller said"]
    assert said == ["(pressed 7)"]
    await lab.nothing_is_left()


@pytest.mark.long
async def test_a_conversation_goes_on_while_the_event_socket_is_cut_for_five_seconds(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri("7000")) as call:
        await greeted(call)
        await lab.inside(lab.events.pull)
        try:
            await lab.daemon.wait_for("ARI event stream is down", start=since)
            cut_at = call.now
            answer = await ask(call, await speak("What is the capital of France?"))
            assert (await lab.daemon.health())[0] == 503
            await trio.sleep(max(0.0, cut_at + 5 - call.now))
        finally:
            await lab.inside(lab.events.plug)
        await lab.daemon.wait_for("ARI event stream is up", start=since)
        again = await ask(call, await speak("And what is the capital of Spain?"))
        assert await words_heard(call, answer.start, answer.end)
        assert await words_heard(call, again.start, again.end)
        assert not call.ended.is_set()
        await call.hangup()
    await lab.nothing_is_left()
    assert len([line for line in lab.daemon.lines[since:] if line.get("event") == "call"]) == 1


async def test_a_call_that_ended_while_the_event_socket_was_cut_is_reconciled(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri("7102")) as call:
        await lab.daemon.wait_for("state", start=since, after="live")
        await lab.inside(lab.events.pull)
        try:
            await lab.daemon.wait_for("ARI event stream is down", start=since)
            await call.hangup()
            await trio.sleep(0.5)
        finally:
            await lab.inside(lab.events.plug)
    await lab.daemon.wait_for("call ended", start=since, timeout=30)
    await lab.daemon.wait_for("ARI event stream is up", start=since, timeout=30)  # for the next test's caller
    await lab.nothing_is_left()


@pytest.mark.parametrize("way", QUIET_WAYS)
async def test_a_cut_audiosocket_is_replaced_and_the_conversation_goes_on(lab: Lab, way: str) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri(QUIET_WAYS[way])) as call:
        await lab.daemon.wait_for("state", start=since, after="live")
        await trio.sleep(0.5)
        await lab.inside(lab.audio.cut)
        await lab.daemon.wait_for("media leg lost", start=since)
        await lab.daemon.wait_for("state", start=since, cause="MediaRestored")
        answer = await ask(call, await speak("What is the capital of France?"))
        assert await words_heard(call, answer.start, answer.end)
        await call.hangup()
    await lab.nothing_is_left()


@pytest.mark.long
async def test_a_call_whose_audio_cannot_be_brought_back_hears_so_and_goes_on_in_the_dialplan(
    lab: Lab,
) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri("7102")) as call:
        await lab.daemon.wait_for("state", start=since, after="live")
        await lab.inside(lab.audio.pull)
        try:
            with trio.fail_after(60):
                await call.ended.wait()
        finally:
            await lab.inside(lab.audio.plug)
    ended = await lab.daemon.wait_for("call ended", start=since)
    assert ended["result"] == "failed:media"
    heard = await words_heard(call, 0.0, call.now)
    assert "something went wrong" in " ".join(words(heard))
    await lab.nothing_is_left()


async def test_a_connection_that_is_no_call_is_closed_at_once(lab: Lab) -> None:
    for first in (b"\x01\x00\x04abcd", b"GET / HTTP/1.1\r\n\r\n"):
        stream = await trio.open_tcp_stream("127.0.0.1", lab.pbx.agent_port)
        async with stream:
            await stream.send_all(first)
            with trio.fail_after(3):
                try:
                    while await stream.receive_some(4096):
                        pass
                except trio.BrokenResourceError:
                    pass  # closed with our bytes unread: a reset
    metrics = await lab.daemon.metrics()
    assert 'agentd_audiosocket_refused_total{reason="bad_handshake"}' in metrics
    await lab.nothing_is_left()


async def test_twenty_calls_at_once_are_all_greeted_and_leave_nothing(lab: Lab) -> None:
    calls = 20
    since = len(lab.daemon.lines)
    recordings: list[bytes] = []

    async def one(number: int) -> None:
        extension = list(WAYS.values())[number % 2]
        async with SipCaller().call(lab.pbx.sip_uri(extension), caller_id=str(number)) as call:
            with trio.fail_after(60):
                while len(heard_utterances()) < calls and not call.ended.is_set():
                    await trio.sleep(0.5)
            await trio.sleep(0.3)
            await call.hangup()
        recordings.append(call.heard)

    def heard_utterances() -> list[object]:
        return [line for line in lab.daemon.lines[since:] if line.get("event") == "utterance heard"]

    async with trio.open_nursery() as nursery:
        for number in range(calls):
            nursery.start_soon(one, number)
            await trio.sleep(0.05)
    assert sum(bool(speech_spans(recording)) for recording in recordings) == calls
    await lab.nothing_is_left()


async def test_health_tells_the_truth_and_nothing_of_the_callers(lab: Lab) -> None:
    async with SipCaller().call(lab.pbx.sip_uri("7102"), caller_id="+4930999888", name="Grace") as call:
        with trio.fail_after(5):
            while (await lab.daemon.health())[1]["active_calls"] != 1:
                await trio.sleep(0.05)
        status, body = await lab.daemon.health()
        text = f"{body}{await lab.daemon.metrics()}"
        await call.hangup()
    assert status == 200
    assert body["ari_connected"] is True
    assert body["audiosocket_listening"] is True
    assert body["providers"]["default"]["ready"] is True
    assert "999888" not in text
    assert "Grace" not in text
    await lab.nothing_is_left()


async def test_the_daemon_listens_for_audio_on_loopback_only(lab: Lab) -> None:
    with socket.socket() as probe:
        probe.settimeout(1)
        addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in addresses - {"127.0.0.1", "127.0.1.1"}:
            assert probe.connect_ex((address, lab.audio.target[1])) != 0
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{lab.daemon.health_port}/health")
    assert answer.status_code == 405
