"""The commented sample and the JSON Schema of agent.toml, and of any settings class."""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from typing import Any, get_args, get_origin

import attrs

from agentd.config.catalogue import Catalogue, Choices
from agentd.config.schema import settings_of
from agentd.config.settings import AgentConfig, Config, ToolConfig

SAMPLE_HEAD = """\
# agent.toml: the configuration of agentd. Every setting is shown with its default.
# Check a changed file with `agentd check --config agent.toml`.
#
# Secrets are not in this file. They come from the environment or from systemd credentials:
#   AGENTD_ARI_PASSWORD or the credential "ari-password": the password of the user in ari.conf
#   api_key_name of an agent: the name of its environment variable or credential"""


def sample_toml(catalogue: Catalogue) -> str:
    """The commented sample: one local agent named default, every setting at its default; agents of the other built-in
    providers, and tools, stand behind comment signs."""
    lines = [SAMPLE_HEAD, *sample(Config, "", skip=("agents", "tools"))]
    provider = AgentConfig().provider
    lines += ["", "# --- Agents: as many as you like, each with a table [agents.NAME] of its own."]
    lines += sample(AgentConfig, "agents.default", skip=("settings",))
    lines += sample(catalogue.providers.settings(provider), f"agents.default.{provider}")
    lines += _providers_sample(catalogue.providers)
    lines += _tools_sample(catalogue.tools)
    lines += [
        "",
        "# --- `agentd speech-server`, which lends speech engines to other hosts. The daemon does not read it.",
    ]
    lines += sample(catalogue.speech_server, "speech_server")
    return "\n".join(lines) + "\n"


def _providers_sample(providers: Choices) -> Iterator[str]:
    """An agent of every other built-in provider, behind comment signs."""
    yield ""
    yield "# --- Agents of the other providers: take away the # in front of the lines that are wanted. What is left out"
    yield "# has its default. They have the settings of every agent, too (greeting, prompt ...: see [agents.default])."
    for name in providers.built_in:
        if name == AgentConfig().provider:
            continue
        agent = f"agents.example_{name}"
        yield from ("", f"# --- An agent of the provider {name}, for which [agents.default] stands in.")
        head = (f"[{agent}]", f'provider = "{name}"', 'fallback = ["default"]')
        yield from _behind_signs((*head, *sample(providers.settings(name), f"{agent}.{name}")))


def _tools_sample(kinds: Choices) -> Iterator[str]:
    """Tables of tools, behind comment signs: they are none by default, and some need settings."""
    yield from ("", "# --- Tools: what an agent's model may do, by the names in its `tools`. Take away the # in front.")
    for name in kinds.built_in:
        yield from _behind_signs(sample(ToolConfig, f"tools.{name}", skip=("settings",)))
        yield from _behind_signs(sample(kinds.settings(name), f"tools.{name}.{name}"))


def _behind_signs(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a sample, each line of TOML behind a #; comments stay as they are."""
    return (line if not line or line.startswith("# ") else f"#{line}" for line in lines)


def sample(cls: type, path: str, skip: Collection[str] = ()) -> Iterator[str]:
    """The lines of a TOML table with every setting at its default, each with its description."""
    settings = [setting for setting in settings_of(cls) if setting.name not in skip]
    leaves = [setting for setting in settings if not attrs.has(setting.type)]
    if leaves and path:
        yield ""
        yield f"[{path}]"
    for setting in leaves:
        yield f"# {setting.doc}"
        yield f"{setting.name} = {toml_value(setting.default)}"
    for setting in settings:
        if attrs.has(setting.type):
            where = f"{path}.{setting.name}" if path else setting.name
            yield ""
            yield f"# --- {_first_line(setting.type)}"
            yield from sample(setting.type, where)


def toml_value(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, StrEnum):
        return json.dumps(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_toml_key(key)} = {toml_value(value[key])}' for key in value)} }}" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # DEL: JSON allows it, TOML does not


def _toml_key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else toml_value(key)


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


# --- JSON Schema -----------------------------------------------------------------------------------------------


def config_schema(catalogue: Catalogue) -> dict[str, Any]:
    """JSON Schema of agent.toml, with the settings of every provider and kind of tools that is installed."""
    schema = json_schema(Config, skip=("agents", "tools"))
    schema["properties"]["calls"]["properties"]["default_media"]["enum"] = list(catalogue.transports)
    agent = json_schema(AgentConfig, skip=("settings",))
    for name, settings in catalogue.providers.usable.items():
        agent["properties"][name] = json_schema(settings)
    schema["properties"]["agents"] = {"type": "object", "additionalProperties": agent}
    tool = json_schema(ToolConfig, skip=("settings",))
    for name, settings in catalogue.tools.usable.items():
        tool["properties"][name] = json_schema(settings)
    schema["properties"]["tools"] = {"type": "object", "additionalProperties": tool}
    schema["properties"]["speech_server"] = json_schema(catalogue.speech_server)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "agent.toml", **schema}


_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def json_schema(cls: type, skip: Collection[str] = ()) -> dict[str, Any]:
    """JSON Schema (2020-12) of a settings class, for editors that complete TOML.

    Raises TypeError for a type that no setting can have (see agentd.config.schema).
    """
    properties: dict[str, Any] = {}
    for setting in settings_of(cls):
        if setting.name in skip:
            continue
        entry = _json_type(setting.type)
        if setting.doc:
            entry["description"] = setting.doc
        if not attrs.has(setting.type):
            entry["default"] = json.loads(json.dumps(setting.default, default=str))
        properties[setting.name] = entry
    return {
        "type": "object",
        "description": _first_line(cls),
        "properties": properties,
        "additionalProperties": False,
    }


def _json_type(kind: Any) -> dict[str, Any]:
    if attrs.has(kind):
        return json_schema(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"type": "string", "enum": [member.value for member in kind]}
    if get_origin(kind) is list:
        return {"type": "array", "items": _json_type(get_args(kind)[0])}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": _json_type(get_args(kind)[1])}
    if kind in _JSON_TYPES:
        return {"type": _JSON_TYPES[kind]}
    raise TypeError(f"{kind} is no type that a setting can have")
