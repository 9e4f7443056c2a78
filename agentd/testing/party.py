"""The facts that contracts need of whatever they test: its keys, its vendor's fakes, its abilities."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from types import MappingProxyType

import trio

from agentd.testing.faults import Fault


class Time(StrEnum):
    """By which clock the tests of a party run (see agentd.testing.clock): as fast, and as exactly, as its nature
    allows."""

    REAL = "real"
    """There are threads, processes or somebody else's servers in it."""
    LOOPBACK = "loopback"
    """Its vendor's fake is a task of the test, and the two talk by sockets. Time stands still while anybody works."""
    VIRTUAL = "virtual"
    """Nothing of it waits for anything but Trio's clock."""


class Party:
    """The tested agent or stage, with the fakes that stand in for its vendor. See AgentParty, TranscriberParty,
    ResponderParty, VoiceParty.

    A test that needs an ability which is not among `abilities` is passed over, and the report says so. Each test has a
    party of its own, made by your fixture.
    """

    name: str
    """Its name in the report."""
    abilities: Collection[StrEnum] = ()
    keys: Mapping[str, str] = MappingProxyType({})
    """Environment variables that hold a key, and the keys, which the vendor's fake wants to see. They are set for each
    test, and shown by nobody: in no log, no error and no repr."""
    time: Time = Time.REAL

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run the vendor's fakes for as long as the block is entered. After the test, assert here what they have to
        complain of."""
        await trio.lowlevel.checkpoint()
        yield

    def strike(self, fault: Fault) -> None:
        """The vendor fails like this from now on (Fault.NONE: it is well again)."""
        raise NotImplementedError(f"the abilities of {self.name} want a strike()")

    def at_work(self) -> int:
        """The vendor's work for calls that is not over: open sessions, requests that are being answered."""
        return 0
