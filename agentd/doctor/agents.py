"""The agents: what each needs, whether a running daemon has it ready, and who stands in for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from agentd.config.settings import AgentConfig, Config
from agentd.doctor.credentials import examine_credentials
from agentd.doctor.daemon import RunningDaemon
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.doctor.needs import examine_needs
from agentd.serving.breaker import Circuit
from agentd_providers.needs import Need
from agentd_providers.registry import find_provider


async def examine_agents(
    config: Config, environ: Mapping[str, str], credentials: Path, daemon: RunningDaemon
) -> list[Finding]:
    """Every agent in turn: its keys, its other needs, its readiness, who stands in for it; and the secrets of tools."""
    findings: list[Finding] = []
    access = dict(await examine_credentials(config, environ, credentials))
    for name, agent in sorted(config.agents.items()):
        check = f"agent {name}"
        findings += access.pop(check, [])
        findings += await _examine_agent(check, agent, environ, credentials, daemon)
        findings += judge_readiness(check, name, agent, daemon)
        if agent.fallback:
            findings.append(ok(check, f"when it fails, its calls go to: {', then '.join(agent.fallback)}"))
    return [*findings, *(finding for of_tool in access.values() for finding in of_tool)]


def judge_readiness(check: str, name: str, agent: AgentConfig, daemon: RunningDaemon) -> list[Finding]:
    """The agent's readiness, as a running daemon tells it. Pure."""
    if daemon.health is None:
        return []
    state = dict(daemon.health.get("providers") or {}).get(name)
    if state is None:
        return [
            warn(
                check,
                "the running agentd does not have it: agent.toml was changed since",
                "systemctl reload agentd",
            )
        ]
    if not state.get("ready"):
        return [
            fail(
                check,
                f"the running agentd cannot use it: {state.get('detail')}",
                "journalctl -u agentd -n 50",
            )
        ]
    if state.get("circuit", Circuit.CLOSED) != Circuit.CLOSED:
        return [
            warn(
                check,
                f"the running agentd has it rest after failures: {state.get('circuit_reason')}",
                "the next call tries it again; journalctl -u agentd -n 50",
            )
        ]
    return [ok(check, f"ready in the running agentd (provider {agent.provider})")]


async def _examine_agent(
    check: str, agent: AgentConfig, environ: Mapping[str, str], credentials: Path, daemon: RunningDaemon
) -> list[Finding]:
    try:
        needs: Sequence[Need] = find_provider(agent.provider).needs(agent.settings)
    except Exception as error:  # noqa: BLE001 - a stranger's provider may raise anything, and the other agents count
        found = f"the provider {agent.provider} cannot say what it needs: {type(error).__name__}: {error}"
        return [fail(check, found, "this is a fault of the package that brings it")]
    if not needs and not daemon.health:
        return [skipped(check, f"only a running agentd can tell about the provider {agent.provider}")]
    return await examine_needs(check, needs, environ, credentials)
