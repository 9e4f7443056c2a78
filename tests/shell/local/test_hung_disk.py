"""A disk that does not answer: threads that wait for it are left, and nobody waits for them."""

import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio

from agentd.errors import ProviderUnavailable
from agentd_providers.local import engines, voice_activity
from agentd_providers.local.models import catalogue


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Answers nobody before it is set."""
    answers = threading.Event()

    def wait(*_args: object) -> str:
        answers.wait()
        return "/models/tiny"

    monkeypatch.setattr(catalogue, "locate", wait)
    monkeypatch.setattr(voice_activity, "_load", wait)
    monkeypatch.setattr(engines, "_model_limiter", trio.CapacityLimiter(1))
    monkeypatch.setattr(voice_activity, "_loading", trio.CapacityLimiter(1))
    monkeypatch.setattr(engines, "LOAD_WITHIN", 0.05)
    monkeypatch.setattr(voice_activity, "LOAD_WITHIN", 0.05)
    yield answers
    answers.set()


@pytest.mark.parametrize("load", [lambda: engines.locate("tiny"), voice_activity.load_voice_activity])
async def test_a_model_that_its_disk_does_not_give_leaves_its_agent_unready_and_holds_up_nobody(
    disk: threading.Event, load: Callable[[], Awaitable[object]]
) -> None:
    """The daemon waited for its agents to be tried, and came up for nobody."""
    with trio.fail_after(20):
        for _ in range(2):  # and the thread that hangs does not keep the next attempt
            with pytest.raises(ProviderUnavailable, match="disk"):
                await load()
    disk.set()
