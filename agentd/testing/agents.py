"""The facts that an agent's author tells its contract: how the agent is opened, what its vendor's fake does, what it
can do."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs

from agentd import history
from agentd.testing.party import Party
from agentd.testing.sound import voice_saying

SECONDS_A_CHARACTER = 0.05


class Able(StrEnum):
    """An agent's abilities: each is the rest of a sentence that begins with "it". The last four are those of its
    sessions' capabilities, by the same names."""

    SCRIPTED = "says what the test wants"
    """Its model is a fake: it says what `AgentParty.expect` was told, and tells what it was told itself."""
    USES_TOOLS = "uses tools"
    """The model, which is Able.SCRIPTED, asks for those of a `Turn`."""
    TALKS_ON = "can be made to talk for long"
    FAILS = "has a vendor that fails"
    """`strike(Fault.CLOSE)` makes it fail."""
    IS_REFUSED = "opens each session as a connection, which may be refused"
    """By Fault.REFUSED, RATE_LIMITED and MUTE."""
    IS_WELCOMED = "waits for a word of its vendor's before a session is open"
    """Which does not come with Fault.CLOSE."""
    TRUNCATES = "truncates"
    TAKES_TEXT = "takes text"
    TAKES_DIGITS = "takes digits"
    ANSWERS_PROBES = "answers probes"


@attrs.frozen
class Turn:
    """One turn: the caller's words; then the model asks for the tools `calls` (names and arguments), and `says`
    something."""

    heard: str
    says: str
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()


class AgentParty(Party):
    """One agent with what stands in for its vendor: a party to the call. Make a class of your own of it.

    Set `provider`, and `abilities`; what else you write follows from the abilities.
    """

    provider: str
    """Its name in the registry of providers: that of the entry point."""
    abilities: Collection[Able] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    """The table [agents.NAME.PROVIDER]; `open` may set it. Deadlines for opening a session: half a second."""

    @property
    def name(self) -> str:  # type: ignore[override]
        """Its name in the report."""
        return self.provider

    async def speech(self, turn: Turn) -> bytes:
        """The caller's voice in that turn (8 kHz slin): noise, which is enough for ears that judge by loudness.

        Words are to be without a pause; 0.4 s are surely no click. Asked within Trio."""
        return voice_saying(turn.heard)

    def expect(self, turn: Turn) -> None:
        """The caller's next turn, and the model's. Each turn is told before it begins, and several ahead at times."""

    def seconds(self, text: str) -> float:
        """How long its voice speaks a text at least, where it is Able.SCRIPTED."""
        return SECONDS_A_CHARACTER * len(text)

    # --- Able.SCRIPTED: what its model knows

    def told(self) -> list[str]:
        """The conversation as the model knows it: texts, in order."""
        raise NotImplementedError(f"{type(self).__name__} is Able.SCRIPTED, and has no told()")

    def results(self) -> list[str]:
        """The results of its tools, as the model was told them."""
        raise NotImplementedError(f"{type(self).__name__} is Able.SCRIPTED, and has no results()")

    # --- Able.SCRIPTED and Able.TRUNCATES

    def knows_what_was_heard_of(self, turn: history.Turn) -> bool:
        """Whether the model's own record of an answer that was cut short is cut too."""
        raise NotImplementedError(f"{type(self).__name__} is Able.TRUNCATES, and has no knows_what_was_heard_of()")
