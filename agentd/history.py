"""The canonical history of one call: what the caller said, and what the caller heard. Pure."""

from enum import StrEnum

import attrs

MOST_TEXT = 16_384
"""Characters of a turn of the caller's: what goes beyond them is left out."""


MOST_SEALED = 1 << 20
"""Characters that servers have a call's history keep for them: the oldest are dropped."""


class Speaker(StrEnum):
    """Whose a turn of the conversation is."""

    CALLER = "caller"
    AGENT = "agent"
    TOOL = "tool"


@attrs.frozen
class Sealed:
    """What a model's server sent with its request for a tool, and wants back as it came: signed thoughts, names of its
    own. Opaque to everybody else.

    Only the `server` that made it is given it back: others refuse fields that they do not know (Mistral: 422,
    "extra_forbidden"; Groq: "property 'reasoning_content' is unsupported"), names that are long (OpenAI, Anthropic:
    BerriAI/litellm#18160), and a signature of another model's (Gemini).
    """

    server: str
    reply: str
    """Names the reply that asked for it: the tools of one reply are asked for together again."""
    call: str = attrs.field(default="", repr=False)
    """JSON text of an object."""
    message: str = attrs.field(default="", repr=False)
    """The same, of the message that all tools of the reply were asked for in."""

    @property
    def size(self) -> int:
        return len(self.call) + len(self.message)


@attrs.frozen
class ToolUse:
    """A tool that the agent used; `arguments` and `result` as the model wrote and read them."""

    name: str
    arguments: str
    result: str
    sealed: Sealed | None = None


@attrs.define
class Turn:
    """One turn as it went over the line: what the caller said, or what the caller heard; or what a tool gave.

    An agent's turn that is being heard has no text yet. `generated` keeps the agent's whole text, of which the
    caller may have heard only a part. A tool's turn has no text, and its `tool`.
    """

    speaker: Speaker
    text: str
    generated: str = ""
    utterance: int = 0
    """Utterances are numbered from 1 within a call; 0 in the caller's turns."""
    tool: ToolUse | None = None


@attrs.frozen(eq=False)
class Place:
    """A place in the conversation: behind `turn`, or at the beginning where there is none."""

    turn: Turn | None


@attrs.define
class History:
    """The canonical history of one call: agentd's own, whatever a vendor keeps.

    Consecutive turns of the caller are one turn: a caller who pauses and goes on has said one thing.
    """

    turns: list[Turn] = attrs.field(factory=list)

    @property
    def place(self) -> Place:
        """The place of what is said now, for words that are known only later: when its answer may be heard already."""
        return Place(self.turns[-1] if self.turns else None)

    def caller_said(self, text: str, place: Place | None = None) -> None:
        """Record what the caller said: last, or at a `place` that was taken when it was said. A place that is gone (its
        turn was not heard after all) counts as the end. Of a turn that is too long the end is cut."""
        at = len(self.turns) if place is None else self._index(place)
        for neighbour in (*self.turns[max(at - 1, 0) : at], *self.turns[at : at + 1]):
            if neighbour.speaker is Speaker.CALLER:
                neighbour.text = f"{neighbour.text} {text}"[:MOST_TEXT]
                return
        self.turns.insert(at, Turn(Speaker.CALLER, text[:MOST_TEXT]))

    def _index(self, place: Place) -> int:
        if place.turn is None:
            return 0
        return next((index for index, turn in enumerate(self.turns, 1) if turn is place.turn), len(self.turns))

    @property
    def owed(self) -> bool:
        """Whether the caller has said something that was not answered."""
        spoken = [turn.speaker for turn in self.turns if turn.speaker is not Speaker.TOOL]
        return bool(spoken) and spoken[-1] is Speaker.CALLER

    @property
    def caller_characters(self) -> int:
        """How much of what the caller said is known."""
        return sum(len(turn.text) for turn in self.turns if turn.speaker is Speaker.CALLER)

    @property
    def agent_spoke_last(self) -> bool:
        """Whether it is the agent whose words are the last: where its session failed, they may have been cut short."""
        spoken = [turn.speaker for turn in self.turns if turn.speaker is not Speaker.TOOL]
        return bool(spoken) and spoken[-1] is Speaker.AGENT

    @property
    def agent_said(self) -> str:
        """The agent's last words, as far as the caller has heard them; nothing if there were none."""
        return next((turn.text for turn in reversed(self.turns) if turn.speaker is Speaker.AGENT), "")

    def tool_used(self, use: ToolUse) -> None:
        """Record what a tool gave."""
        self.turns.append(Turn(Speaker.TOOL, "", tool=use))
        kept = 0
        for turn in reversed(self.turns):
            if turn.tool is not None and turn.tool.sealed is not None:
                kept += turn.tool.sealed.size
                if kept > MOST_SEALED:
                    turn.tool = attrs.evolve(turn.tool, sealed=None)

    def agent_speaks(self, utterance: int) -> None:
        """Record that the caller begins to hear an utterance."""
        self.turns.append(Turn(Speaker.AGENT, "", "", utterance))

    def agent_heard(self, utterance: int, text: str, generated: str) -> None:
        """Record what the caller heard of an utterance; one of which nothing was heard leaves no trace."""
        turn = next((turn for turn in reversed(self.turns) if turn.utterance == utterance), None)
        if turn is None and text:
            self.turns.append(Turn(Speaker.AGENT, text, generated, utterance))
        elif turn is not None and text:
            turn.text, turn.generated = text, generated
        elif turn is not None:
            self._forget(turn)

    def _forget(self, turn: Turn) -> None:
        """Take a turn out; the caller's turns on either side of it become one."""
        at = next(index for index, known in enumerate(self.turns) if known is turn)
        del self.turns[at]
        around = self.turns[max(at - 1, 0) : at + 1]
        if [neighbour.speaker for neighbour in around] == [Speaker.CALLER, Speaker.CALLER]:
            around[0].text = f"{around[0].text} {around[1].text}"[:MOST_TEXT]
            del self.turns[at]
