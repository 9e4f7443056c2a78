"""Which kinds of tools there are, and the tools that a configuration makes of them.

A third-party package joins through the entry point group `agentd.tools`: the entry point's name is the kind's, its
value a `ToolKind`.
"""

from collections.abc import Iterator, Mapping

import attrs

from agentd.config.secrets import need_secret
from agentd.config.settings import AgentConfig, Config, ToolConfig
from agentd.errors import ConfigError
from agentd.plugins import Registry, blaming
from agentd.tools.contract import ToolKind
from agentd.tools.hang_up import HANG_UP
from agentd.tools.http_request import HTTP_REQUEST
from agentd.tools.offered import OfferedTool
from agentd.tools.parameters import Arguments, schema_problem
from agentd.tools.send_dtmf import SEND_DTMF
from agentd.tools.transfer import TRANSFER

ENTRY_POINT_GROUP = "agentd.tools"
BUILT_IN: Mapping[str, ToolKind] = {
    "hang_up": HANG_UP,
    "transfer": TRANSFER,
    "send_dtmf": SEND_DTMF,
    "http_request": HTTP_REQUEST,
}


KINDS = Registry("kind of tools", ENTRY_POINT_GROUP, ToolKind, BUILT_IN)


def kind_names() -> tuple[str, ...]:
    """Every kind that is installed."""
    return KINDS.names()


def find_kind(name: str) -> ToolKind:
    """The kind of this name. Raises ConfigError if there is none (with the nearest name), or it is broken."""
    return KINDS.find(name)


@attrs.frozen
class Toolbox:
    """The tools of one configuration, each made once."""

    tools: Mapping[str, OfferedTool]
    kinds: Mapping[str, ToolKind]

    @classmethod
    def of(cls, config: Config) -> "Toolbox":
        """Make them. Raises ConfigError where an installed kind makes a tool that cannot be offered."""
        kinds = {name: find_kind(tool.kind or name) for name, tool in config.tools.items()}
        return cls({name: _offer(name, kind, config.tools[name]) for name, kind in kinds.items()}, kinds)

    def of_agent(self, agent: AgentConfig, *, ari: bool = True) -> Mapping[str, OfferedTool]:
        """The tools that this agent's model is offered, in a call with ARI or in one without.

        An agent of an earlier configuration may name tools that there are no more.
        """
        names = [name for name in agent.tools if name in self.tools]
        return {name: self.tools[name] for name in names if ari or not self.kinds[name].needs_ari}


def missing_secrets(config: Config) -> Iterator[tuple[str, str]]:
    """The tools that will fail until a secret is there, each with what is missing."""
    for name, tool in config.tools.items():
        kind = tool.kind or name
        with blaming(f"the kind of tools {kind!r}"):
            secrets = [*find_kind(kind).secrets(tool.settings)]
        for secret in secrets:
            try:
                need_secret(secret, "the secret of a header")
            except ConfigError as error:
                yield name, str(error)


def _offer(name: str, kind: ToolKind, config: ToolConfig) -> OfferedTool:
    with blaming(f"the kind of tools {config.kind or name!r}"):
        tool = kind.make(name, config.description, config.settings)
        declaration = tool.declaration
        problem = schema_problem(declaration.parameters)
    if declaration.name != name:
        problem = f"is declared as {declaration.name!r}"
    if problem:
        raise ConfigError(f"the tool {name!r} of the kind {config.kind or name!r}: {problem}")
    return OfferedTool(tool, Arguments.of(declaration.parameters), config.deadline)
