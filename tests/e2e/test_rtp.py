"""Calls by ExternalMedia RTP on the real PBX."""

import pytest

from tests.e2e.conftest import Lab
from tests.lab.hearing import confirms, likeness
from tests.lab.scene import ask, listen, words_heard
from tests.lab.sip import SipCaller
from tests.lab.speech import human_prompts, silence

pytestmark = [pytest.mark.e2e, pytest.mark.engines]

GREETING = "Hello, how can I help you?"
TALKER, SILENT, DEFAULT = "7111", "7112", "7110"


async def test_a_caller_is_greeted_asks_and_hears_the_answer(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    question = next(prompt for prompt in human_prompts(lab.pbx.prefix) if prompt.name == "conf-onlyperson")
    async with SipCaller().call(lab.pbx.sip_uri(DEFAULT)) as call:
        start, end = await listen(call, 0.0)
        assert likeness(GREETING, await words_heard(call, start, end)) > 0.6
        answer = await ask(call, silence(0.5) + question.pcm() + silence(0.5))
        heard = await words_heard(call, answer.start, answer.end)
        await call.hangup()
    await lab.nothing_is_left()
    mine = lab.daemon.lines[since:]
    assert any(line["event"] == "media leg bound" and line["way"] == "rtp" for line in mine)
    said = [line["text"] for line in mine if line["event"] == "caller said"]
    assert len(said) == 1, "the agent took its own voice, or noise, for the caller"
    assert likeness(question.text, said[0]) > 0.6
    spoken = " ".join(line["text"] for line in mine if line["event"] == "agent says")
    assert confirms(spoken.removeprefix(GREETING), heard)
    assert not [line for line in mine if line.get("level") in ("warning", "error")]
