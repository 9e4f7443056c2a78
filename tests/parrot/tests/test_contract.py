"""The parrot keeps the contract that every agent keeps."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from agentd.testing.agent_contract import AgentContract
from agentd.testing.agents import Able, AgentParty, Turn
from agentd.testing.sound import SHORTEST, voice_saying


class Parrot(AgentParty):
    """It has no vendor, and says back what it hears."""

    provider = "parrot"
    abilities = (Able.TALKS_ON, Able.ANSWERS_PROBES)
    settings: Mapping[str, Any] = MappingProxyType({"quiet_ms": 300})
    virtual_time = True

    async def speech(self, turn: Turn) -> bytes:
        """To be heard for as long as its answer is to take."""
        return voice_saying(turn.heard, max(SHORTEST, self.seconds(turn.says)))


class TestParrot(AgentContract):
    @pytest.fixture
    def agent(self) -> AgentParty:
        return Parrot()
