"""The tool `hang_up`: the agent ends the call, once its farewell has been heard."""

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.agent import ToolDeclaration
from agentd.tools.contract import Departure, ToolContext, ToolKind, ToolOutcome

DESCRIPTION = (
    "End the telephone call. Use it when the caller says goodbye or wants nothing more. Say goodbye first: the call "
    "ends as soon as the caller has heard your words."
)


@attrs.frozen
class HangUpSettings:
    """Ends the call after the farewell."""


@attrs.frozen
class HangUp:
    """Meets agentd.tools.contract.Tool."""

    declaration: ToolDeclaration

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        """Have the call end."""
        return ToolOutcome("Say goodbye now; the call ends after it.", then=Departure())


def _make(name: str, description: str, _settings: object) -> HangUp:
    parameters = {
        "type": "object",
        "properties": {"reason": {"type": "string", "description": "Why the call ends, in a few words."}},
    }
    return HangUp(ToolDeclaration(name, description or DESCRIPTION, parameters))


HANG_UP = ToolKind(HangUpSettings, _make)
