"""The line that `systemctl status` shows."""

import attrs
import pytest

from agentd.agent import Readiness
from agentd.service.report import AgentHealth, HealthReport, PartHealth, Phase, status_line

UP = AgentHealth(Readiness(True))
DOWN = AgentHealth(Readiness(False, "the model is missing"))
WELL = HealthReport(True, {"audiosocket": True}, 2, {"default": UP}, 12.0)
SINCE = "2026-11-29 17:05:03"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "serving 2 calls"),
        ({"active_calls": 1}, "serving 1 call"),
        ({"ari_connected": False}, f"no new calls: ARI is down since {SINCE}; 2 calls"),
        (
            {"providers": {"default": DOWN}},
            "no new calls: no agent is ready; 2 calls; not ready: default (the model is missing)",
        ),
        ({"providers": {}}, "no new calls: no agent is ready; 2 calls"),
        ({"listening": {"audiosocket": False}}, "no new calls: audiosocket does not listen; 2 calls"),
        (
            {"providers": {"default": UP, "sales": DOWN}},
            "serving 2 calls; not ready: sales (the model is missing)",
        ),
        ({"parts": {"watchdog": PartHealth(False, "x", 1)}}, "serving 2 calls; watchdog is being started again"),
        ({"parts": {"watchdog": PartHealth(True, "x", 1)}}, "serving 2 calls"),
        (
            {"ari_connected": False, "listening": {"audiosocket": False}, "active_calls": 0},
            f"no new calls: ARI is down since {SINCE}, audiosocket does not listen; 0 calls",
        ),
        ({"phase": Phase.STARTING, "ari_connected": False}, "starting: 1 agents are ready, ARI is not up yet"),
        ({"phase": Phase.DRAINING, "ari_connected": False}, "stopping: 2 calls to be finished"),
    ],
)
def test_it_tells_the_truth(change: dict[str, object], line: str) -> None:
    assert status_line(attrs.evolve(WELL, **change), SINCE) == line


def test_a_daemon_that_drains_is_well() -> None:
    assert attrs.evolve(WELL, phase=Phase.DRAINING).healthy
