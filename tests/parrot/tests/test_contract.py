"""The parrot keeps the contracts that every agent and every voice keep."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from agentd.testing.agent_contract import AgentContract
from agentd.testing.agents import Able, AgentParty, Turn
from agentd.testing.party import Time
from agentd.testing.sound import SHORTEST, voice_saying
from agentd.testing.stages import VoiceParty
from agentd.testing.voice_contract import VoiceContract


class Parrot(AgentParty):
    """It has no vendor, and says back what it hears."""

    provider = "parrot"
    abilities = (Able.TALKS_ON, Able.ANSWERS_PROBES)
    settings: Mapping[str, Any] = MappingProxyType({"quiet_ms": 300})
    time = Time.VIRTUAL

    async def speech(self, turn: Turn) -> bytes:
        """To be heard for as long as its answer is to take."""
        return voice_saying(turn.heard, max(SHORTEST, self.seconds(turn.says)))


class TestParrot(AgentContract):
    @pytest.fixture
    def agent(self) -> AgentParty:
        return Parrot()


class Whistle(VoiceParty):
    """As the voice of a pipeline."""

    stage = "speak_parrot"
    time = Time.VIRTUAL

    def seconds(self, text: str) -> float:
        return 0.3 * len(text.split())


class TestWhistle(VoiceContract):
    @pytest.fixture
    def stage(self) -> VoiceParty:
        return Whistle()
