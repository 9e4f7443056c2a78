"""A vendor fails under a call, or before it: the caller is served on by the agent that stands behind."""

import re
from collections.abc import Iterator

import pytest
import trio

from agentd.testing.faults import Fault
from tests.e2e.conftest import BREAKABLE, Lab
from tests.lab.daemon import Line
from tests.lab.hearing import confirms, likeness
from tests.lab.scene import words_heard
from tests.lab.sip import Call, SipCaller
from tests.lab.speech import human_prompts, silence
from tests.lab.takeover import hold_seconds, takeover, vendors_voice
from tests.lab.vendors.deepgram_agent import Turn
from tests.lab.vendors.house import CALLER_SAYS, House

pytestmark = [pytest.mark.e2e, pytest.mark.engines]

GREETING = "Good day, how can I help you?"
STORY = ("I will tell you a story.", "It is long, and nobody has heard the end of it.")
IN_MID_SENTENCE = {"cut": Fault.CUT, "closed": Fault.CLOSE, "mute": Fault.MUTE}
AT_THE_START = {"refused": (Fault.REFUSED, 1), "down": (Fault.NONE, 3), "shut": (Fault.MUTE, 3)}
"""How the vendor is then, and after how many calls the circuit is open: a refusal opens it at once."""


@pytest.fixture
def house(lab: Lab) -> Iterator[House]:
    """The vendors; Deepgram's answer takes half a minute, and comes no faster than it is heard."""
    lab.house.restore()
    lab.house.deepgram.script = (Turn(CALLER_SAYS, STORY, pcm=vendors_voice(15.0)),)
    lab.house.deepgram.paced = True
    yield lab.house
    lab.house.restore()


def question(lab: Lab) -> bytes:
    """A recording of human speech, whose words the fakes expect."""
    return next(prompt.pcm() for prompt in human_prompts(lab.pbx.prefix) if prompt.text == CALLER_SAYS) + silence(0.8)


async def asked(lab: Lab, call: Call, since: int) -> None:
    """The caller has been greeted and has asked."""
    await lab.daemon.wait_for("utterance heard", start=since)
    await call.play(question(lab))


async def answered_by(lab: Lab, agent: str, since: int) -> Line:
    """Wait until another agent's first utterance has been heard, and give the log's line of that."""
    said = await lab.daemon.wait_for("agent says", start=since, agent=agent, timeout=30)
    return await lab.daemon.wait_for("utterance heard", start=since, utterance=said["utterance"])


def spoken(lab: Lab, since: int) -> str:
    """What the local agent has said."""
    lines = lab.daemon.lines[since:]
    return " ".join(line["text"] for line in lines if line["event"] == "agent says" and line.get("agent") == "default")


async def circuit(lab: Lab, agent: str) -> dict[str, object]:
    """What GET /health tells of an agent."""
    return dict((await lab.daemon.health())[1]["providers"][agent])


def counted(metrics: str, name: str, **labels: str) -> float:
    """The value of one of the daemon's metrics; 0.0 where it has none."""
    shown = ",".join(f'{key}="{value}"' for key, value in labels.items())
    found = re.search(rf"^agentd_{name}{{{shown}}} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("agent", IN_MID_SENTENCE)
async def test_a_vendor_that_fails_in_mid_sentence_is_held_over_and_another_agent_answers(
    lab: Lab, house: House, agent: str
) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri(BREAKABLE[agent])) as call:
        await asked(lab, call, since)
        await lab.daemon.wait_for("answer", start=since, agent=agent)
        await trio.sleep(1)
        told = len(lab.daemon.lines)
        house.deepgram_peer.strike(IN_MID_SENTENCE[agent])
        await answered_by(lab, "default", told)
        await trio.sleep(0.5)
        await call.hangup()
    await lab.nothing_is_left()
    found = takeover(call.heard, hold_seconds(lab.daemon.lines[since:]))
    assert found.voice_at is not None
    assert found.answer_at is not None
    heard = await words_heard(call, found.answer_at, call.now)
    lost = await lab.daemon.wait_for("the agent's session is lost", start=told, agent=agent)
    assert lost["error"]
    assert lost["mute"] is (agent == "mute")
    assert confirms(spoken(lab, since), heard, 0.5)
    cause = "mute" if agent == "mute" else "ended"
    assert counted(await lab.daemon.metrics(), "failovers_total", agent=agent, cause=cause) >= 1
    assert (await circuit(lab, agent))["circuit_reason"]
    assert not [line for line in lab.daemon.lines[since:] if line.get("level") == "error"]


