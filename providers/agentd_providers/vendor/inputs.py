"""The inputs of a vendor's session's machine from agentd's own side: the call, the caller's line, the clock, the
connection. The vendor's own module of events has what the vendor tells. Pure data.

Where one is named like a method of agentd.agent.AgentSession, it is the call's word of that meaning.
"""

import attrs


@attrs.frozen
class CallerAudio:
    """Audio of the caller's line (slin), whose last sample arrived at monotonic second `at`. `sent`: how many seconds
    went to the vendor with it; 0 where none were ready, or the vendor took none."""

    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")
    at: float
    sent: float = 0.0


@attrs.frozen
class CallerWrote:
    """Text that stands for a whole turn of the caller's."""

    text: str


@attrs.frozen
class Say:
    """Words to be spoken. `Decide(number)` tells what became of them."""

    number: int
    text: str


@attrs.frozen
class SayOver:
    """Nobody waits for the words of `Say(number)` any more."""

    number: int


@attrs.frozen
class Answer:
    """The caller's turn is over by the call's word: what was prepared may be heard."""


@attrs.frozen
class Withhold:
    """An answer that has not begun to be heard is kept back."""


@attrs.frozen
class Interrupt:
    """Words that have not been heard are not wanted any more."""


@attrs.frozen
class Started:
    """The caller begins to hear an utterance."""

    utterance: int


@attrs.frozen
class Heard:
    """The caller hears nothing more of an utterance, of which this much was heard."""

    utterance: int
    milliseconds: int
    completed: bool


@attrs.frozen
class Resume:
    """The session stands in another one's place, and answers what that left open."""


@attrs.frozen
class ToolResult:
    """The result of the tool of `ToolRequested(call)`."""

    call: str
    result: str


@attrs.frozen
class Probe:
    """A sign of life is asked for."""


@attrs.frozen
class Tick:
    """Time has passed: look at what has become due."""


@attrs.frozen
class Lost:
    """The connection cannot be used any more."""

    reason: str


@attrs.frozen
class Closed:
    """The call leaves the session: nothing more is of interest."""


Input = (
    CallerAudio
    | CallerWrote
    | Say
    | SayOver
    | Answer
    | Withhold
    | Interrupt
    | Started
    | Heard
    | Resume
    | ToolResult
    | Probe
    | Tick
    | Lost
    | Closed
)
