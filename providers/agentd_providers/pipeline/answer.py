"""One answer on its way: begun on the likely end of the caller's turn, kept back until it may be heard.

An answer is a *draft* for as long as the caller may go on: nothing of it reaches the playout or the history. It is
*committed* when the turn is over, and goes through its *gate* when the call says so.
"""

from collections.abc import Callable, Mapping

import attrs
import trio

from agentd.errors import ProviderError
from agentd_providers.pipeline.stages import Transcript
from agentd_providers.turns.ghosts import Judgement, Speech, judge
from agentd_providers.turns.tags import without_tags

STAGES = ("pause", "transcript", "first_token", "first_audio", "held")
"""The stages of an answer, one after the other; each ends at the mark of its name."""


@attrs.define(eq=False)
class Gate:
    """Lets an answer through, or keeps it back, as often as the call changes its mind."""

    reached: Callable[[], None] = lambda: None
    """Told when an answer comes to it for the first time."""
    _open: trio.Event = attrs.field(factory=trio.Event)
    _was_reached: bool = False

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        if self._open.is_set():
            self._open = trio.Event()

    async def passed(self) -> None:
        """Wait until it is open."""
        if not self._was_reached:
            self._was_reached = True
            self.reached()
        while not self._open.is_set():
            await self._open.wait()
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Answer:
    """One answer and the words it answers. `last_speech_at` is a second of the monotonic clock."""

    pause: int
    """Number of the caller's pause that it was begun at; 0 where the turn came as text."""
    last_speech_at: float
    text: str | None = None
    """The caller's words, once they are known."""
    transcript: Transcript | None = None
    """Where they come from; None where the turn came as text, and once all is known."""
    speech: Speech | None = None
    """What was measured of the turn's speech up to the pause; None where it came as text."""
    judgement: Judgement = attrs.field(factory=Judgement)
    """What the words are worth by that."""
    dropped: tuple[str, ...] = ()
    """Why words of the engine's, or their effect, were left out."""
    closing: str = ""
    """The model's last message where it is not the caller's words that are to be answered; never in the history."""
    committed: bool = False
    utterance: int = 0
    """The utterance that it is being heard with; 0 before, and while it waits for a tool."""
    spoken: bool = False
    """Some of it has reached the playout."""
    failure: ProviderError | None = None
    given_up: bool = False
    """It will not be heard: all that is wanted of it are the caller's words."""
    gate: Gate = attrs.field(factory=Gate)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _marks: dict[str, float] = attrs.field(factory=dict)

    def take_words(self, heard: str, sure_ms: float, says_goodbye: Callable[[str], bool]) -> str:
        """What an engine has heard: of that `text` is what counts. Gives the words, whether or not they do."""
        heard = heard.strip()
        said = without_tags(heard)
        self.judgement = judge(said, self.speech, sure_ms)
        self.text = "" if self.judgement.doubt else said
        causes = ["tag" if said != heard else "", self.judgement.doubt]
        if self.text and not self.judgement.may_hang_up and says_goodbye(self.text):
            causes.append("end_phrase")
        self.dropped = tuple(filter(None, causes))
        return said

    def give_up(self) -> None:
        """Answer it no more. The caller's words stay said, also where they are still to come."""
        self.given_up = True
        if self.text is not None:
            self.scope.cancel()

    def close_transcript(self) -> None:
        """Free what the engine keeps of the caller's turn."""
        if self.transcript is not None:
            self.transcript.close()
            self.transcript = None

    def mark(self, stage: str) -> None:
        """Note that a stage has ended, the first time that it does."""
        self._marks.setdefault(stage, trio.current_time())

    def stages(self) -> Mapping[str, float]:
        """Seconds that each stage took. Those of `STAGES` lie end to end; "endpoint" lies beside them."""
        seconds, before = {}, self.last_speech_at
        for stage in STAGES:
            if (at := self._marks.get(stage)) is not None:
                seconds[stage] = max(at - before, 0.0)
                before = max(at, before)
        if (ended := self._marks.get("endpoint")) is not None:
            seconds["endpoint"] = ended - self.last_speech_at
        return seconds
