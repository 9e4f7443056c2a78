"""Conversations on the real PBX: the caller interrupts, agrees, hesitates, falls silent, or has no ARI at all."""

import httpx
import pytest
import trio

from tests.e2e.conftest import NOTICE, STORY, Lab
from tests.lab.daemon import Line
from tests.lab.hearing import likeness, speak, words
from tests.lab.scene import ask, listen, silence_after, words_heard
from tests.lab.sip import SipCaller
from tests.lab.speech import human_prompts, silence

pytestmark = [pytest.mark.e2e, pytest.mark.engines]

TALKERS = {"stream": "7105", "file": "7106"}
QUESTION = "conf-onlyperson"


def question(lab: Lab) -> bytes:
    """Recorded human speech: "You are currently the only person in this conference."."""
    return next(prompt.pcm() for prompt in human_prompts(lab.pbx.prefix) if prompt.name == QUESTION)


async def speaking(lab: Lab, since: int) -> None:
    """Until the agent has spoken for three seconds."""
    await lab.daemon.wait_for("state", start=since, after="speaking")
    await trio.sleep(3)


@pytest.mark.parametrize("mode", TALKERS)
async def test_an_agent_that_is_interrupted_falls_silent_and_remembers_what_was_heard(lab: Lab, mode: str) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri(TALKERS[mode])) as call:
        await speaking(lab, since)
        sent = call.play_nowait(question(lab) + silence(0.5))
        began = call.now
        stopped = await silence_after(call, began, 0.8)
        await sent.wait()
        await lab.daemon.wait_for("answer", start=since, timeout=30)
        await call.hangup()
    await lab.nothing_is_left()
    assert stopped - began < 1.5, "figures are the benchmark's; this is a machine that does other things too"
    cut: Line = next(line for line in lab.daemon.lines[since:] if line["event"] == "utterance cut short")
    heard = await words_heard(call, 0.0, stopped)
    assert STORY.startswith(cut["heard"])
    assert likeness(cut["heard"], heard) > 0.6
    assert len(words(cut["heard"])) < len(words(STORY)) / 2


async def test_a_short_yes_does_not_silence_the_agent(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri("7105")) as call:
        await speaking(lab, since)
        await call.play(await speak("Okay."))
        await listen(call, 0.0, timeout=60)
        await call.hangup()
    await lab.nothing_is_left()
    assert not [line for line in lab.daemon.lines[since:] if line["event"] == "interrupted"]
    assert likeness(STORY, await words_heard(call, 0.0, call.now)) > 0.7, "no word is lost"


async def test_a_notice_is_heard_to_its_end_and_the_question_is_answered_afterwards(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri("7107")) as call:
        await lab.daemon.wait_for("state", start=since, after="speaking")
        call.play_nowait(question(lab) + silence(0.5))
        first = await lab.daemon.wait_for("utterance heard", start=since)
        await lab.daemon.wait_for("answer", start=since, timeout=30)
        await call.hangup()
    await lab.nothing_is_left()
    assert first["completed"] is True
    assert likeness(NOTICE, await words_heard(call, 0.0, first["heard_ms"] / 1000 + 0.5)) > 0.6


async def test_a_call_in_file_mode_is_greeted_and_answered(lab: Lab) -> None:
    async with SipCaller().call(lab.pbx.sip_uri("7104")) as call:
        await listen(call, 0.0)
        answer = await ask(call, silence(0.5) + question(lab) + silence(0.5))
        assert await words_heard(call, answer.start, answer.end)
        await call.hangup()
    await lab.nothing_is_left()


async def test_a_silent_caller_is_asked_and_let_go(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri("7108")) as call:
        with trio.fail_after(30):
            await call.ended.wait()
    ended = await lab.daemon.wait_for("call ended", start=since)
    assert ended["result"] == "caller-silent"
    asked = "Are you still there? I cannot hear you, so I will end the call now. Goodbye!"
    assert likeness(asked, await words_heard(call, 0.0, call.now)) > 0.7
    await lab.nothing_is_left()


async def test_a_call_without_ari_is_answered_over_its_one_connection(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri("7200")) as call:
        await lab.daemon.wait_for("headless call", start=since)
        answer = await ask(call, silence(0.5) + question(lab) + silence(0.5))
        assert await words_heard(call, answer.start, answer.end)
        await call.hangup()
    ended = await lab.daemon.wait_for("call ended", start=since)
    assert ended["result"] == "caller-hung-up"
    await lab.nothing_is_left()


async def test_the_dialplan_goes_on_when_the_agent_ends_a_call_without_ari(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri("7200")) as call:
        await lab.daemon.wait_for("headless call", start=since)
        await trio.sleep(0.5)
        await call.play(await speak("Thank you and goodbye."))
        ended = await lab.daemon.wait_for("call ended", start=since, timeout=30)
        left_at = call.now
        with trio.fail_after(15):
            await call.ended.wait()
    assert ended["result"] == "completed"
    assert "thank" in words(await words_heard(call, 0.0, left_at)), "the agent's farewell"
    assert await words_heard(call, left_at, call.now), "what the dialplan plays after AudioSocket()"
    await lab.nothing_is_left()


@pytest.mark.parametrize(("extension", "rate"), [("7102", 16000), ("7112", 8000)], ids=["external", "rtp"])
async def test_a_wideband_telephone_is_heard_and_answered_at_16_khz_or_what_the_transport_has(
    lab: Lab, extension: str, rate: int
) -> None:
    since = len(lab.daemon.lines)
    async with httpx.AsyncClient(auth=(lab.pbx.ari_user, lab.pbx.ari_password), trust_env=False) as ari:
        telephone = {
            "endpoint": f"Local/{extension}@from-lab/n",
            "extension": "7300",
            "context": "from-lab",
            "priority": "1",
            "formats": "slin16",
        }
        (await ari.post(f"{lab.pbx.ari_url}/channels", params=telephone)).raise_for_status()
        call = await lab.daemon.wait_for("call", start=since)
        said = await lab.daemon.wait_for("caller said", start=since, timeout=30)
        answer = await lab.daemon.wait_for("utterance heard", start=since, timeout=30)
        (await ari.delete(f"{lab.pbx.ari_url}/channels/{call['call_id']}")).raise_for_status()
    await lab.nothing_is_left()
    assert call["rate"] == rate
    assert likeness("You are currently the only person in this conference.", said["text"]) > 0.6
    assert answer["completed"] is True
    inbound = await lab.daemon.wait_for("inbound audio", start=since)
    assert inbound["inbound_expected"] == {16000: "slin16", 8000: "slin"}[rate]
