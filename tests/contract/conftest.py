"""The parties, each in turn, and what is watched in every test."""

from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from agentd_providers import registry
from tests.contract.parties import KEY, PARTIES, Kind, Party
from tests.parrot.agentd_parrot import PROVIDER


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*abilities): what a party has to be able to do for a test")


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.engines if name == "local" else ()) for name in PARTIES])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each party, for what it can do."""
    kind = PARTIES[request.param]
    for need in (able for mark in request.node.iter_markers("needs") for able in mark.args):
        if need not in kind.abilities:
            pytest.skip(f"{request.param} is none that {need}")
    return kind


@pytest.fixture
async def party(kind: Kind) -> AsyncIterator[Party]:
    async with kind.open() as party:
        yield party


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setitem(registry.BUILT_IN, "parrot", PROVIDER)  # as if it were installed


def stamp(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> Mapping[str, Any]:
    at = trio.current_time() if trio.lowlevel.in_trio_run() else 0.0
    return {"at": at, **entry}


@pytest.fixture(autouse=True)
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[list[Any]]:
    """What is logged, with the second at which it was. Whatever a test does, nobody tells the key."""
    caplog.set_level("INFO")
    with capture_logs(processors=[stamp]) as entries:
        yield entries
    assert KEY not in repr(entries)
    assert KEY not in caplog.text
