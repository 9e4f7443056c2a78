"""For who writes a provider: the contracts of an agent and of a stage, run on yours by one fixture.

Install `asterisk-agentd[testing]`. In the topmost conftest.py of your tests, so that the report names each test that
was passed over, and why:

    pytest_plugins = ["agentd.testing.plugin"]

And a test module, for an agent that has no vendor:

    import pytest

    from agentd.testing.agent_contract import AgentContract
    from agentd.testing.agents import Able, AgentParty

    class Parrot(AgentParty):
        provider = "parrot"                              # the name of your entry point
        abilities = (Able.TALKS_ON, Able.ANSWERS_PROBES)
        settings = {"quiet_ms": 300}                     # [agents.NAME.parrot]

    class TestParrot(AgentContract):
        @pytest.fixture
        def agent(self) -> AgentParty:
            return Parrot()

For a stage of a pipeline it is `TranscriberContract`, `ResponderContract` or `VoiceContract`, and the fixture is
called `stage`.

Each test of an agent is a call to it: of the call everything is real but the PBX, which is in memory. Where your agent
has a vendor, `AgentParty.open` runs a fake of it; what else the party tells follows from its abilities, and what it
cannot do is passed over.

| module | has |
|---|---|
| `agent_contract` | `AgentContract`: what every agent does |
| `agents` | `AgentParty`, `Able`, `Turn`: what you tell of yours |
| `transcriber_contract` | `TranscriberContract`: what every stage that listens does |
| `responder_contract` | `ResponderContract`: what every stage that thinks does |
| `voice_contract` | `VoiceContract`: what every stage that speaks does |
| `stages` | `TranscriberParty`, `ResponderParty`, `VoiceParty`, `Can`, `Seen`: what you tell of yours |
| `party` | `Party`: what all of these have in common; `Time`: by which clock their tests run |
| `faults` | `Fault`: how your vendor's fake fails on demand |
| `telephone` | the call by itself, `talking`, and its caller, for tests of your own |
| `clock` | Trio's virtual clock, also for sockets within a test, and `until` |
| `sound` | a caller's voice that is none |
| `plugin` | the report |

The modules that begin with an underscore are no part of it: the PBX in memory and what it has on its lines.
"""

import pytest

# The asserts of the contracts tell what they compared, like those of the tests that they are.
pytest.register_assert_rewrite(
    "agentd.testing._call",
    "agentd.testing._contract",
    "agentd.testing._stage_contract",
    "agentd.testing.agent_contract",
    "agentd.testing.responder_contract",
    "agentd.testing.telephone",
    "agentd.testing.transcriber_contract",
    "agentd.testing.voice_contract",
)