async def test_a_vendor_that_does_not_answer_at_all_is_replaced_and_the_caller_not_asked_again(
    lab: Lab, house: House
) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri(BREAKABLE["unanswering"])) as call:
        await lab.daemon.wait_for("utterance heard", start=since)
        house.deepgram_peer.strike(Fault.MUTE)
        await call.play(question(lab))
        told = len(lab.daemon.lines)
        answer = await answered_by(lab, "default", told)
        answered = call.now
        await trio.sleep(0.5)
        await call.hangup()
    await lab.nothing_is_left()
    heard = await words_heard(call, answered - answer["heard_ms"] / 1000, answered + 0.2)
    said_by_caller = [line for line in lab.daemon.lines[since:] if line["event"] == "caller said"]
    assert [line["agent"] for line in said_by_caller] == ["default"]
    assert likeness(CALLER_SAYS, said_by_caller[0]["text"]) > 0.6, "it was given what the vendor swallowed"
    assert hold_seconds(lab.daemon.lines[since:]), "the caller heard the hold message"
    assert confirms(spoken(lab, since), heard, 0.5)


async def test_the_next_agent_knows_what_was_said_and_what_was_heard(lab: Lab, house: House) -> None:
    since = len(lab.daemon.lines)
    house.chat.reply = ("Then we will go on with that.",)
    before = len(house.chat.asked)
    async with SipCaller().call(lab.pbx.sip_uri(BREAKABLE["relayed"])) as call:
        await asked(lab, call, since)
        await lab.daemon.wait_for("answer", start=since, agent="relayed")
        await trio.sleep(1)
        house.deepgram_peer.strike(Fault.CUT)
        await answered_by(lab, "mixed", since)
        await call.hangup()
    await lab.nothing_is_left()
    system, *conversation = house.chat.asked[before]["messages"]
    assert system["role"] == "system"
    assert [(message["role"], message["content"]) for message in conversation[:2]] == [
        ("assistant", GREETING),
        ("user", CALLER_SAYS),
    ]
    said = conversation[2]["content"]
    assert conversation[2]["role"] == "assistant"
    assert STORY[0].startswith(said), "the words that were heard"
    assert said != STORY[0], "and no more of them"
    assert "interrupted" in conversation[3]["content"], "what became of it"


@pytest.mark.parametrize("agent", AT_THE_START)
async def test_a_vendor_that_lets_no_call_in_is_stood_in_for_and_soon_not_asked_any_more(
    lab: Lab, house: House, agent: str
) -> None:
    fault, tries = AT_THE_START[agent]
    house.deepgram_peer.strike(fault)
    since = len(lab.daemon.lines)
    for _ in range(tries):
        told = len(lab.daemon.lines)
        async with SipCaller().call(lab.pbx.sip_uri(BREAKABLE[agent])) as call:
            await lab.daemon.wait_for("another agent takes the call", start=told, agent=agent, by="default")
            await lab.daemon.wait_for("state", start=told, after="speaking")
            await call.hangup()
        await lab.nothing_is_left()
    state = await circuit(lab, agent)
    assert state["circuit"] == "open"
    assert state["circuit_reason"]
    assert counted(await lab.daemon.metrics(), "circuit_open", agent=agent) == 1
    connections, told = house.deepgram_peer.connections, len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri(BREAKABLE[agent])) as call:
        greeting = await lab.daemon.wait_for("utterance heard", start=told)
        heard = await words_heard(call, 0.0, greeting["heard_ms"] / 1000 + 1)
        await call.hangup()
    await lab.nothing_is_left()
    assert likeness(GREETING, heard) > 0.5
    assert house.deepgram_peer.connections == connections
    mine = lab.daemon.lines[since:]
    assert len([line for line in mine if line["event"] == "no session with the agent"]) == tries
    assert counted(await lab.daemon.metrics(), "failovers_total", agent=agent, cause="start") == tries + 1
    assert not [line for line in mine if line.get("level") == "error"]


async def test_the_vendors_keys_are_nowhere_in_the_log_the_metrics_and_the_health_page(lab: Lab) -> None:
    """After the calls above, one of which was refused for its key."""
    told = f"{lab.daemon.lines} {await lab.daemon.metrics()} {await lab.daemon.health()}"
    assert "credentials" in told
    assert [name for name, key in lab.house.environment.items() if key in told] == []
