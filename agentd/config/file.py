"""Reading agent.toml: checked as a whole, with every problem told at once.

Loading never half-succeeds: every problem of a file is found, each with its TOML path.
"""

import re
from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import attrs

from agentd.config.catalogue import Catalogue, Choices
from agentd.config.combinations import contradictions
from agentd.config.schema import Problem, build, is_number, not_among, settings_of
from agentd.config.settings import AgentConfig, Config, Health, Logging, ToolConfig
from agentd.errors import ConfigError
from agentd.parsing import NestedTooDeeply, load_toml
from agentd.plugins import blaming


def parse_config(
    raw: Mapping[str, Any],
    environ: Mapping[str, str],
    catalogue: Catalogue,
    source: str = "agent.toml",
    today: str = "",
) -> Config:
    """Make a Config of parsed TOML, in which everything is named that the catalogue has. `today` (a day, ISO 8601;
    empty: that of this host) is for what will end.

    Raises ConfigError with one line for every problem: unknown keys (with the nearest known one), wrong
    types, bad values, combinations that cannot work.
    """
    problems: list[Problem] = []
    body = {name: value for name, value in raw.items() if name not in ("agents", "tools", "speech_server")}
    base = build(Config, body, "", problems, skip=("agents", "tools"))
    agents = {
        name: _parse_agent(name, table, problems, catalogue.providers, today or date.today().isoformat())
        for name, table in _tables(raw, "agents", problems).items()
    }
    tables = _tables(raw, "tools", problems)
    tools = {name: _parse_tool(name, table, problems, catalogue.tools) for name, table in tables.items()}
    tools = _tools_in_use(agents, tools, problems, catalogue.tools)
    if complaint := not_among(base.calls.default_media, catalogue.transports):
        problems.append(Problem("calls.default_media", complaint))
    _parse_speech_server(raw, problems, catalogue)  # another command's; but the file is good or bad as a whole
    config = attrs.evolve(base, agents=agents, tools=tools, health=_health_override(base.health, environ, problems))
    problems += contradictions(config)
    _refuse(problems, source)
    return attrs.evolve(config, notes=tuple(str(problem) for problem in problems))


def _refuse(problems: list[Problem], source: str) -> None:
    problems = [problem for problem in problems if problem.fatal]
    if problems:
        lines = "\n".join(f"  {problem}" for problem in sorted(problems, key=lambda problem: problem.path))
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{source}: {count}\n{lines}")


def _parse_speech_server(raw: Mapping[str, Any], problems: list[Problem], catalogue: Catalogue) -> Any:
    table = raw.get("speech_server", {})
    if not isinstance(table, dict):
        problems.append(Problem("speech_server", "must be a table: [speech_server]"))
        return catalogue.speech_server()
    settings: object = build(catalogue.speech_server, table, "speech_server", problems)
    problems += _impossible(settings, "speech_server", "[speech_server]")
    return settings


def _tables(raw: Mapping[str, Any], name: str, problems: list[Problem]) -> Mapping[str, Mapping[str, Any]]:
    """The tables [NAME.x] by x."""
    tables = raw.get(name, {})
    if isinstance(tables, dict) and all(isinstance(table, dict) for table in tables.values()):
        return tables
    problems.append(Problem(name, f"must be tables: [{name}.NAME]"))
    return {}


def _parse_agent(
    name: str, table: Mapping[str, Any], problems: list[Problem], providers: Choices, today: str
) -> AgentConfig:
    path = f"agents.{name}"
    provider = str(table.get("provider", AgentConfig().provider))
    # Tables of other providers may stay when an agent changes over; they have to be good all the same.
    spare = [other for other in providers.names if other in table and other != provider]
    own = {key: value for key, value in table.items() if key != provider and key not in spare}
    agent = build(AgentConfig, own, path, problems, skip=("settings",), also=(provider, *providers.names))
    found: dict[str, object] = {}
    for other in (agent.provider, *spare):
        where, table_of_it = f"{path}.{other}", table.get(other, {})
        try:
            schema = providers.settings(other)
        except ConfigError as error:
            problems.append(Problem(f"{path}.provider" if other == agent.provider else where, str(error)))
            return agent
        if not isinstance(table_of_it, dict):
            problems.append(Problem(where, f"must be a table: [{where}]"))
            return agent
        found[other] = build(schema, table_of_it, where, problems)
    settings = found[agent.provider]
    whose = f"the provider {agent.provider!r}"
    problems += _impossible(settings, f"{path}.{agent.provider}", whose, agent.language)
    problems += _told("ending", settings, f"{path}.{agent.provider}", whose, today, fatal=False)
    return attrs.evolve(agent, settings=settings)


