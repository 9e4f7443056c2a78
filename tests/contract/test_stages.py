"""Every stage of ours keeps the contract: agentd.testing.stage_contract, run for each of them."""

import pytest

from agentd.testing.stage_contract import ResponderContract, TranscriberContract, VoiceContract
from agentd.testing.stages import ResponderParty, TranscriberParty, VoiceParty
from tests.contract.stages import EARS, MODELS, MOUTHS


class TestTranscribers(TranscriberContract):
    @pytest.fixture(params=EARS)
    def stage(self, request: pytest.FixtureRequest) -> TranscriberParty:
        return EARS[request.param]()


class TestResponders(ResponderContract):
    @pytest.fixture(params=MODELS)
    def stage(self, request: pytest.FixtureRequest) -> ResponderParty:
        return MODELS[request.param]()


class TestVoices(VoiceContract):
    @pytest.fixture(params=MOUTHS)
    def stage(self, request: pytest.FixtureRequest) -> VoiceParty:
        return MOUTHS[request.param]()
