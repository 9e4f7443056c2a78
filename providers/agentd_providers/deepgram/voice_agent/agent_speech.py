"""The Deepgram Voice Agent's words as utterances: which words and which audio belong together, and which are of the
past. Pure.

Binary messages name no answer, there is no message to stop the agent, and an answer that was interrupted may never get
its AgentAudioDone. So once the agent is interrupted, everything of it is dropped until the caller's next turn is
confirmed by its text, which comes before its answer; the one exception are words that were asked for.
(https://developers.deepgram.com/docs/voice-agent-user-started-speaking, /docs/voice-agent-agent-audio-done)

Theory first. Five regions:

* *attention*: listening (what the agent says next belongs to what is open, or is named by its words first); expecting
  (an answer is due, whose audio may come before its words); deaf (what the agent says is of the past); deaf, but told
  that an answer has begun, which counts as soon as it listens again;
* the *utterance*: none, or one that is open: an answer or an aside, of which audio has come or not;
* the *gate* behind which an answer waits for the call's word: open, held, or holding (something has begun behind it);
* the *request*, words that the agent was asked to speak: none, waiting, or spoken;
* the *late* request, which was given up waiting for: none, waiting, or spoken (what comes now is it, and is dropped).
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

import attrs

from agentd.agent import SayOutcome
from agentd_providers.vendor import commands as do


class Attention(StrEnum):
    LISTENING = "listening"
    EXPECTING = "expecting an answer"
    DEAF = "deaf"
    DEAF_EXPECTING = "deaf, and an answer has begun"


class Happening(StrEnum):
    HUSHED = "nothing of what the agent says now is wanted"
    ANSWER_DUE = "the agent is to answer next"
    AGENT_STARTS = "the agent tells that it starts to speak, of itself"
    LISTENS = "what interrupted the agent was nothing, or what it was asked to say comes"
    ANSWER_BEGUN = "an answer is open"


ATTENTION: Mapping[tuple[Attention, Happening], Attention] = {
    **{(state, Happening.HUSHED): Attention.DEAF for state in Attention},
    **{(state, Happening.ANSWER_DUE): Attention.EXPECTING for state in Attention},
    (Attention.LISTENING, Happening.AGENT_STARTS): Attention.EXPECTING,
    (Attention.DEAF, Happening.AGENT_STARTS): Attention.DEAF_EXPECTING,
    (Attention.DEAF, Happening.LISTENS): Attention.LISTENING,
    (Attention.DEAF_EXPECTING, Happening.LISTENS): Attention.EXPECTING,
    (Attention.EXPECTING, Happening.ANSWER_BEGUN): Attention.LISTENING,
}


class Gate(StrEnum):
    OPEN = "open"
    HELD = "held"
    HOLDING = "holding"


class Progress(StrEnum):
    WAITING = "waiting"
    SPOKEN = "spoken"


@attrs.define(eq=False)
class Request:
    """Words that Deepgram was asked to speak, in single spaces. `number`: see inputs.Say. `left` are those that it has
    not repeated yet."""

    number: int
    text: str
    left: str = attrs.field(init=False)
    progress: Progress = attrs.field(default=Progress.WAITING, init=False)

    def __attrs_post_init__(self) -> None:
        self.left = self.text

    @property
    def waits(self) -> bool:
        return self.progress is Progress.WAITING

    def takes(self, text: str) -> bool:
        """Whether these are the next of the words: Deepgram tells them whole, or sentence by sentence."""
        if not self.left.startswith(text):
            return False
        self.left = self.left[len(text) :].lstrip()
        return True


@attrs.define(eq=False)
class _Utterance:
    """The one that is open."""

    aside: bool
    sounds: bool = False
    """Audio of it has come."""


@attrs.define(eq=False)
class AgentSpeech:
    """One session's. `command` takes what is to be done."""

    command: Callable[[do.Command], None]
    attention: Attention = attrs.field(default=Attention.LISTENING, init=False)
    gate: Gate = attrs.field(default=Gate.OPEN, init=False)
    _open: _Utterance | None = attrs.field(default=None, init=False)
    _request: Request | None = attrs.field(default=None, init=False)
    _late: Request | None = attrs.field(default=None, init=False)

    @property
    def deaf(self) -> bool:
        """Whether what the agent says is of the past."""
        return self.attention in (Attention.DEAF, Attention.DEAF_EXPECTING)

    # --- what is wanted of it

    def expect(self, *, held: bool) -> None:
        """An answer comes next. `held`: what was begun is cut, and the answer kept until `release`."""
        self._happens(Happening.ANSWER_DUE)
        if held:
            self.gate, self._open = Gate.HELD, None
            self.command(do.Hold())

    def release(self) -> None:
        """Held words may be heard."""
        self.gate = Gate.OPEN
        self.command(do.Release())

    def hush(self) -> None:
        """Nothing of what the agent says now is wanted."""
        self.gate, self._open, self._late = Gate.OPEN, None, None
        self.command(do.Cut())
        self._happens(Happening.HUSHED)

    def listen(self) -> None:
        """The agent's words count again: what interrupted it was nothing."""
        self._happens(Happening.LISTENS)

    # --- words that it is asked to speak

    def ask(self, number: int, text: str) -> None:
        """Deepgram is asked to speak: what it says in these words is an aside."""
        self._request = Request(number, " ".join(text.split()))
        if self._late is not None and self._late.text == self._request.text:
            self._late = None  # whichever of the two comes will do

    def refused(self) -> None:
        """Deepgram does not speak what it was asked to."""
        if self._request is not None and self._request.waits:
            self.forget_request()

    def give_up(self, number: int) -> None:
        """It was waited for long enough, and is not wanted any more, even if it comes yet."""
        request = self._request
        if request is not None and request.number == number and request.waits:
            self.forget_request()
            self._late = request

    def forget_request(self) -> None:
        """The answers that were asked for are not wanted any more."""
        if self._request is not None and self._request.waits:
            self.command(do.Decide(self._request.number, SayOutcome.REFUSED))
        self._request = None

    # --- what it says

    def starts(self) -> None:
        """The agent says that it starts to speak: an answer, or what it was asked to."""
        asked = self._late is not None or (self._request is not None and self._request.waits)
        if self._open is None and not asked:
            self._happens(Happening.AGENT_STARTS)

    def words(self, text: str) -> bool:
        """The agent tells what it says. Gives whether an answer begins."""
        text, request = " ".join(text.split()), self._request
        in_aside = self._open is not None and self._open.aside
        if not text or (in_aside and request is not None and not request.left and text in request.text):
            return False  # the words of an aside that began with its audio
        if self._late is not None:
            self._late.progress = Progress.SPOKEN if self._late.takes(text) else Progress.WAITING
            if not self._late.waits:
                return False
        if request is not None and request.takes(text):
            self._happens(Happening.LISTENS)
            if in_aside and not request.waits:
                self.command(do.Words(text))
            else:
                self._begin(aside=True, text=text)
            self._speaks(request)
        elif self.deaf:
            self.command(do.Note("words of an answer that was interrupted are dropped", {}))
        elif self._open is not None and not self._open.aside:
            self.command(do.Words(text))
        else:
            self._begin(aside=False, text=text)
            return True
        return False

    def audio(self, pcm: bytes) -> bool:
        """The agent's audio: slin, in pieces of any length. Gives whether an answer begins."""
        if self.deaf or self._skips:
            return False
        begins, request = False, self._request
        if self._open is not None:
            utterance = self._open
        elif self.attention is Attention.EXPECTING:
            utterance, begins = self._begin(aside=False), True
        elif request is not None and request.waits:
            utterance, request.left = self._begin(aside=True, text=request.text), ""
            self._speaks(request)
        else:
            self.command(do.Count())  # it belongs to nothing
            return False
        utterance.sounds = True
        self.command(do.Speak(pcm))
        return begins

    def done(self) -> None:
        """All audio of an utterance has come. (Before any of the open one's, it is that of one that was cut.)"""
        if self._skips:
            self._late = None
        if self._open is not None and self._open.sounds and not self.deaf:
            self._open = None
            self.command(do.Finish())

    @property
    def _skips(self) -> bool:
        return self._late is not None and not self._late.waits

    def _speaks(self, request: Request) -> None:
        if request.waits:
            request.progress = Progress.SPOKEN
            self.command(do.Decide(request.number, SayOutcome.SPOKEN))

    def _begin(self, *, aside: bool, text: str = "") -> _Utterance:
        self._open = _Utterance(aside)
        if self.gate is Gate.HELD:
            self.gate = Gate.HOLDING
        if not aside:
            self._happens(Happening.ANSWER_BEGUN)
        self.command(do.Begin(aside=aside, text=text))
        return self._open

    def _happens(self, what: Happening) -> None:
        self.attention = ATTENTION.get((self.attention, what), self.attention)