def _parse_tool(name: str, table: Mapping[str, Any], problems: list[Problem], kinds: Choices) -> ToolConfig:
    path = f"tools.{name}"
    if not TOOL_NAME.fullmatch(name):
        problems.append(Problem(path, "a tool's name has 1 to 64 of the characters a-z, A-Z, 0-9, _ and -"))
    kind = table.get("kind") or name
    own = {key: value for key, value in table.items() if key != kind}
    tool = build(ToolConfig, own, path, problems, skip=("settings",), also=(str(kind),))
    tool = attrs.evolve(tool, kind=tool.kind or name)
    if not isinstance(kind, str):
        return tool
    if name in kinds.names and tool.kind != name:
        problems.append(Problem(f"{path}.kind", f"a tool called {name} is of that kind: give this one another name"))
    try:
        schema = kinds.settings(tool.kind)
    except ConfigError as error:
        problems.append(Problem(f"{path}.kind", str(error)))
        return tool
    settings_raw = table.get(tool.kind, {})
    if not isinstance(settings_raw, dict):
        problems.append(Problem(f"{path}.{tool.kind}", f"must be a table: [{path}.{tool.kind}]"))
        return tool
    found: list[Problem] = []
    settings: object = build(schema, settings_raw, f"{path}.{tool.kind}", found)
    if not found:
        whose = f"the kind of tools {tool.kind!r}"
        found = _impossible(settings, f"{path}.{tool.kind}", whose)
        found += _told("doubtful", settings, f"{path}.{tool.kind}", whose, fatal=False)
    problems += found
    return attrs.evolve(tool, settings=settings)


def _impossible(settings: object, path: str, whose: str, *given: str) -> list[Problem]:
    """The combinations of settings that cannot work."""
    return _told("impossible", settings, path, whose, *given, fatal=True)


def _told(method: str, settings: object, path: str, whose: str, *given: str, fatal: bool) -> list[Problem]:
    """The problems that a settings class tells by a method, where it has it; or that it has a defect."""
    try:
        with blaming(whose):
            tell = getattr(settings, method, None)
            found = tell(*given) if tell else ()
            return [Problem(f"{path}.{where}", why, fatal=fatal) for where, why in found]
    except ConfigError as error:
        return [Problem(path, str(error))]


def _tools_in_use(
    agents: Mapping[str, AgentConfig], tools: Mapping[str, ToolConfig], problems: list[Problem], kinds: Choices
) -> dict[str, ToolConfig]:
    """The tools that agents have. A kind that works with nothing but defaults needs no table."""
    plain = {kind: ToolConfig(kind, settings=cls()) for kind, cls in kinds.usable.items() if kind not in tools}
    ready = {**tools, **{kind: tool for kind, tool in plain.items() if not _impossible(tool.settings, "", repr(kind))}}
    found: dict[str, ToolConfig] = {}
    for agent, config in agents.items():
        for name in config.tools:
            if name in ready:
                found[name] = ready[name]
                continue
            near = get_close_matches(name, ready, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(ready)}"
            if name in plain:
                hint = f"it needs settings: [tools.{name}.{name}]"
            if name in kinds.broken:
                hint = str(kinds.broken[name])
            problems.append(Problem(f"agents.{agent}.tools", f"there is no tool {name!r}; {hint}"))
    return found


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


def load_config(path: Path, environ: Mapping[str, str], catalogue: Catalogue) -> Config:
    """Read and check a configuration file. Raises ConfigError."""
    return parse_config(_read(path), environ, catalogue, str(path))


def load_speech_server(path: Path, catalogue: Catalogue) -> tuple[Any, Logging]:
    """Read what `agentd speech-server` needs of a configuration file: no agent, nothing of Asterisk has to be in it.

    The settings are of the catalogue's class.

    Raises ConfigError: for these tables, and for one that no command knows.
    """
    raw = _read(path)
    problems: list[Problem] = []
    others = [setting.name for setting in settings_of(Config) if setting.name != "logging"]
    tables = {name: value for name, value in raw.items() if name != "speech_server"}
    logging = build(Config, tables, "", problems, skip=others, also=others).logging
    settings = _parse_speech_server(raw, problems, catalogue)
    if "speech_server" not in raw:
        problems.append(Problem("speech_server", "there is no table [speech_server]; `agentd sample` shows one"))
    _refuse(problems, str(path))
    return settings, logging


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return load_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; `agentd sample` prints a configuration to begin with"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: {error}") from error
    except NestedTooDeeply as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error


TOOL_NAME = re.compile("[a-zA-Z0-9_-]{1,64}")
"""The names of functions that every vendor takes."""
