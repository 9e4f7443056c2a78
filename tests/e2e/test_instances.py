"""Several agentd beside one Asterisk: the dialplan of docs/instances.md, as it stands there."""

import re
from pathlib import Path

import pytest
import trio

from tests.lab.asterisk import PrivateAsterisk
from tests.lab.prefix import Prefix
from tests.lab.sip import SipCaller

pytestmark = [pytest.mark.e2e, pytest.mark.long]

PAGE = Path(__file__).parents[2] / "docs/instances.md"
PATIENCE = 30.0


def dialplan() -> str:
    """The page's own, let in for the lab's callers; nobody's is a place that can be seen."""
    (block,) = re.findall(r"^```\n(\[agents\]\n.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return f"""
include => agents

{block}
[queue-sales]
exten => s,1,Verbose(1,for nobody ${{AGENTD_RESULT}})
 same => n,Answer()
 same => n,Hangup()
"""


async def test_where_none_is_there_callers_go_where_the_page_says(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with PrivateAsterisk(pbx_prefix, extra_dialplan=dialplan()) as pbx:
        async with SipCaller(answer_seconds=PATIENCE).call(pbx.sip_uri("7010")) as call:
            with trio.fail_after(PATIENCE):
                await call.ended.wait()
        log = pbx.log_path.read_text("utf-8", "replace")
        assert "for nobody failed:unavailable" in log
        entered = re.findall(r'Stasis\("[^"]+", "([^,"]+),', log)
        assert sorted(entered) == ["agentd-1", "agentd-2"], "each was asked once"
