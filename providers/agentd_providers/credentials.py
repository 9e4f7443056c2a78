"""The credentials of a provider, as data: `agentd doctor` looks them up and tries them out. Pure."""

from collections.abc import Sequence
from enum import StrEnum

import attrs

from agentd_providers.model_list import ModelList
from agentd_providers.model_names import served_by


class Scheme(StrEnum):
    """The word before a key in its header; PLAIN: none."""

    BEARER = "Bearer"
    TOKEN = "Token"
    PLAIN = ""


@attrs.frozen
class Credential:
    """A secret by the name of its environment variable (see agentd.config.secrets). An empty name: nothing secret is
    needed, and it is only a question whether the server is there.

    `what` says what it is, for people. GET `check_url` with the key in `header` is a cheap request that only a good key
    is let through; tcp://host:port is only connected to; empty: there is none. It holds no secret. `lists` are
    asked for with the same key: do they still have the models in use? One at `check_url` costs no request more.
    """

    secret: str
    what: str
    check_url: str = ""
    scheme: Scheme = Scheme.BEARER
    header: str = "Authorization"
    lists: tuple[ModelList, ...] = ()


def lack_of_key(api_key_name: str, base_url: str, domain: str) -> Sequence[tuple[str, str]]:
    """For the `impossible` of a settings class: the vendor at `domain` lets nobody in without a key, where a server of
    one's own may. As (setting, why)."""
    if api_key_name or not served_by(domain, base_url):
        return ()
    return (("api_key_name", f"must name a key: {base_url} lets nobody in without one"),)
