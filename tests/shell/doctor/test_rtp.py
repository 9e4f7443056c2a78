"""RTP as the doctor sees it without a PBX. That packets come and go is shown on a real one: tests/e2e/test_rtp.py."""

from collections.abc import Iterator

import pytest

from agentd.config.settings import Calls, Config, Rtp
from agentd.doctor.findings import Finding, State
from agentd.doctor.rtp import examine_rtp
from agentd.doctor.transports import LEGS
from agentd.rtp.ports import Ports
from tests.shell.rtp_ports import rtp_ports

DEFAULT = Calls(default_media="rtp", max_calls=2)


@pytest.fixture
def two_ports() -> Iterator[Rtp]:
    with rtp_ports(2) as settings:
        yield settings


async def of(config: Config) -> list[Finding]:
    return await examine_rtp(config, None, frozenset())


async def test_free_ports_are_good_and_without_a_pbx_no_more_can_be_told(two_ports: Rtp) -> None:
    ports, trial = await of(Config(rtp=two_ports, calls=DEFAULT))
    assert (ports.state, trial.state) == (State.OK, State.SKIPPED)
    assert f"UDP {two_ports.first_port} to {two_ports.last_port} on 127.0.0.1" in ports.found


@pytest.mark.parametrize(("calls", "state"), [(Calls(), State.WARN), (DEFAULT, State.FAIL)])
async def test_ports_that_others_have_are_a_failure_where_rtp_is_the_default(
    two_ports: Rtp, calls: Calls, state: State
) -> None:
    taken = [Ports().open(two_ports) for _ in range(2)]
    ports, trial = await of(Config(rtp=two_ports, calls=calls))
    for each in taken:
        each.close()
    assert (ports.state, trial.state) == (state, State.SKIPPED)
    assert "all are taken" in ports.found
    assert any("ss -lunp" in line for line in ports.advice)


async def test_an_address_of_another_host_is_told() -> None:
    ports, _ = await of(Config(rtp=Rtp(host="192.0.2.77"), calls=DEFAULT))
    assert ports.failed
    assert "192.0.2.77" in ports.found


async def test_more_calls_than_ports_are_told_where_rtp_is_the_default(two_ports: Rtp) -> None:
    ports, _ = await of(Config(rtp=two_ports, calls=Calls(default_media="rtp", max_calls=3)))
    assert ports.state is State.WARN
    assert "2 ports, and [calls] max_calls is 3" in ports.found
    ports, _ = await of(Config(rtp=two_ports, calls=Calls(max_calls=3)))
    assert ports.state is State.OK


def test_the_module_is_among_those_that_are_looked_for() -> None:
    assert LEGS["rtp"] == "chan_rtp"
