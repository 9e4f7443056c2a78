"""Every agent of ours keeps the contract: agentd.testing.agent_contract, run for each of them."""

import pytest

from agentd.testing.agent_contract import AgentContract
from agentd.testing.agents import AgentParty
from tests.contract.parties import PARTIES

pytestmark = pytest.mark.loopback


class TestAgents(AgentContract):
    @pytest.fixture(
        params=[pytest.param(name, marks=pytest.mark.engines if name == "local" else ()) for name in PARTIES]
    )
    def agent(self, request: pytest.FixtureRequest) -> AgentParty:
        return PARTIES[request.param]()
