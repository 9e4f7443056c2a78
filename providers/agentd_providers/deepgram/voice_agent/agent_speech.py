"""What the Deepgram Voice Agent says, as utterances: which words and which audio belong together, and which are of the
past.

Binary messages name no answer, there is no message to stop the agent, and an answer that was interrupted may never get
its AgentAudioDone. So once the agent is interrupted, everything of it is dropped until the caller's next turn is
confirmed by its text, which comes before its answer; the one exception are words that were asked for.
(https://developers.deepgram.com/docs/voice-agent-user-started-speaking, /docs/voice-agent-agent-audio-done)
"""

from collections.abc import Callable

import attrs
import structlog
import trio

from agentd.agent import SayOutcome
from agentd_providers.vendor.voice import VendorVoice

log = structlog.get_logger("agentd_providers.deepgram")


@attrs.define(eq=False)
class Request:
    """Words that Deepgram was asked to speak, in single spaces. `left` are those that it has not repeated yet."""

    text: str
    left: str = attrs.field(init=False)
    begun: bool = attrs.field(default=False, init=False)
    outcome: SayOutcome | None = attrs.field(default=None, init=False)
    decided: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.left = self.text

    def decide(self, outcome: SayOutcome) -> None:
        """The first decision stands."""
        if self.outcome is None:
            self.outcome = outcome
            self.decided.set()

    def begin(self) -> None:
        """It is being spoken."""
        self.begun = True
        self.decide(SayOutcome.SPOKEN)

    def takes(self, text: str) -> bool:
        """Whether these are the next of the words: Deepgram tells them whole, or sentence by sentence."""
        if not self.left.startswith(text):
            return False
        self.left = self.left[len(text) :].lstrip()
        return True


@attrs.define(eq=False)
class AgentSpeech:
    """One session's. `answers()` is told when an answer begins, `stray()` of audio that belongs to nothing."""

    voice: VendorVoice
    answers: Callable[[], None]
    stray: Callable[[], None]
    deaf: bool = attrs.field(default=False, init=False)
    """What the agent says is of the past."""
    _expected: bool = attrs.field(default=False, init=False)
    """An answer is due: its audio may begin before its words are told."""
    _sounds: bool = attrs.field(default=False, init=False)
    """The open utterance has had audio."""
    _aside: bool = attrs.field(default=False, init=False)
    _request: Request | None = attrs.field(default=None, init=False)
    _late: Request | None = attrs.field(default=None, init=False)
    """What was given up waiting for, and may still be spoken: nobody wants to hear it then."""
    _skips: bool = attrs.field(default=False, init=False)
    """That is being spoken."""

    def expect(self, *, held: bool) -> None:
        """An answer comes next. `held`: what was begun is cut, and the answer kept until `VendorVoice.release`."""
        self.deaf, self._expected = False, True
        if held:
            self.voice.hold()

    def starts(self) -> None:
        """The agent says that it starts to speak: an answer, or what it was asked to."""
        asked = self._late is not None or (self._request is not None and not self._request.begun)
        if not self.voice.utterance and not asked:
            self._expected = True

    def hush(self) -> None:
        """Nothing of what the agent says now is wanted."""
        self.voice.cut()
        self.deaf, self._expected = True, False
        self._late, self._skips = None, False

    def listen(self) -> None:
        """The agent's words count again: what interrupted it was nothing."""
        self.deaf = False

    def ask(self, text: str) -> Request:
        """Deepgram is asked to speak: what it says in these words is an aside."""
        self._request = Request(" ".join(text.split()))
        if self._late is not None and self._late.text == self._request.text:
            self._late = None  # whichever of the two comes will do
        return self._request

    def refused(self) -> None:
        """Deepgram does not speak what it was asked to."""
        if self._request is not None and not self._request.begun:
            self.forget_request()

    def give_up(self, request: Request) -> None:
        """It was waited for long enough, and is not wanted any more, even if it comes yet."""
        if request is self._request:
            self.forget_request()
            self._late = request

    def forget_request(self) -> None:
        """What was asked for is not wanted any more."""
        if self._request is not None:
            self._request.decide(SayOutcome.REFUSED)
            self._request = None

    def words(self, text: str) -> None:
        """The agent tells what it says."""
        text, request, begun = " ".join(text.split()), self._request, self.voice.utterance and self._aside
        if not text or (begun and request is not None and not request.left and text in request.text):
            return  # the words of an aside that began with its audio
        self._skips = self._late is not None and self._late.takes(text)
        if self._skips:
            return
        if request is not None and request.takes(text):
            self.deaf = False
            if begun and request.begun:
                self.voice.words(text)
            else:
                self._begin(aside=True, text=text)
            request.begin()
        elif self.deaf:
            log.debug("words of an answer that was interrupted are dropped")
        elif self.voice.utterance and not self._aside:
            self.voice.words(text)
        else:
            self._begin(aside=False, text=text)

    def audio(self, pcm: bytes) -> None:
        """The agent's audio: slin, in pieces of any length."""
        if self.deaf or self._skips:
            return
        if not self.voice.utterance and not self._begin_with_audio():
            self.stray()
            return
        self._sounds = True
        self.voice.audio(pcm)

    def done(self) -> None:
        """All audio of an utterance has come. (Before any of the open one's, it is that of one that was cut.)"""
        if self._skips:
            self._late, self._skips = None, False
        if self._sounds and not self.deaf:
            self.voice.end()
            self._sounds = False

    def _begin_with_audio(self) -> bool:
        request = self._request
        if self._expected:
            self._begin(aside=False, text="")
        elif request is not None and not request.begun:
            self._begin(aside=True, text=request.text)
            request.left = ""
            request.begin()
        else:
            return False
        return True

    def _begin(self, *, aside: bool, text: str) -> None:
        self._aside, self._sounds = aside, False
        if not aside:
            self._expected = False
            self.answers()
        self.voice.begin(aside=aside, text=text)
