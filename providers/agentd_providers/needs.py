"""The needs of an agent, or of a stage, on its host, as data: `agentd doctor` looks whether each is there. Pure.

(Keys, and whether they are good: agentd_providers.credentials.)
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs


@attrs.frozen
class Modules:
    """Python modules that its engines are. The doctor imports them, in a process of its own: an engine may crash.

    `install` is the shell command that brings them. `spared` are modules that these import and never use: where one is
    missing, or cannot be loaded, an empty one stands in.
    """

    names: tuple[str, ...]
    install: str
    spared: tuple[str, ...] = ()


@attrs.frozen
class Fetch:
    """The shell command that brings a model file here, into the directory that the environment has as `variable`.

    `service_directory` is where the service looks for it. The doctor gives the command the service's user and directory
    where root asks.
    """

    command: str
    variable: str
    service_directory: str


@attrs.frozen
class ModelFile:
    """A file or directory that an engine reads, and that the service's user must be able to.

    `find(environ)` gives its path, for a daemon with this environment. It may read the disk, in a thread, and asks no
    network. It raises ProviderError where the file is not there or not whole, OSError where it cannot be read. `fetch`
    brings it here; where nothing does, `hint` says what to do instead.
    """

    name: str
    find: Callable[[Mapping[str, str]], Path]
    fetch: Fetch | None = None
    hint: str = ""


@attrs.frozen
class ModelServer:
    """A server that speaks OpenAI's API and should list `model` (https://platform.openai.com/docs/api-reference/models).

    `api_key_name` names the secret that opens it, empty: none. `table` is that of its settings, below the agent's, for
    advice; a stage leaves it empty.
    """

    base_url: str
    model: str
    api_key_name: str
    table: str = ""


Need = Modules | ModelFile | ModelServer
