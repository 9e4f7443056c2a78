"""The tools that an agent has, as its model is told of them and as they are run. Pure."""

from collections.abc import Mapping, Sequence

import attrs

from agentd.agent import ToolDeclaration
from agentd.tools.contract import Tool
from agentd.tools.parameters import Arguments


@attrs.frozen
class OfferedTool:
    """A tool as an agent has it; `deadline` in seconds."""

    tool: Tool
    arguments: Arguments
    deadline: float


def declarations(tools: Mapping[str, OfferedTool]) -> Sequence[ToolDeclaration]:
    """The declarations that a session is opened with."""
    return tuple(offered.tool.declaration for offered in tools.values())
