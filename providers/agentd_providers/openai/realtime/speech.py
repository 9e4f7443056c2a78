"""What the caller hears of a Realtime session's responses, and what the server is told of it.

The server makes audio faster than it is heard. What a caller who interrupts has not heard is therefore taken out of its
conversation again (conversation.item.truncate and .delete):
https://platform.openai.com/docs/guides/realtime-conversations.
"""

import math
from collections import deque
from collections.abc import Callable

import attrs
import trio

from agentd.history import History, Speaker
from agentd.session_events import AgentText, Degraded, SessionEvent, StageTiming
from agentd_providers.openai.realtime import messages
from agentd_providers.openai.realtime.audio import RealtimeAudio
from agentd_providers.openai.realtime.events import (
    LONGEST_TEXT,
    VENDOR,
    AudioDelta,
    ItemDone,
    ResponseDone,
    TranscriptDelta,
)
from agentd_providers.vendor.voice import VendorVoice

MOST_UTTERANCES = 64
"""How many may be open at a time."""
MOST_HELD = 4096
"""Messages of responses that may be held back; the last of these places are for what ends them."""
KEPT_FOR_ENDS = 512
MOST_SECONDS = 300.0
"""Audio that may be held back."""

Spoken = AudioDelta | TranscriptDelta | ItemDone | ResponseDone


@attrs.define(eq=False)
class Aside:
    """Words that `say` asked for."""

    text: str
    begun: bool = False
    decided: trio.Event = attrs.field(factory=trio.Event)

    def decide(self, *, begun: bool) -> None:
        """Tell whether they are on their way."""
        self.begun = self.begun or begun
        self.decided.set()


@attrs.define(eq=False)
class Response:
    """A response in progress. `aside`: the words it is for; None for an answer."""

    id: str
    aside: Aside | None
    wanted: bool = True
    """What comes of it is to be heard."""
    audible: bool = False
    early: str = ""
    """Words of the next item, whose audio has not come yet."""
    over: bool = False
    cut: bool = False
    """Some of it was left out."""
    instead_of: str = ""
    """The tag of an answer that was asked for, where this one has none: not every server gives it back."""


@attrs.define(eq=False)
class _Utterance:
    """An utterance of which the call has not yet told how much was heard. `item` is the server's; empty for an aside,
    which is none of the conversation's."""

    item: str
    cut: bool = False
    """The server may have made more of it than we took."""
    seconds: float = 0.0
    """Audio of it that has come."""
    started: bool = False


