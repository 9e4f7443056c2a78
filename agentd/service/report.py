"""How the daemon is: what its health page and systemd are told. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import attrs

from agentd import __version__
from agentd.agent import Readiness
from agentd.serving.breaker import Circuit


@attrs.frozen
class AgentHealth:
    """One agent: whether it can take a call, and where its circuit breaker stands (with why, unless closed)."""

    readiness: Readiness
    circuit: Circuit = Circuit.CLOSED
    circuit_reason: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "ready": self.readiness.ready,
            "detail": self.readiness.detail,
            "circuit": str(self.circuit),
            "circuit_reason": self.circuit_reason,
        }


@attrs.frozen
class PartHealth:
    """One part of the daemon: whether it runs, why its last life ended, and how often it was started again."""

    up: bool
    detail: str = ""
    restarts: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"up": self.up, "detail": self.detail, "restarts": self.restarts}


class Phase(StrEnum):
    """Where the daemon is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


@attrs.frozen
class HealthReport:
    """The daemon's page GET /health. `listening`: of what waits for connections, whether it does. `media_trouble`: why
    no audio file can be written for Asterisk; calls stream then, and announcements are sounds of Asterisk's own.
    `ari_trouble`: what Asterisk refuses though it is there, with what helps."""

    ari_connected: bool
    listening: Mapping[str, bool]
    active_calls: int
    providers: Mapping[str, AgentHealth]
    uptime_seconds: float
    phase: Phase = Phase.SERVING
    media_trouble: str = ""
    parts: Mapping[str, PartHealth] = attrs.field(factory=dict)
    ari_trouble: str = ""
    waiting_callers: int = 0
    """Those whose call is not set up yet, because Asterisk or this host could not bear one more."""

    @property
    def healthy(self) -> bool:
        """False when calls could not be served: ARI, a listener or every agent is down, or Asterisk refuses us; or a
        part of the daemon is down."""
        agents = any(agent.readiness.ready for agent in self.providers.values())
        parts = all(part.up for part in self.parts.values())
        return self.ari_connected and not self.ari_trouble and all(self.listening.values()) and agents and parts

    def as_json(self) -> dict[str, Any]:
        return {
            "status": "ok" if self.healthy else "unavailable",
            "ari_connected": self.ari_connected,
            "ari_trouble": self.ari_trouble,
            **{f"{name}_listening": listens for name, listens in self.listening.items()},
            "active_calls": self.active_calls,
            "waiting_callers": self.waiting_callers,
            "providers": {name: agent.as_json() for name, agent in self.providers.items()},
            "parts": {name: part.as_json() for name, part in self.parts.items()},
            "draining": self.phase is Phase.DRAINING,
            "media_trouble": self.media_trouble,
            "uptime_seconds": round(self.uptime_seconds, 1),
            "version": __version__,
        }


def status_line(report: HealthReport, ari_down_since: str) -> str:
    """How the daemon stands, in one line for `systemctl status`. `ari_down_since`: local time, where ARI is down."""
    calls = f"{report.active_calls} call{'' if report.active_calls == 1 else 's'}"
    ready = [name for name, agent in report.providers.items() if agent.readiness.ready]
    unready = [f"{name} ({agent.readiness.detail})" for name, agent in report.providers.items() if name not in ready]
    if report.phase is Phase.STARTING:
        return f"starting: {len(ready)} agents are ready, ARI is {'up' if report.ari_connected else 'not up yet'}"
    if report.phase is Phase.DRAINING:
        return f"stopping: {calls} to be finished"
    obstacles = [f"{name} does not listen" for name, listens in report.listening.items() if not listens]
    if not report.ari_connected:
        obstacles.insert(0, f"ARI is down since {ari_down_since}")
    if report.ari_trouble:
        obstacles.insert(0, report.ari_trouble)
    if not ready:
        obstacles.append("no agent is ready")
    troubles = [f"{name} is being started again" for name, part in report.parts.items() if not part.up]
    if unready:
        troubles.append(f"not ready: {', '.join(unready)}")
    serving = f"no new calls: {', '.join(obstacles)}; {calls}" if obstacles else f"serving {calls}"
    return "; ".join([serving, *troubles])
