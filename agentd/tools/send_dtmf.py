"""The tool `send_dtmf`: the agent presses keys, for a machine at the caller's end of the line."""

import re
from collections.abc import Mapping
from typing import Any

import attrs

from agentd.agent import ToolDeclaration
from agentd.tools.contract import ToolContext, ToolError, ToolKind, ToolOutcome

DESCRIPTION = (
    "Send touch tones (DTMF) to the other end of the line, as if keys were pressed. w is a pause of half a second."
)
DIGITS = "[0-9A-D*#w]{1,32}"


@attrs.frozen
class SendDtmfSettings:
    """Sends touch tones to the caller's end of the line."""


@attrs.frozen
class SendDtmf:
    """Meets agentd.tools.contract.Tool."""

    declaration: ToolDeclaration

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        """Have the digits sent; returns when they are on their way."""
        digits = arguments["digits"]
        if not re.fullmatch(DIGITS, digits):  # the schema's $ lets a line break pass
            raise ToolError("digits must be 1 to 32 of 0-9, A-D, *, # and w.")
        await call.send_dtmf(digits)
        return ToolOutcome("The tones are being sent.")


def _make(name: str, description: str, _settings: object) -> SendDtmf:
    parameters = {
        "type": "object",
        "properties": {"digits": {"type": "string", "pattern": f"^{DIGITS}$", "description": "The keys, such as 12#."}},
        "required": ["digits"],
        "additionalProperties": False,
    }
    return SendDtmf(ToolDeclaration(name, description or DESCRIPTION, parameters))


SEND_DTMF = ToolKind(SendDtmfSettings, _make, needs_ari=True)
