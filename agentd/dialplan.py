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
    num_pres: str = ""
    """The presentation of the caller's number, as CALLERID(num-pres) tells it; empty: not told."""
    name_pres: str = ""
    """The same of the caller's name."""
    fallback: str = ""
    """The extension's AGENTD_FALLBACK, with | in place of commas: a channel that takes the caller's place is given
    it (agentd.ari.whereabouts)."""


def parse_arguments(args: tuple[str, ...], transports: Collection[str]) -> StasisArguments:
    """Read the arguments of Stasis(); `transports` are the names that `media` can have. Raises DialplanError naming the
    argument that is wrong. One that is empty is like one that is left out."""
    agent = media = fallback = num_pres = name_pres = ""
    named: set[str] = set()
    for arg in args:
        name, equals, value = (part.strip() for part in arg.partition("="))
        if not name and not equals:  # a comma too many
            continue
        if not equals:
            raise DialplanError(f"Stasis argument {arg!r} should be name=value, as in Stasis(agentd,agent=NAME)")
        if name in named:
            raise DialplanError(f"Stasis argument {name} is given twice; the second is {arg!r}")
        named.add(name)
        if name == "agent":
            agent = value
        elif name == "media":
            if value and value not in transports:
                raise DialplanError(f"Stasis argument media={value!r} should be one of {', '.join(transports)}")
            media = value
        elif name == "fallback":
            fallback = value
        elif name == "num-pres":
            num_pres = value
        elif name == "name-pres":
            name_pres = value
        else:
            raise DialplanError(
                f"Stasis argument {arg!r} is unknown; there are agent=NAME, media=WAY, fallback=PLACE, and num-pres="
                " and name-pres= with the presentations of the caller's number and name"
            )
    return StasisArguments(agent, media, num_pres, name_pres, fallback)
