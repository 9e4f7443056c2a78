"""What a provider needs to be let in, as data: for `agentd doctor`, which looks it up and tries it out. Pure."""

from enum import StrEnum

import attrs


class Scheme(StrEnum):
    """What stands before a key in the Authorization header."""

    BEARER = "Bearer"
    TOKEN = "Token"


@attrs.frozen
class Credential:
    """A secret by the name of its environment variable (see agentd.secrets).

    `what` says what it is, for people. GET `check_url` with the key in the Authorization header is a cheap request that
    only a good key is let through; empty: there is none.
    """

    secret: str
    what: str
    check_url: str = ""
    scheme: Scheme = Scheme.BEARER
