"""The tool `transfer`: a blind transfer to one of the destinations that the configuration lists, and to no other."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import attrs
import structlog

from agentd.agent import ToolDeclaration
from agentd.config.schema import text
from agentd.tools.contract import ToolContext, ToolKind, ToolOutcome, Transfer

log = structlog.get_logger("agentd.tools")

DESCRIPTION = (
    "Transfer the caller to somebody else. Tell the caller first: the transfer follows as soon as the caller has heard "
    "your words, and ends your part in the call."
)
# The characters of names in Asterisk's dialplan, without those that mean something to a dialplan function. An extension
# that begins with _ would be a pattern.
_DESTINATION = re.compile(r"([0-9A-Za-z*#+.-][0-9A-Za-z*#+._-]{0,78})@([0-9A-Za-z_][0-9A-Za-z_.-]{0,78})")


def parse_destination(value: str) -> Transfer | None:
    """A destination written as extension@context; None if it is none."""
    found = _DESTINATION.fullmatch(value)
    return Transfer(context=found[2], extension=found[1]) if found else None


def _destinations(value: Mapping[str, str]) -> str | None:
    for name, where in value.items():
        if not 0 < len(name) <= 64 or not name.isprintable():
            return "the name of a destination has 1 to 64 printable characters"
        if parse_destination(where) is None:
            return f'{name}: a destination is "extension@context", such as "200@from-internal"'
    return None


@attrs.frozen
class TransferSettings:
    """Transfers the caller into the dialplan. Only these destinations can be reached, whatever the model asks for."""

    destinations: Annotated[
        dict[str, str],
        text('Where to: what the model calls it = "extension@context" of the dialplan. At least one.', _destinations),
    ] = attrs.field(factory=dict)
    descriptions: Annotated[dict[str, str], text("What the model is told of a destination, by the same names.")] = (
        attrs.field(factory=dict)
    )

    def impossible(self) -> Iterator[tuple[str, str]]:
        """See agentd.tools.contract.ToolKind."""
        if not self.destinations:
            yield "destinations", 'must name at least one: destinations = { sales = "200@from-internal" }'
        for name in self.descriptions:
            if name not in self.destinations:
                yield "descriptions", f"there is no destination {name!r}"


@attrs.frozen
class TransferTool:
    """Meets agentd.tools.contract.Tool."""

    declaration: ToolDeclaration
    destinations: Mapping[str, Transfer]

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        """Have the call go on at the destination, if the dialplan has it now. Raises ToolError."""
        name = arguments["destination"]
        there = self.destinations[name]
        if not await call.dialplan_has(there.context, there.extension):
            where = f"{there.extension}@{there.context}"
            log.warning("a transfer's destination is not in the dialplan", destination=where)
            return ToolOutcome(f"{name} cannot be reached: the telephone system does not know it now.", failed=True)
        return ToolOutcome(f"Tell the caller now that you transfer the call to {name}; it follows.", then=there)


def _make(name: str, description: str, settings: TransferSettings) -> TransferTool:
    destinations = {
        where: found for where, value in settings.destinations.items() if (found := parse_destination(value))
    }
    told = [f"{where}: {settings.descriptions[where]}" for where in destinations if where in settings.descriptions]
    parameters = {
        "type": "object",
        "properties": {
            "destination": {"type": "string", "enum": list(destinations), "description": "; ".join(["Where to", *told])}
        },
        "required": ["destination"],
        "additionalProperties": False,
    }
    return TransferTool(ToolDeclaration(name, description or DESCRIPTION, parameters), destinations)


TRANSFER = ToolKind(TransferSettings, _make, needs_ari=True)
