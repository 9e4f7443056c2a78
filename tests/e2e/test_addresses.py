"""Whole calls where everything stands on IPv6, and where ARI is below http.conf's prefix."""

from pathlib import Path

import httpx
import pytest

from agentd.doctor import State, examine
from tests.e2e.conftest import show
from tests.lab.asterisk import Prefix, PrivateAsterisk
from tests.lab.daemon import environment, run_daemon
from tests.lab.scene import listen
from tests.lab.sip import SipCaller

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.long]
WAYS = {"external": "7000", "fork": "7001"}


def configured(path: Path, pbx: PrivateAsterisk, url: str, listening: str) -> Path:
    path.write_text(f"""
[asterisk]
url = "{url}"
require_at_start = true
[audiosocket]
host = "{listening}"
port = {pbx.agent_port}
[media]
directory = "{pbx.media_directory}"
[health]
host = "{listening}"
port = 0
[logging]
format = "json"
[agents.default]
""")
    return path


async def all_is_well(config: Path, pbx: PrivateAsterisk) -> None:
    found = {finding.check: finding for finding in await examine(config, environment(pbx))}
    for check in ("ari", "event stream", "playback", "audiosocket port", "audiosocket", "media fork"):
        assert found[check].state is State.OK, found[check]


async def greet_by_every_way(pbx: PrivateAsterisk) -> None:
    for extension in WAYS.values():
        async with SipCaller().call(pbx.sip_uri(extension)) as call:
            await listen(call, 0.0)
            await call.hangup()


@pytest.mark.parametrize(("listening", "told"), [("::1", "::1"), ("::", "127.0.0.1")])
async def test_everything_may_stand_on_ipv6(pbx_prefix: Prefix, tmp_path: Path, listening: str, told: str) -> None:
    async with PrivateAsterisk(pbx_prefix, http_host="::1", agent_host=told) as pbx:
        config = configured(tmp_path / "agent.toml", pbx, f"http://[::1]:{pbx.http_port}", listening)
        await all_is_well(config, pbx)
        async with run_daemon(config, environment(pbx), show) as daemon:
            await greet_by_every_way(pbx)
            async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
                assert (await client.get(f"http://[::1]:{daemon.health_port}/health")).status_code == 200


async def test_ari_may_be_below_a_prefix(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with PrivateAsterisk(pbx_prefix, http_prefix="asterisk") as pbx:
        bare = f"http://127.0.0.1:{pbx.http_port}"
        config = configured(tmp_path / "agent.toml", pbx, bare, "127.0.0.1")
        (lost,) = [each for each in await examine(config, environment(pbx)) if each.check == "ari"]
        assert lost.state is State.FAIL
        assert any("prefix" in line and f"{bare}/PREFIX" in line for line in lost.advice), lost
        configured(config, pbx, f"{bare}/asterisk", "127.0.0.1")
        await all_is_well(config, pbx)
        async with run_daemon(config, environment(pbx), show):
            await greet_by_every_way(pbx)
