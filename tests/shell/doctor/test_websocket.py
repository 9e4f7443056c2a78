"""chan_websocket as the doctor judges it before it tries: that legs carry is shown on a real PBX, tests/e2e."""

from typing import Any

import pytest

from agentd.config.secrets import Secret
from agentd.config.settings import Calls, Config, MediaWebSocket
from agentd.doctor.daemon import RunningDaemon
from agentd.doctor.findings import Finding, State
from agentd.doctor.websocket import examine_websocket
from agentd.errors import AriRejected
from agentd.media.transport import ExternalMedia

NEW = "22.10.1"
DEFAULT = Calls(default_media="websocket")
ASTERISK_CONNECTS = MediaWebSocket(connection="agentd")
PASSWORD = Secret("AGENTD_WEBSOCKET_PASSWORD", "s3cret")
MODULES = frozenset({"chan_websocket"})
UNKNOWN = "external_host must be a valid websocket_client connection id."


class Pbx:
    """As much of a probe as asks for a channel and a bridge."""

    app = "agentd-doctor"

    def __init__(self, refusal: AriRejected | None = None) -> None:
        self.refusal = refusal
        self.asked: list[ExternalMedia] = []
        self.rest: Any = self

    def channel(self, part: str) -> str:
        return part

    async def bridge(self, part: str) -> str:
        if self.refusal is not None:
            raise self.refusal
        return part

    async def external_media(self, channel: str, app: str, media: ExternalMedia) -> dict[str, str]:
        self.asked.append(media)
        if self.refusal is not None:
            raise self.refusal
        return {}


async def found(
    config: Config,
    version: str = NEW,
    modules: frozenset[str] = MODULES,
    password: Secret | None = None,
    pbx: Pbx | None = None,
    running: bool = False,
) -> Finding:
    daemon = RunningDaemon("http://127.0.0.1:15000", registered=running)
    return await examine_websocket(config, pbx or Pbx(), modules, version, daemon, password)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["18.26.4", "20.17.0", "22.7.0", "23.1.0"])
@pytest.mark.parametrize(
    ("config", "state"),
    [
        (Config(), State.SKIPPED),
        (Config(calls=DEFAULT), State.FAIL),
        (Config(websocket=ASTERISK_CONNECTS), State.WARN),
    ],
)
async def test_an_asterisk_that_is_too_old_is_told_with_the_releases_that_are_not(
    version: str, config: Config, state: State
) -> None:
    finding = await found(config, version, frozenset())
    assert finding.state is state
    assert f"Asterisk {version} has no chan_websocket" in finding.found
    assert "20.18, 22.8, 23.2 or later" in finding.found


async def test_a_module_that_is_not_loaded_is_told_by_the_check_of_modules() -> None:
    finding = await found(Config(), modules=frozenset({"chan_rtp"}))
    assert (finding.state, finding.found) == (State.SKIPPED, "chan_websocket is not loaded")


async def test_an_asterisk_that_refuses_a_trial_is_a_finding_and_no_end_of_the_doctor() -> None:
    finding = await found(Config(calls=DEFAULT), pbx=Pbx(AriRejected("Write access denied", 403)))
    assert finding.state is State.FAIL
    assert "Write access denied" in finding.found


async def test_where_asterisk_is_to_connect_the_password_must_be_there() -> None:
    finding = await found(Config(websocket=ASTERISK_CONNECTS))
    assert finding.state is State.WARN
    assert "AGENTD_WEBSOCKET_PASSWORD" in finding.found
    assert "LoadCredential=websocket-password" in "".join(finding.advice)


@pytest.mark.parametrize(
    ("refusal", "state"),
    [
        (None, State.OK),
        (AriRejected("Internal Server Error", 500), State.OK),
        (AriRejected(UNKNOWN, 400), State.WARN),
    ],
    ids=["taken", "its connection was refused", "the connection is not in websocket_client.conf"],
)
async def test_beside_a_running_agentd_asterisk_is_asked_whether_it_knows_the_connection(
    refusal: AriRejected | None, state: State
) -> None:
    pbx = Pbx(refusal)
    finding = await found(Config(websocket=ASTERISK_CONNECTS), password=PASSWORD, pbx=pbx, running=True)
    assert finding.state is state
    assert [each.external_host for each in pbx.asked] == ["agentd"]
    assert (state is State.OK) or "websocket_client.conf: section [agentd]" in "".join(finding.advice)
    assert "s3cret" not in str(finding)
