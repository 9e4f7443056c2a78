"""Calls by the transports beside AudioSocket on the real PBX: what each of them has to do as it does.

What only one of them does has its own file: test_rtp.py, test_chan_websocket.py.
"""

import attrs
import pytest
import trio

from tests.e2e.conftest import STORY, Lab
from tests.lab.hearing import confirms, likeness, words
from tests.lab.scene import ask, listen, silence_after, words_heard
from tests.lab.sip import SipCaller
from tests.lab.speech import human_prompts, silence

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.long]

GREETING = "Hello, how can I help you?"
QUESTION = "conf-onlyperson"


@attrs.frozen
class Carrier:
    """A transport: its name in the dialplan, the first digits of its extensions, the technology of its channels, and
    what is told of a leg that was ended on the PBX."""

    way: str
    extensions: str
    technology: str
    told: str
    logger: str

    @property
    def default(self) -> str:
        return f"{self.extensions}0"

    @property
    def talker(self) -> str:
        return f"{self.extensions}1"

    @property
    def silent(self) -> str:
        return f"{self.extensions}2"

    @property
    def file(self) -> str:
        return f"{self.extensions}3"


CARRIERS = (
    # Asterisk closes its port, and ICMP tells.
    Carrier("rtp", "711", "UnicastRTP", "Asterisk has closed its port: 127.0.0.1:", "agentd.rtp"),
    Carrier("websocket", "712", "WebSocket", "closed by the peer", "agentd.chan_websocket"),
)


@pytest.fixture(params=CARRIERS, ids=lambda carrier: carrier.way)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    found: Carrier = request.param
    return found


async def test_a_caller_is_greeted_asks_and_hears_the_answer(lab: Lab, carrier: Carrier) -> None:
    since = len(lab.daemon.lines)
    question = next(prompt for prompt in human_prompts(lab.pbx.prefix) if prompt.name == QUESTION)
    async with SipCaller().call(lab.pbx.sip_uri(carrier.default)) as call:
        start, end = await listen(call, 0.0)
        assert likeness(GREETING, await words_heard(call, start, end)) > 0.6
        answer = await ask(call, silence(0.5) + question.pcm() + silence(0.5))
        heard = await words_heard(call, answer.start, answer.end)
        await call.hangup()
    await lab.nothing_is_left()
    mine = lab.daemon.lines[since:]
    assert any(line["event"] == "media leg bound" and line["way"] == carrier.way for line in mine)
    said = [line["text"] for line in mine if line["event"] == "caller said"]
    assert len(said) == 1, "the agent took its own voice, or noise, for the caller"
    assert likeness(question.text, said[0]) > 0.6
    spoken = " ".join(line["text"] for line in mine if line["event"] == "agent says")
    assert confirms(spoken.removeprefix(GREETING), heard)
    assert not [line for line in mine if line.get("level") == "error" or line.get("logger") == carrier.logger]


async def test_an_agent_that_is_interrupted_falls_silent_and_remembers_what_was_heard(
    lab: Lab, carrier: Carrier
) -> None:
    since = len(lab.daemon.lines)
    question = next(prompt for prompt in human_prompts(lab.pbx.prefix) if prompt.name == QUESTION)
    async with SipCaller().call(lab.pbx.sip_uri(carrier.talker)) as call:
        await lab.daemon.wait_for("state", start=since, after="speaking")
        await trio.sleep(3)
        sent = call.play_nowait(question.pcm() + silence(0.5))
        began = call.now
        stopped = await silence_after(call, began, 0.8)
        await sent.wait()
        await lab.daemon.wait_for("answer", start=since, timeout=30)
        await call.hangup()
    await lab.nothing_is_left()
    assert stopped - began < 1.5
    cut = next(line for line in lab.daemon.lines[since:] if line["event"] == "utterance cut short")
    assert STORY.startswith(cut["heard"])
    assert likeness(cut["heard"], await words_heard(call, 0.0, stopped)) > 0.6
    assert len(words(cut["heard"])) < len(words(STORY)) / 2


async def test_a_call_in_file_mode_is_greeted_and_answered(lab: Lab, carrier: Carrier) -> None:
    """The leg hears the caller by a Snoop channel; what goes back over it is nothing, or silence."""
    since = len(lab.daemon.lines)
    question = next(prompt for prompt in human_prompts(lab.pbx.prefix) if prompt.name == QUESTION)
    async with SipCaller().call(lab.pbx.sip_uri(carrier.file)) as call:
        await listen(call, 0.0)
        answer = await ask(call, silence(0.5) + question.pcm() + silence(0.5))
        assert await words_heard(call, answer.start, answer.end)
        await call.hangup()
    await lab.nothing_is_left()
    (bound,) = [line for line in lab.daemon.lines[since:] if line["event"] == "media leg bound"]
    assert (bound["way"], bound["kind"]) == (carrier.way, "listening")


async def test_a_leg_that_is_ended_on_the_pbx_is_replaced_at_once(lab: Lab, carrier: Carrier) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri(carrier.silent)) as call:
        await lab.daemon.wait_for("state", start=since, after="live")
        await trio.sleep(0.5)
        channels = (await lab.pbx.cli("core show channels concise")).splitlines()
        (media,) = [line.partition("!")[0] for line in channels if line.startswith(carrier.technology)]
        await lab.pbx.cli(f"channel request hangup {media}")
        lost = await lab.daemon.wait_for("media leg lost", start=since, timeout=5)
        await lab.daemon.wait_for("state", start=since, cause="MediaRestored")
        await call.hangup()
    assert carrier.told in lost["reason"]
    await lab.nothing_is_left()
