"""Settings that cannot work together in a configuration, though each is good for itself. Pure."""

from collections.abc import Iterator
from operator import attrgetter

from agentd import deadlines
from agentd.addresses import collide
from agentd.config.schema import Problem
from agentd.config.settings import AgentConfig, Config, Headless


def contradictions(config: Config) -> list[Problem]:
    """Settings that are well-formed, each for itself, and cannot work together."""
    problems: list[Problem] = []
    if not config.agents:
        problems.append(Problem("agents", "no agent is configured: add a table [agents.default]"))
    if config.agents and config.calls.default_agent and config.calls.default_agent not in config.agents:
        problems.append(
            Problem(
                "calls.default_agent",
                f"there is no agent {config.calls.default_agent!r}; there are: {', '.join(config.agents)}",
            )
        )
    for name, agent in config.agents.items():
        problems += _fallbacks(config, name, agent)
        if agent.speaker == name or (agent.speaker and agent.speaker not in config.agents):
            others = ", ".join(other for other in config.agents if other != name)
            problems.append(Problem(f"agents.{name}.speaker", f"must name another agent: {others or 'there is none'}"))
        times = agent.liveness
        if times.max_duration and times.warn_before >= times.max_duration:
            problems.append(
                Problem(
                    f"agents.{name}.liveness.warn_before",
                    f"must be less than max_duration ({times.max_duration:g}), not {times.warn_before:g}",
                )
            )
    headless = config.audiosocket
    if config.agents and headless.headless_agent and headless.headless_agent not in config.agents:
        problems.append(
            Problem(
                "audiosocket.headless_agent",
                f"there is no agent {headless.headless_agent!r}; there are: {', '.join(config.agents)}",
            )
        )
    if config.agents and headless.headless is Headless.ACCEPT and not config.headless_agent:
        problems.append(Problem("audiosocket.headless_agent", "must name the agent of headless calls"))
    problems += _same_port(config)
    if config.rtp.last_port < config.rtp.first_port:
        problems.append(Problem("rtp.last_port", f"must not be below first_port ({config.rtp.first_port})"))
    return [*problems, *_too_short(config)]


def _same_port(config: Config) -> Iterator[Problem]:
    """Ports that two listeners would have."""
    ports = [("audiosocket", config.audiosocket.host, config.audiosocket.port)]
    if config.websocket.connection:
        ports.append(("websocket", config.websocket.host, config.websocket.port))
    ports.append(("health", config.health.host, config.health.port))
    for at, (name, host, port) in enumerate(ports):
        for other, other_host, other_port in ports[:at]:
            if port and port == other_port and collide(host, other_host):
                yield Problem(f"{name}.port", f"port {port} is {other}.port already")


def _too_short(config: Config) -> Iterator[Problem]:
    """Deadlines that end before what they hold may have ended: the inner one would never act."""
    configured = {
        row: float(attrgetter(row.path)(config))
        for row in deadlines.TABLE.values()
        if isinstance(row, deadlines.Setting) and row.path.startswith(("asterisk.", "audiosocket.", "rtp.", "calls."))
    }
    for name, why in deadlines.misfits(configured):
        row = deadlines.TABLE[name]
        if isinstance(row, deadlines.Setting):
            yield Problem(row.path, why)


def _fallbacks(config: Config, name: str, agent: AgentConfig) -> list[Problem]:
    path = f"agents.{name}.fallback"
    problems = [
        Problem(path, f"there is no agent {other!r}; there are: {', '.join(config.agents)}")
        for other in agent.fallback
        if other not in config.agents
    ]
    if name in agent.fallback:
        problems.append(Problem(path, "an agent is no fallback of its own: it is tried again anyway"))
    if len(set(agent.fallback)) < len(agent.fallback):
        problems.append(Problem(path, "names an agent twice"))
    return problems
