"""Reading agent.toml: checked as a whole, with every problem told at once; and the sample and the schema of it.

Loading never half-succeeds: every problem of a file is found, each with its TOML path.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from agentd.config import AgentConfig, Config, Headless, Health
from agentd.errors import ConfigError
from agentd.schema import Problem, build, is_number, json_schema, sample


def parse_config(raw: Mapping[str, Any], environ: Mapping[str, str], source: str = "agent.toml") -> Config:
    """Make a Config of parsed TOML.

    Raises ConfigError with one line for every problem: unknown keys (with the nearest known one), wrong
    types, bad values, combinations that cannot work.
    """
    from providers.registry import settings_class  # the one place of the core that knows the registry

    problems: list[Problem] = []
    body = {name: value for name, value in raw.items() if name != "agents"}
    base = build(Config, body, "", problems, skip=("agents", "tools"))
    agents: dict[str, AgentConfig] = {}
    raw_agents = raw.get("agents", {})
    if not isinstance(raw_agents, dict) or not all(isinstance(table, dict) for table in raw_agents.values()):
        problems.append(Problem("agents", "must be tables: [agents.NAME]"))
        raw_agents = {}
    for name, table in raw_agents.items():
        agents[name] = _parse_agent(name, table, problems, settings_class)
    config = attrs.evolve(base, agents=agents, health=_health_override(base.health, environ, problems))
    problems += _impossible(config)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in sorted(problems, key=lambda problem: problem.path))
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{source}: {count}\n{lines}")
    return config


def _parse_agent(name: str, table: Mapping[str, Any], problems: list[Problem], settings_class: Any) -> AgentConfig:
    path = f"agents.{name}"
    provider = table.get("provider", AgentConfig().provider)
    own = {key: value for key, value in table.items() if key != provider}
    agent = build(AgentConfig, own, path, problems, skip=("settings",), also=(str(provider),))
    try:
        schema = settings_class(agent.provider)
    except ConfigError as error:
        problems.append(Problem(f"{path}.provider", str(error)))
        return agent
    settings_raw = table.get(agent.provider, {})
    if not isinstance(settings_raw, dict):
        problems.append(Problem(f"{path}.{agent.provider}", f"must be a table: [{path}.{agent.provider}]"))
        return agent
    settings = build(schema, settings_raw, f"{path}.{agent.provider}", problems)
    if impossible := getattr(settings, "impossible", None):
        problems += [Problem(f"{path}.{agent.provider}.{where}", why) for where, why in impossible(agent.language)]
    return attrs.evolve(agent, settings=settings)


def _health_override(health: Health, environ: Mapping[str, str], problems: list[Problem]) -> Health:
    """HEALTH_HOST and HEALTH_PORT of the environment."""
    raw: dict[str, Any] = {"host": environ.get("HEALTH_HOST") or health.host, "port": health.port}
    if port := environ.get("HEALTH_PORT"):
        raw["port"] = int(port) if is_number(port) else port
    found: list[Problem] = []
    made = build(Health, raw, "health", found)
    problems += [
        Problem(f"environment HEALTH_{problem.path.rpartition('.')[2].upper()}", problem.message)
        for problem in found
        if f"HEALTH_{problem.path.rpartition('.')[2].upper()}" in environ
    ]
    return made


def _impossible(config: Config) -> list[Problem]:
    """Combinations that are well-formed and cannot work."""
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
    same_port = config.health.port and config.health.port == config.audiosocket.port
    hosts = {host.replace("localhost", "127.0.0.1") for host in (config.health.host, config.audiosocket.host)}
    if same_port and (len(hosts) == 1 or hosts & {"0.0.0.0", "::"}):
        problems.append(Problem("health.port", f"port {config.health.port} is audiosocket.port already"))
    if config.audiosocket.bind_grace >= config.audiosocket.bind_timeout:
        problems.append(Problem("audiosocket.bind_grace", "must be shorter than audiosocket.bind_timeout"))
    return problems


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and check a configuration file. Raises ConfigError."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; `agentd sample` prints a configuration to begin with"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    return parse_config(raw, environ, str(path))


SAMPLE_HEAD = """\
# agent.toml: the configuration of agentd. Every setting is shown with its default.
# Check a changed file with `agentd check --config agent.toml`.
#
# Secrets are not in this file. They come from the environment or from systemd credentials:
#   AGENTD_ARI_PASSWORD or the credential "ari-password": the password of the user in ari.conf
#   api_key_name of an agent: the name of its environment variable or credential"""


def sample_toml() -> str:
    """The commented sample: one local agent named default, every setting at its default."""
    from providers.registry import settings_class

    lines = [SAMPLE_HEAD, *sample(Config, "", skip=("agents", "tools"))]
    provider = AgentConfig().provider
    lines += ["", "# --- Agents: as many as you like, each with a table [agents.NAME] of its own."]
    lines += sample(AgentConfig, "agents.default", skip=("settings",))
    lines += sample(settings_class(provider), f"agents.default.{provider}")
    return "\n".join(lines) + "\n"


def config_schema() -> dict[str, Any]:
    """JSON Schema of agent.toml, with the settings of every provider that is installed."""
    from providers.registry import provider_names, settings_class

    schema = json_schema(Config, skip=("agents", "tools"))
    agent = json_schema(AgentConfig, skip=("settings",))
    for name in provider_names():
        agent["properties"][name] = json_schema(settings_class(name))
    schema["properties"]["agents"] = {"type": "object", "additionalProperties": agent}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "agent.toml", **schema}
