"""Every stage of ours keeps the contract: those of agentd.testing, run for each of them."""

import pytest

from agentd.testing.responder_contract import ResponderContract
from agentd.testing.stages import ResponderParty, TranscriberParty, VoiceParty
from agentd.testing.transcriber_contract import TranscriberContract
from agentd.testing.voice_contract import VoiceContract
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
