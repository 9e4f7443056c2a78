"""Who is at the caller's end of a line. Pure data, which `agentd hand-back` can do with alone."""

import attrs


@attrs.frozen
class Party:
    """A number and a name; empty where that is not known, or withheld."""

    number: str = ""
    name: str = ""
