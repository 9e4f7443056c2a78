"""What the dialplan asks of agentd: `Stasis(agentd,agent=NAME,media=WAY)`. Pure."""

from enum import StrEnum

import attrs

from agentd.errors import AgentdError


class DialplanError(AgentdError):
    """The arguments of Stasis() cannot be used; the message is for the dialplan's author."""


class MediaWay(StrEnum):
    """How the AudioSocket channel of a media leg is made."""

    EXTERNAL = "external"
    FORK = "fork"


@attrs.frozen
class StasisArguments:
    """The agent and the media way that an extension names; empty or None: the configuration's default."""

    agent: str = ""
    media: MediaWay | None = None


def parse_arguments(args: tuple[str, ...]) -> StasisArguments:
    """Read the arguments of Stasis(). Raises DialplanError naming the argument that is wrong."""
    agent, media = "", None
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
            try:
                media = MediaWay(value)
            except ValueError:
                ways = " or ".join(MediaWay)
                raise DialplanError(f"Stasis argument media={value!r} should be {ways}") from None
        else:
            raise DialplanError(f"Stasis argument {arg!r} is unknown; there are agent=NAME and media=WAY")
    return StasisArguments(agent, media)
