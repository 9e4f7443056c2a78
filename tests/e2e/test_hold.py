"""A caller who holds, on a real Asterisk with music on hold: the agent hears none of it, and says nothing.

Source: asterisk issue 1027 and openclaw issue 56178: a fork hears Asterisk's music as if the caller spoke.
"""

from pathlib import Path

import pytest
import trio

from tests.e2e.test_containment import a_host, greeted
from tests.lab.measure import speech_spans
from tests.lab.prefix import Prefix
from tests.lab.speech import human_prompts, silence

pytestmark = [pytest.mark.e2e, pytest.mark.long]

PATIENCE = 15.0
DIALPLAN = """
exten => 7610,1,Gosub(agentd-call,${EXTEN},1(default,external))
exten => 7611,1,Gosub(agentd-call,${EXTEN},1(default,fork))
exten => 7612,1,Gosub(agentd-call,${EXTEN},1(files,external))
"""


@pytest.mark.parametrize("extension", ["7610", "7611", "7612"], ids=["streaming", "fork", "files"])
async def test_who_holds_is_not_heard_and_goes_on_afterwards(
    extension: str, pbx_prefix: Prefix, tmp_path: Path
) -> None:
    (speech,) = (one.pcm() for one in human_prompts(pbx_prefix) if one.name == "conf-onlyperson")
    async with a_host(pbx_prefix, tmp_path, dialplan=DIALPLAN) as host, host.daemon() as daemon:
        music = host.pbx.directory / "music"
        music.mkdir()
        (music / "speech.sln").write_bytes(speech)  # music that sings, so to speak
        (host.pbx.directory / "etc" / "musiconhold.conf").write_text(f"[default]\nmode=files\ndirectory={music}\n")
        await host.pbx.cli("module load res_musiconhold.so")
        async with host.caller(extension) as call:
            await greeted(daemon)
            told = len(daemon.lines)
            await call.hold()
            await daemon.wait_for("on hold", start=told, timeout=PATIENCE)
            began = call.now
            await trio.sleep(6.0)
            held = call.heard[round((began + 0.5) * 8000) * 2 :]
            await call.hold(False)
            await daemon.wait_for("off hold", start=told, timeout=PATIENCE)
            assert not [line for line in daemon.lines[told:] if line.get("event") in ("answer", "utterance heard")]
            assert not speech_spans(held), "nothing is said to who holds"
            back = len(daemon.lines)
            await call.play(silence(0.5) + speech + silence(0.8))
            await daemon.wait_for("utterance heard", start=back, timeout=PATIENCE)
            answers = [line for line in daemon.lines[told:] if line.get("event") == "answer"]
            assert len(answers) == 1
        await daemon.until_idle()
        await host.nothing_is_stuck()
