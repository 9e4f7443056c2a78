"""The form of all contracts: a class of tests that one fixture binds to a party."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
from enum import StrEnum
from typing import Any, TypeVar

import pytest
import trio
from structlog.testing import capture_logs

from agentd.testing.clock import run_on_loopback, run_virtually
from agentd.testing.party import Party, Time
from agentd.testing.plugin import pass_over

Test = TypeVar("Test", bound=Callable[..., Any])
CLOCKS = {Time.LOOPBACK: run_on_loopback, Time.VIRTUAL: run_virtually}


def needs(*abilities: StrEnum) -> Callable[[Test], Test]:
    """For a test: what a party has to be able to do; without that it is passed over."""

    def mark(test: Test) -> Test:
        test.agentd_needs = abilities  # type: ignore[attr-defined]
        return test

    return mark


def stamp(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """For structlog: the second of Trio's clock at which something is logged."""
    at = trio.current_time() if trio.lowlevel.in_trio_run() else 0.0
    return {"at": at, **entry}


class Contract:
    """The party that is tested, what is watched in every test, and how a test comes to be passed over."""

    pytestmark = pytest.mark.trio

    @pytest.fixture
    def declared(self) -> Party:
        """The party as the one fixture of who runs the contract made it; not open yet."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def abilities(self, request: pytest.FixtureRequest, declared: Party) -> None:
        """Pass over a test that needs what the party cannot do."""
        for need in getattr(request.function, "agentd_needs", ()):
            if need not in declared.abilities:
                pass_over(request, f"{declared.name} is none that {need} ({type(need).__name__}.{need.name})")

    @pytest.fixture(autouse=True)
    def clock(self, request: pytest.FixtureRequest, declared: Party) -> None:
        """The party's time."""
        if declared.time in CLOCKS:
            request.node.add_marker(pytest.mark.trio(run=CLOCKS[declared.time]), append=False)  # before trio_mode's own

    @pytest.fixture(autouse=True)
    def keys(self, monkeypatch: pytest.MonkeyPatch, declared: Party) -> None:
        """The party's keys are where agentd looks for them."""
        monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
        for name, key in declared.keys.items():
            monkeypatch.setenv(name, key)

    @pytest.fixture(autouse=True)
    def logs(self, caplog: pytest.LogCaptureFixture, declared: Party) -> Iterator[list[Any]]:
        """The log, each line with its second. No test may make anybody tell a key."""
        caplog.set_level("INFO")
        with capture_logs(processors=[stamp]) as entries:
            yield entries
        hides_keys(declared, repr(entries), caplog.text)

    @pytest.fixture
    async def party(self, declared: Party) -> AsyncIterator[Party]:
        """The party, open."""
        async with declared.open():
            yield declared


def hides_keys(party: Party, *texts: str) -> None:
    """No key of the party's is in what somebody may read."""
    for key in party.keys.values():
        assert not [text for text in texts if key in text]
