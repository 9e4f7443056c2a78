"""The dialplan's request to agentd: `Stasis(agentd,agent=NAME,media=WAY,fallback=PLACE)`. Pure."""

from collections.abc import Collection

import attrs

from agentd.errors import AgentdError


class DialplanError(AgentdError):
    """The arguments of Stasis() cannot be used; the message is for the dialplan's author."""


@attrs.frozen
class StasisArguments:
    """The agent and the transport that an extension names; empty: the configuration's default."""

    agent: str = ""
    media: str = ""
    fallback: str = ""
    """The extension's AGENTD_FALLBACK, with | in place of commas: a channel that takes the caller's place is given
    it (agentd.ari.whereabouts)."""


def parse_arguments(args: tuple[str, ...], transports: Collection[str]) -> StasisArguments:
    """Read the arguments of Stasis(); `transports` are the names that `media` can have. Raises DialplanError naming the
    argument that is wrong."""
    agent = media = fallback = ""
    named: set[str] = set()
    for arg in args:
        name, equals, value = (part.strip() for part in arg.partition("="))
        if not equals:
            raise DialplanError(f"Stasis argument {arg!r} should be name=value, as in Stasis(agentd,agent=NAME)")
        if name in named:
            raise DialplanError(f"Stasis argument {name} is given twice; the second is {arg!r}")
        named.add(name)
        if name == "agent":
            agent = value
        elif name == "media":
            if value not in transports:
                raise DialplanError(f"Stasis argument media={value!r} should be {' or '.join(transports)}")
            media = value
        elif name == "fallback":
            fallback = value
        else:
            raise DialplanError(
                f"Stasis argument {arg!r} is unknown; there are agent=NAME, media=WAY and fallback=PLACE"
            )
    return StasisArguments(agent, media, fallback)
