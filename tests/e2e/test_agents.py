"""The same real call with agents of every kind: their vendors are fakes on loopback, all else is real."""

import json
from collections import deque
from collections.abc import Iterator

import pytest
import trio

from agentd.audio.resample import convert
from tests.e2e.conftest import VENDORS, Lab
from tests.lab.hearing import likeness
from tests.lab.measure import find
from tests.lab.scene import listen, silence_after
from tests.lab.sip import Call, SipCaller
from tests.lab.speech import human_prompts, silence
from tests.lab.vendors.deepgram_agent import Call as FunctionCall
from tests.lab.vendors.deepgram_agent import Turn
from tests.lab.vendors.house import CALLER_SAYS, House
from tests.lab.vendors.realtime import PCM_RATE, Reply

pytestmark = [pytest.mark.e2e, pytest.mark.engines]

QUESTION, FAREWELL = "conf-onlyperson", "vm-nomore"
STORY = (
    "There was once a telephone that nobody answered, in a house that nobody lived in any more. It rang every evening "
    "at seven, for as long as the man at the other end had patience, and the neighbours came to tell the time by it."
)
STORY_SECONDS = 20.0


def recorded(lab: Lab, name: str) -> bytes:
    """A recording of human speech."""
    return next(prompt.pcm() for prompt in human_prompts(lab.pbx.prefix) if prompt.name == name)


def between(call: Call, start: float, end: float) -> bytes:
    """What was heard between two seconds of the axis."""
    return call.heard[round(start * 8000) * 2 : round(end * 8000) * 2]


def question(lab: Lab) -> bytes:
    """The recording whose words the fakes expect."""
    return recorded(lab, QUESTION) + silence(0.8)


@pytest.fixture
def house(lab: Lab) -> Iterator[House]:
    """The vendors, well and without a script."""
    lab.house.restore()
    yield lab.house
    lab.house.restore()


def tell_a_story(house: House) -> None:
    """Whatever agent is called: it answers at length, and once interrupted briefly."""
    house.deepgram.script = (Turn(CALLER_SAYS, (STORY,), STORY_SECONDS), Turn(CALLER_SAYS))
    house.realtime.replies = deque([Reply(STORY, STORY_SECONDS)])
    house.chat.reply = (STORY,)


@pytest.mark.parametrize("agent", VENDORS)
async def test_a_caller_is_greeted_and_answered_and_the_agent_falls_silent_when_interrupted(
    lab: Lab, house: House, agent: str
) -> None:
    since = len(lab.daemon.lines)
    tell_a_story(house)
    async with SipCaller().call(lab.pbx.sip_uri(VENDORS[agent])) as call:
        await listen(call, 0.0)
        asked = await call.play(question(lab))
        answer = await lab.daemon.wait_for("answer", start=since, agent=agent)
        await trio.sleep(1.5)
        told = len(lab.daemon.lines)
        began = call.now
        sent = call.play_nowait(question(lab))
        stopped = await silence_after(call, began, 0.3)
        await sent.wait()
        cut = await lab.daemon.wait_for("utterance heard", start=since, utterance=answer["utterance"])
        await lab.daemon.wait_for("answer", start=told, agent=agent)
        await call.hangup()
    await lab.nothing_is_left()
    mine = lab.daemon.lines[since:]
    said = [line["text"] for line in mine if line["event"] == "caller said"]
    assert likeness(CALLER_SAYS, said[0]) > 0.6
    assert cut["completed"] is False
    assert asked.end < began < stopped < began + 3
    assert not [line for line in mine if line["event"] in ("no session with the agent", "the agent's session is lost")]
    assert not [line for line in mine if line.get("level") == "error"]
    assert house.complaints == []


@pytest.mark.parametrize("agent", ["deepgram", "realtime"])
async def test_the_call_ends_when_the_farewell_has_been_heard_to_its_end(lab: Lab, house: House, agent: str) -> None:
    since = len(lab.daemon.lines)
    farewell = recorded(lab, FAREWELL)
    house.deepgram.script = (Turn(CALLER_SAYS, ("Goodbye.",), pcm=farewell, calls=(FunctionCall("hang_up"),)),)
    house.realtime.replies = deque(
        [Reply("Goodbye.", pcm=convert(farewell, 8000, PCM_RATE), calls=(("hang_up", "{}"),))]
    )
    async with SipCaller().call(lab.pbx.sip_uri(VENDORS[agent])) as call:
        await listen(call, 0.0)
        await call.play(question(lab))
        with trio.fail_after(20):
            await call.ended.wait()
        assert call.ended_by == "remote"
    ended = await lab.daemon.wait_for("call ended", start=since)
    await lab.nothing_is_left()
    assert ended["result"] == "completed"
    assert find(farewell, call.heard).correlation > 0.9
    assert house.complaints == []


@pytest.mark.long
@pytest.mark.parametrize("agent", ["deepgram", "realtime"])
async def test_a_transferred_caller_hears_the_other_extension_and_keeps_the_line(
    lab: Lab, house: House, agent: str
) -> None:
    since = len(lab.daemon.lines)
    where = json.dumps({"destination": "conference"})
    words = recorded(lab, FAREWELL)
    house.deepgram.script = (Turn(CALLER_SAYS, ("Bye.",), pcm=words, calls=(FunctionCall("other_line", where),)),)
    house.realtime.replies = deque([Reply("Bye.", pcm=convert(words, 8000, PCM_RATE), calls=(("other_line", where),))])
    there = recorded(lab, QUESTION)  # it is what that extension plays
    async with SipCaller().call(lab.pbx.sip_uri(VENDORS[agent])) as call:
        await listen(call, 0.0)
        await call.play(question(lab))
        ended = await lab.daemon.wait_for("call ended", start=since)
        left = call.now
        await listen(call, left)
        echoed = await call.play(there)
        await trio.sleep(0.5)
        assert not call.ended.is_set()
        await call.hangup()
    await lab.nothing_is_left()
    assert ended["result"] == "transferred"
    assert find(words, call.heard).correlation > 0.9, "the agent's words, to their end"
    assert find(there, between(call, left - 1, echoed.start)).correlation > 0.9
    assert find(there, between(call, echoed.start, call.now)).correlation > 0.9
    assert house.complaints == []


async def test_keys_that_the_model_presses_are_heard_at_the_callers_end(lab: Lab, house: House) -> None:
    house.deepgram.script = (Turn(CALLER_SAYS, calls=(FunctionCall("send_dtmf", '{"digits": "42#"}'),)),)
    async with SipCaller().call(lab.pbx.sip_uri(VENDORS["deepgram"])) as call:
        await listen(call, 0.0)
        await call.play(question(lab))
        with trio.fail_after(15):
            while len(call.digits_heard) < 3:
                await trio.sleep(0.05)
        await call.hangup()
    await lab.nothing_is_left()
    assert [digit for _, digit in call.digits_heard] == ["4", "2", "#"]
    assert house.complaints == []