@attrs.define(eq=False)
class RealtimeSpeech:
    """One session's. `done(response, event)` is told when nothing more of a response will come; `fail(reason)` ends the
    session. Nothing here waits."""

    history: History
    voice: VendorVoice
    audio: RealtimeAudio
    send: Callable[[messages.Message], None]
    emit: Callable[[SessionEvent], None]
    fail: Callable[[str], None]
    done: Callable[[Response, ResponseDone], None]
    responses: dict[str, Response] = attrs.field(factory=dict, init=False)
    """Those that are in progress, by their id."""
    turn_ended_at: float = attrs.field(default=math.nan, init=False)
    """When the caller's turn ended of whose answer nothing has come."""
    _open: tuple[Response, str] | None = attrs.field(default=None, init=False)
    """Whose audio the voice's open utterance is: a response's item."""
    _utterances: dict[int, _Utterance] = attrs.field(factory=dict, init=False)
    _withheld: bool = attrs.field(default=False, init=False)
    _held: deque[tuple[Response, Spoken]] = attrs.field(factory=deque, init=False)
    _held_seconds: float = attrs.field(default=0.0, init=False)
    _held_characters: int = attrs.field(default=0, init=False)
    _overflown: bool = attrs.field(default=False, init=False)

    # --- what the call asks for

    def withhold(self) -> None:
        """Keep back the answers that have not begun, until `let_go`."""
        self._withheld = True

    def let_go(self) -> None:
        """Nothing is withheld any more."""
        self._withheld = False
        self.look_again()

    def started(self, utterance: int) -> bool:
        """The caller begins to hear an utterance; gives whether it is an answer of this session's."""
        known = self._utterances.get(utterance)
        if known is None:
            return False
        known.started = True
        return bool(known.item)

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """Make the server's record true: cut its item to what was heard. Of an utterance that is none of its
        conversation, tell it the words."""
        known = self._utterances.pop(utterance, None)
        if known is None or not known.item:
            spoken = (turn for turn in reversed(self.history.turns) if turn.speaker is Speaker.AGENT)
            if text := next((turn.text for turn in spoken if turn.utterance == utterance), ""):
                self.send(messages.agent_item(text))
        elif not completed or known.cut:
            kept = min(milliseconds, math.floor(known.seconds * 1000 + 0.001))  # whole milliseconds
            self.send(messages.item_truncate(known.item, kept) if kept > 0 else messages.item_delete(known.item))

    def stop(self) -> bool:
        """Stop what is in progress; what the caller has not begun to hear, the server forgets. Gives whether an answer,
        or a part of one, is lost by it."""
        lost, self._withheld = False, False
        for response in self.responses.values():
            lost = lost or (response.wanted and response.aside is None)
            self.give_up(response)
        self.look_again()
        self.voice.cut()
        for number, utterance in list(self._utterances.items()):
            if not utterance.started:
                del self._utterances[number]
                if utterance.item:
                    lost = True
                    self.send(messages.item_delete(utterance.item))
        return lost

    # --- responses

    @property
    def answering(self) -> bool:
        """Whether an answer is in progress, wanted or not."""
        return any(response.aside is None for response in self.responses.values())

    @property
    def answer_comes(self) -> bool:
        """Whether the caller is about to hear an answer: of what is in progress, or has come already."""
        wanted = any(response.wanted and response.aside is None for response in self.responses.values())
        return wanted or any(known.item and not known.started for known in self._utterances.values())

    def give_up(self, response: Response) -> None:
        """Stop a response at the source, unless the server has stopped it."""
        if response.wanted and not response.over:
            self.send(messages.response_cancel(response.id))
        self._forget(response)

    def answers_stopped(self) -> None:
        """The server has stopped its answers by itself, of which more may still come."""
        if self._open is not None and self._open[0].aside is None and (known := self._known()):
            known.cut = True
        for response in self.responses.values():
            if response.aside is None:
                self._forget(response)

    def take(self, event: Spoken) -> None:
        """Something of a response: to be heard now, held back, or not wanted. Nothing comes after its end."""
        response = self.responses.get(event.response)
        if response is not None and not response.over:
            response.over = isinstance(event, ResponseDone)
            self._consider(response, event)

    def look_again(self) -> None:
        """Consider again what was held back."""
        held, self._held = self._held, deque()
        self._held_seconds, self._held_characters = 0.0, 0
        for response, event in held:
            self._consider(response, event)

    def _consider(self, response: Response, event: Spoken) -> None:
        if not response.wanted:
            if isinstance(event, ResponseDone):
                self._end(response, event)
        elif not self._must_wait(response):
            self._hear(response, event)
        else:
            self._hold(response, event)

    def _must_wait(self, response: Response) -> bool:
        """Whether another response is speaking, or the answer is withheld."""
        if self._open is not None and self._open[0] is not response:
            return True
        withheld = self._withheld and response.aside is None and not response.audible
        return withheld or any(held is response for held, _ in self._held)

    def _hold(self, response: Response, event: Spoken) -> None:
        """Hold back an event. Of too much audio or too many words the rest is left out."""
        if isinstance(event, AudioDelta | TranscriptDelta):
            if (
                self._held_seconds >= MOST_SECONDS
                or self._held_characters >= LONGEST_TEXT
                or len(self._held) >= MOST_HELD - KEPT_FOR_ENDS
            ):
                response.cut = True
                if not self._overflown:
                    self._overflown = True
                    self.emit(Degraded(f"{VENDOR}: an answer that has to wait is too long: the rest is left out"))
                return
            if isinstance(event, AudioDelta):
                self._held_seconds += self.audio.seconds(event.audio)
            else:
                self._held_characters += len(event.text)
        elif len(self._held) >= MOST_HELD:
            self.fail(f"{VENDOR}: more than {MOST_HELD} messages of an answer that has to wait")
            return
        self._held.append((response, event))

    # --- their voice

    def _hear(self, response: Response, event: Spoken) -> None:
        match event:
            case AudioDelta(_, item, audio):
                if self._open != (response, item):
                    self._begin(response, item)
                if known := self._known():
                    known.seconds += self.audio.seconds(audio)
                self.voice.audio(self.audio.decode(audio))
            case TranscriptDelta(_, item, text) if self._open == (response, item):
                self._tell_words(response, text)
            case TranscriptDelta(_, _, text):
                response.early = (response.early + text)[:LONGEST_TEXT]
            case ItemDone(_, item):
                response.early = ""
                if self._open == (response, item):
                    self._close()
            case ResponseDone():
                self._end(response, event)

    def _begin(self, response: Response, item: str) -> None:
        if response.aside is not None:
            number = self.voice.begin(aside=True, text=response.aside.text)
            response.aside.decide(begun=True)
        else:
            if not math.isnan(self.turn_ended_at):
                self.emit(StageTiming("first_audio", trio.current_time() - self.turn_ended_at))
                self.turn_ended_at = math.nan
            number = self.voice.begin()
            self._tell_words(response, response.early)
        self._open, response.audible, response.early = (response, item), True, ""
        self._utterances[number] = _Utterance(item if response.aside is None else "", response.cut)
        if len(self._utterances) > MOST_UTTERANCES:
            del self._utterances[next(iter(self._utterances))]

    def _tell_words(self, response: Response, text: str) -> None:
        """Words of the open utterance, in pieces as they come: they run ahead of the audio, and are no segments of it.
        Those of an aside were told when it began."""
        if response.aside is None and text:
            self.emit(AgentText(self.voice.utterance, text))

    def _end(self, response: Response, event: ResponseDone) -> None:
        if self._open is not None and self._open[0] is response:
            self._close()
        if response.aside is not None:
            response.aside.decide(begun=False)
        self.responses.pop(response.id, None)
        self.done(response, event)

    def _forget(self, response: Response) -> None:
        """Nothing more of a response is to be heard."""
        response.wanted = False
        if self._open is not None and self._open[0] is response:
            self._close()

    def _known(self) -> _Utterance | None:
        return self._utterances.get(self.voice.utterance)

    def _close(self) -> None:
        self._open = None
        self.voice.end()
