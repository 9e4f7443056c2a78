"""The contract of tools, whoever provides them. Pure: data and protocols only.

A package exports a `ToolKind` through the entry point group `agentd.tools`. A kind makes a `Tool` of its settings,
which stands for as long as the configuration does; each use of it by an agent's model is one `run`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from agentd.agent import CallInfo, ToolDeclaration
from agentd.errors import AgentdError


class ToolError(AgentdError):
    """A tool could not do what it was asked for. The message is for the model: no secrets, and words that help it on.

    Details for operators only go into the exception that it is raised `from`.
    """


@attrs.frozen
class Departure:
    """The call ends."""


@attrs.frozen
class Transfer:
    """The caller's channel goes on at `extension` in `context` of the dialplan, priority 1."""

    context: str
    extension: str


@attrs.frozen
class ToolOutcome:
    """The outcome of one use of a tool. `text` is for the model, `failed`: it is bad news.

    `then` is what the call does once the caller has heard the agent's words to their end. If the agent has none on
    their way, the model is given `text`, to say them now; else it is not told, since it would speak again.
    """

    text: str
    failed: bool = False
    then: Departure | Transfer | None = None


class ToolContext(Protocol):
    """The call as a tool may know it, and act on it."""

    @property
    def info(self) -> CallInfo:
        """The caller, and the extension that was called. Numbers and names come from the caller and are not to be
        trusted."""
        ...

    async def send_dtmf(self, digits: str) -> None:
        """Send DTMF digits to the caller's end of the line ("w": half a second's pause). Raises ToolError."""
        ...

    async def dialplan_has(self, context: str, extension: str) -> bool:
        """Whether the dialplan has priority 1 of `extension` in `context`, by name or by pattern. Raises ToolError."""
        ...


class Tool(Protocol):
    """One configured tool."""

    @property
    def declaration(self) -> ToolDeclaration:
        """The tool's declaration, as the model is told it."""
        ...

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        """Do it. `arguments` meet the declaration's JSON Schema; they come from a model, and are not to be trusted.

        Cancelled at the tool's deadline and when the call ends. Several may run at a time. Raises ToolError.
        """
        ...


@attrs.frozen
class ToolKind:
    """A kind of tools.

    `settings` is an attrs class as agentd.config.schema describes; a method `impossible(self)` of it may yield
    `(setting, why)` for what cannot work, and a method `doubtful(self)` the same for what is taken with a note.
    `make(name, description, settings)` gives a tool that is declared under `name`; an empty description stands for the
    kind's own. `needs_ari`: not for calls without ARI. `secrets(settings)` names the secrets (agentd.config.secrets)
    that it will look up.
    """

    settings: type
    make: Callable[[str, str, Any], Tool]
    needs_ari: bool = False
    secrets: Callable[[Any], Sequence[str]] = lambda _settings: ()
