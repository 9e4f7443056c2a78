"""The commented sample and the JSON Schema of agent.toml."""

from collections.abc import Iterable, Iterator
from typing import Any

from agentd.config.catalogue import Catalogue, Choices
from agentd.config.rendering import json_schema, sample
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
