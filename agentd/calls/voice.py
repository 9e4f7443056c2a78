"""The agent's voice in one call: plays its utterances one after the other, and says what was heard of each."""

from collections.abc import Callable
from functools import partial

import attrs
import structlog
import trio

from agentd import session_events as tells
from agentd.agent import AgentSession
from agentd.calls.figures import CallFigures
from agentd.conversation import events as happens
from agentd.errors import PlaybackError
from agentd.history import History
from agentd.playback.contract import Heard, PlaybackListener
from agentd.playback.downstream import Downstream
from agentd.playback.heard import Words
from agentd.playout import PlayoutBuffer

log = structlog.get_logger("agentd.call")

FINISH_POLL = 0.01
OPEN_PATIENCE = 3.0
"""Seconds of silence after which the rest of an utterance that the session has begun is not waited for."""
MOST_WORDS = 32_768
"""Characters of an utterance's words that are kept, where they come beside its audio."""
REMEMBERED = 8
"""Utterances whose words may still come after them."""


@attrs.define(eq=False)
class AgentVoice:
    """Between playout and playback. `tell(event)` gets what the conversation wants to know; it must not block.

    Segments that contain a text of `uninterruptible`, or are a part of one, are told to be protected while they are
    heard.
    """

    playout: PlayoutBuffer
    playback: Downstream
    history: History
    figures: CallFigures
    uninterruptible: tuple[str, ...]
    log_transcripts: bool
    tell: Callable[[object], None]
    session: AgentSession | None = None
    """The session that is told what was heard; None while there is none."""
    _playing: bool = attrs.field(default=False, init=False)
    _protected: bool = attrs.field(default=False, init=False)
    _utterance: int = attrs.field(default=0, init=False)
    """The utterance that is being played, or was last."""
    _begun: dict[int, tuple[AgentSession | None, int]] = attrs.field(factory=dict, init=False)
    """Utterances whose audio is not all there yet: whose they are, and their generation."""
    _off_record: set[int] = attrs.field(factory=set, init=False)
    _withdrawn: int = attrs.field(default=0, init=False)
    """The utterance that was taken back while it was being heard, last."""
    _words: dict[int, str] = attrs.field(factory=dict, init=False)
    """The words of the last utterances, as the session told them."""
    _off_hold: trio.Event = attrs.field(init=False, repr=False)
    """Set while the caller is there."""
    _wordless: dict[int, Heard] = attrs.field(factory=dict, init=False)
    """How much was heard of the last utterances whose segments carried no words."""

    def __attrs_post_init__(self) -> None:
        self._off_hold = trio.Event()
        self._off_hold.set()

    async def hold(self) -> None:
        """The caller holds: what is being heard pauses, and no utterance begins until `unhold`."""
        if self._off_hold.is_set():
            self._off_hold = trio.Event()
        await self.playback.hold()

    async def unhold(self) -> None:
        """The caller is back."""
        self._off_hold.set()
        await self.playback.unhold()

    async def until_off_hold(self) -> None:
        """Wait until the caller is there."""
        while not self._off_hold.is_set():
            await self._off_hold.wait()

    async def run(self) -> None:
        """Play utterances until cancelled, or until one cannot be played: then MediaFailed is told."""
        while True:
            stream = await self.playout.next_utterance()
            await self.until_off_hold()
            utterance = self._utterance = stream.utterance
            self._playing = True
            try:
                heard = await self.playback.play(
                    stream, PlaybackListener(partial(self._began, utterance), self._segment_began)
                )
            except PlaybackError as error:
                log.error("playback failed", error=str(error))
                self.tell(happens.MediaFailed(str(error)))
                return
            finally:
                self._playing = False
            heard = self._record(utterance, heard)
            if self.session is not None:
                self.session.heard(utterance, heard.milliseconds, heard.completed)
            told = "utterance heard" if heard.milliseconds else "utterance not heard"
            log.info(told, utterance=utterance, heard_ms=heard.milliseconds, completed=heard.completed)
            if not heard.completed and self.log_transcripts:
                log.info("utterance cut short", utterance=utterance, heard=heard.text, generated=heard.generated)
            self.tell(happens.PlaybackFinished(utterance, idle=self.playout.empty))
            self._protect(False)  # after it: what was heard to its end is not interrupted

    def on_session_event(self, event: object) -> None:
        """Take note of which utterances the session has begun and not ended."""
        match event:
            case tells.UtteranceStarted(utterance):
                self._begun = {number: whose for number, whose in self._begun.items() if self._is_current(*whose)}
                self._begun[utterance] = (self.session, self.playout.generation)
            case tells.UtteranceEnded(utterance):
                self._begun.pop(utterance, None)
            case tells.Withdrawn(utterance):
                self._withdraw(utterance)

    @property
    def so_far(self) -> tuple[int, Heard] | None:
        """The utterance that the caller is hearing, and how much of it so far; None where there is none, or it is no
        part of the conversation."""
        if not self._playing or self._utterance in self._off_record or (heard := self.playback.so_far) is None:
            return None
        if not heard.generated and (whole := " ".join(self._words.get(self._utterance, "").split())):
            heard = self._in_part(self._utterance, heard, whole)
        return self._utterance, heard

    def is_playing(self, utterance: int) -> bool:
        """Whether the caller is hearing an utterance, or is about to."""
        return self._playing and self._utterance == utterance

    def _withdraw(self, utterance: int) -> None:
        """Nothing more of it is heard, and what was to be said of it is no part of the conversation. It stops with the
        next frame while streaming; the conversation stops it as a file, and whatever it had paused."""
        self._begun.pop(utterance, None)
        self._words.pop(utterance, None)
        self.playout.withdraw(utterance)
        if self.is_playing(utterance):
            self._withdrawn = utterance
        log.info("words are taken back", utterance=utterance, being_heard=self.is_playing(utterance))

    async def finish(self) -> None:
        """Wait until nothing is heard, waits to be, or is still to come of an utterance that the session has begun.

        The caller sets the deadline; an utterance that brings nothing more is given up `OPEN_PATIENCE` after what there
        was of it must have been heard. (A session whose model waits for a tool's result may never end it.)
        """
        began = trio.current_time()
        while self._playing or not self.playout.empty or self._more_to_come:
            unheard = self.playout.brought(self._utterance) if self._playing else 0.0
            given_up_at = max(began, self.playout.fed_at) + unheard + OPEN_PATIENCE
            if self.playout.empty and trio.current_time() > given_up_at:
                log.info("the rest of an utterance does not come", utterance=self._utterance, waited_s=OPEN_PATIENCE)
                return
            await trio.sleep(FINISH_POLL)

    @property
    def _more_to_come(self) -> bool:
        return any(self._is_current(*whose) for whose in self._begun.values())

    def _is_current(self, session: AgentSession | None, generation: int) -> bool:
        return session is not None and session is self.session and generation == self.playout.generation

    def leave_off_record(self, utterance: int) -> None:
        """This utterance is no part of the conversation."""
        self._off_record.add(utterance)

    def on_words(self, utterance: int, text: str) -> None:
        """Words of an utterance: for one whose segments carry none, because its words come beside its audio."""
        known = self._words.get(utterance, "")
        if utterance in self._off_record or len(known) >= MOST_WORDS:
            return
        self._words[utterance] = (known + text)[:MOST_WORDS]
        if (finished := self._wordless.get(utterance)) is not None:
            self._record(utterance, finished)
        while len(self._words) > REMEMBERED:
            self._words.pop(next(iter(self._words)))

    def _record(self, utterance: int, heard: Heard) -> Heard:
        """Put into the history what was heard of an utterance; gives it with its words."""
        if utterance in self._off_record:
            return heard
        if utterance == self._withdrawn:
            heard = attrs.evolve(heard, generated=heard.text)
            self.history.agent_heard(utterance, heard.text, heard.generated)
            return heard
        if not heard.generated and heard.milliseconds:
            self._wordless[utterance] = heard
            while len(self._wordless) > REMEMBERED:
                self._wordless.pop(next(iter(self._wordless)))
            if not (whole := " ".join(self._words.get(utterance, "").split())):
                return heard  # they may come later; until then the history has a turn without words
            heard = self._in_part(utterance, heard, whole)
        self.history.agent_heard(utterance, heard.text, heard.generated)
        return heard

    def _in_part(self, utterance: int, heard: Heard, whole: str) -> Heard:
        """The part of an utterance's words that was heard, told by the time that all of them take."""
        words = whole.split()
        total = max(self.playout.brought(utterance), Words(whole).seconds)
        count = len(words) if heard.completed else Words(whole).heard(heard.milliseconds / 1000, total)
        return attrs.evolve(heard, text=" ".join(words[:count]), generated=whole)

    def _began(self, utterance: int) -> None:
        if utterance not in self._off_record:
            self.history.agent_speaks(utterance)
        if self.session is not None:
            self.session.started(utterance)
        self.figures.began(utterance)
        began = happens.AsideStarted if self.figures.is_aside(utterance) else happens.PlaybackStarted
        self.tell(began(utterance))

    def _segment_began(self, text: str) -> None:
        # A long sentence may come in clauses: each of them is protected.
        self._protect(any(whole in text or (" " in text and text in whole) for whole in self.uninterruptible))

    def _protect(self, protected: bool) -> None:
        if protected != self._protected:
            self._protected = protected
            self.tell(happens.ProtectionBegan() if protected else happens.ProtectionEnded())
