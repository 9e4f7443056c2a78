"""The responses of a Realtime session as the caller hears them, and what the server is told of it. Pure.

The server makes audio faster than it is heard. The words that a caller who interrupts has not heard are therefore taken
out of its conversation again (conversation.item.truncate and .delete):
https://platform.openai.com/docs/guides/realtime-conversations.

Theory first. Three regions decide what becomes of a piece of a response:

* the *response* itself: coming (nothing of it has been heard), audible, or unwanted (nothing more of it will be heard);
* the *voice*: at rest, or speaking one item of one response, for one voice is all that there is;
* the *gate* for answers that are still coming: open, or withheld by the call.

A piece of an unwanted response is dropped. A piece that has to wait for the voice or the gate is held, in order, with
its response, and considered again when the gate opens and when a response has ended. The end of a response is a piece
like the others: it counts (`ended`) when all before it was heard, or at once where the response is unwanted.
"""

import math
from collections import deque
from collections.abc import Callable
from enum import StrEnum

import attrs

from agentd import budgets
from agentd import session_events as tells
from agentd.history import History, Speaker
from agentd_providers.openai.realtime import messages
from agentd_providers.openai.realtime.audio import RealtimeAudio
from agentd_providers.openai.realtime.events import (
    LONGEST_TEXT,
    MOST_CALLS,
    VENDOR,
    AudioDelta,
    FunctionCall,
    ItemDone,
    ResponseDone,
    TranscriptDelta,
)
from agentd_providers.vendor import commands as do

MOST_UTTERANCES = 64
"""How many may be open at a time."""
MOST_HELD = budgets.HELD_ANSWERS.most
"""Pieces of responses that may be held; the last of these places are for what ends them."""
KEPT_FOR_ENDS = 512
MOST_SECONDS = 300.0
"""Audio that may be held."""

Piece = AudioDelta | TranscriptDelta | ItemDone | ResponseDone


class Stage(StrEnum):
    COMING = "coming"
    AUDIBLE = "audible"
    UNWANTED = "unwanted"


class Gate(StrEnum):
    OPEN = "open"
    WITHHELD = "withheld"


@attrs.define(eq=False)
class Response:
    """A response in progress. `words`: those that it is to speak, beside the conversation; None for an answer. `turn`:
    the number of the caller's turn that it answers. `instead_of`: the tag of an answer that was asked for, where this
    one has none: not every server gives it back."""

    id: str
    words: str | None = None
    turn: int = 0
    instead_of: str = ""
    stage: Stage = Stage.COMING
    complete: bool = False
    """All of it has come, though not all may be heard yet."""
    cut: bool = False
    """Some of it was left out."""
    early: str = ""
    """Words of the next item, whose audio has not come yet."""
    held: deque[Piece] = attrs.field(factory=deque)
    calls: list[FunctionCall] = attrs.field(factory=list)
    """Tools that its items have asked for so far: not every server tells them again at its end."""

    @property
    def is_answer(self) -> bool:
        return self.words is None

    @property
    def wanted(self) -> bool:
        return self.stage is not Stage.UNWANTED


@attrs.frozen
class _Speaking:
    """The item of a response that the voice is at, as an utterance."""

    response: Response
    item: str
    utterance: int


@attrs.define(eq=False)
class _Utterance:
    """An utterance of which the call has not yet told how much was heard. `item` is the server's; empty where the words
    are beside the conversation. `turn`: as its response's."""

    item: str
    turn: int
    cut: bool = False
    """The server may have made more of it than we took."""
    seconds: float = 0.0
    """Audio of it that has come."""
    started: bool = False


@attrs.define(eq=False)
class Speech:
    """One session's. `number()` gives the number of a new utterance; `command` takes what is to be done. `now` is the
    time of the step that is being taken."""

    history: History
    audio: RealtimeAudio
    number: Callable[[], int]
    command: Callable[[do.Command], None]
    now: float = 0.0
    responses: dict[str, Response] = attrs.field(factory=dict, init=False)
    """Those that are in progress, by their id, in the order in which they began."""
    ended: deque[tuple[Response, ResponseDone]] = attrs.field(factory=deque, init=False)
    """Those of which nothing more will come, for whoever asked for them."""
    turn_ended_at: float = attrs.field(default=math.nan, init=False)
    """When the caller's turn ended of whose answer nothing has come."""
    gate: Gate = attrs.field(default=Gate.OPEN, init=False)
    _voice: _Speaking | None = attrs.field(default=None, init=False)
    _utterances: dict[int, _Utterance] = attrs.field(factory=dict, init=False)
    _held: int = attrs.field(default=0, init=False)
    _held_seconds: float = attrs.field(default=0.0, init=False)
    _held_characters: int = attrs.field(default=0, init=False)

    # --- what the call tells

    def withhold(self) -> None:
        """Keep back the answers that are coming, until `let_go`."""
        self.gate = Gate.WITHHELD

    def let_go(self) -> None:
        """Nothing is withheld any more."""
        self.gate = Gate.OPEN
        self.look_again()

    def started(self, utterance: int) -> int | None:
        """The caller begins to hear an utterance; gives the number of the turn that it answers, if any."""
        known = self._utterances.get(utterance)
        if known is None:
            return None
        known.started = True
        return known.turn if known.item else None

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """Make the server's record true: cut its item to what was heard. Of an utterance that is none of its
        conversation, tell it the words."""
        known = self._utterances.pop(utterance, None)
        if known is None or not known.item:
            spoken = (turn for turn in reversed(self.history.turns) if turn.speaker is Speaker.AGENT)
            if text := next((turn.text for turn in spoken if turn.utterance == utterance), ""):
                self._send(messages.agent_item(text))
        elif not completed or known.cut:
            kept = min(milliseconds, math.floor(known.seconds * 1000 + 0.001))  # whole milliseconds
            self._send(messages.item_truncate(known.item, kept) if kept > 0 else messages.item_delete(known.item))

    def stop(self) -> bool:
        """Stop what is in progress; what the caller has not begun to hear, the server forgets. Gives whether an answer,
        or a part of one, is lost by it."""
        lost, self.gate = False, Gate.OPEN
        for response in list(self.responses.values()):
            lost = lost or (response.wanted and response.is_answer)
            self.give_up(response)
        self.command(do.Cut())
        for number, utterance in list(self._utterances.items()):
            if not utterance.started:
                del self._utterances[number]
                if utterance.item:
                    lost = True
                    self._send(messages.item_delete(utterance.item))
        return lost

    # --- responses

    @property
    def answering(self) -> bool:
        """Whether an answer is in progress, wanted or not."""
        return any(response.is_answer for response in self.responses.values())

    def answer_comes(self, turn: int) -> bool:
        """Whether the caller is about to hear an answer to a turn: of what is in progress, or has come already."""
        responses, utterances = self.responses.values(), self._utterances.values()
        if any(response.wanted and response.is_answer and response.turn == turn for response in responses):
            return True
        return any(known.item and known.turn == turn and not known.started for known in utterances)

    def give_up(self, response: Response) -> None:
        """Stop a response at the source, unless the server has stopped it."""
        if response.wanted and not response.complete:
            self._send(messages.response_cancel(response.id))
        self._forget(response)

    def answers_stopped(self) -> None:
        """The server has stopped its answers by itself, of which more may still come."""
        if self._voice is not None and self._voice.response.is_answer and (known := self._known()):
            known.cut = True
        for response in list(self.responses.values()):
            if response.is_answer:
                self._forget(response)

    def take(self, piece: Piece) -> None:
        """Something of a response: to be heard now, held, or not wanted. Nothing comes after its end."""
        response = self._response(piece.response)
        if response is None or response.complete:
            return
        if isinstance(piece, ItemDone) and piece.call is not None and len(response.calls) < MOST_CALLS:
            response.calls.append(piece.call)
        response.complete = isinstance(piece, ResponseDone)
        if not response.wanted:
            if isinstance(piece, ResponseDone):
                self._end(response, piece)
        elif response.held or self._must_wait(response):
            self._hold(response, piece)
        else:
            self._hear(response, piece)

    def _response(self, name: str) -> Response | None:
        """The one in progress of this id; where a piece or its response tells none, the last one that is at work."""
        if known := self.responses.get(name) or self.responses.get(""):
            return known
        at_work = [response for response in self.responses.values() if not response.complete]
        return at_work[-1] if at_work and not name else None

    def look_again(self) -> None:
        """Consider again what was held, up to the end of a response: who asked for that one comes first."""
        for response in list(self.responses.values()):
            while response.held and not self.ended and not self._must_wait(response):
                self._hear(response, self._release(response))

    def _must_wait(self, response: Response) -> bool:
        """Whether another response is speaking, or the answer is withheld."""
        if self._voice is not None and self._voice.response is not response:
            return True
        return self.gate is Gate.WITHHELD and response.is_answer and response.stage is Stage.COMING

    def _hold(self, response: Response, piece: Piece) -> None:
        """Hold a piece. Of too much audio or too many words the rest is left out."""
        ends = isinstance(piece, ItemDone | ResponseDone)
        if self._held >= MOST_HELD:
            self.command(do.Exceeded(budgets.HELD_ANSWERS))
            self.command(do.End(f"{VENDOR}: more than {MOST_HELD} messages of an answer that has to wait"))
        elif not ends and (
            self._held_seconds >= MOST_SECONDS
            or self._held_characters >= LONGEST_TEXT
            or self._held >= MOST_HELD - KEPT_FOR_ENDS
        ):
            self.command(do.Exceeded(budgets.HELD_ANSWERS))
            if not response.cut:
                too_long = f"{VENDOR}: an answer that has to wait is too long: the rest is left out"
                self.command(do.Degrade("too long", too_long))
            response.cut = True
        else:
            response.held.append(piece)
            self._count(piece, 1)

    def _release(self, response: Response) -> Piece:
        piece = response.held.popleft()
        self._count(piece, -1)
        return piece

    def _count(self, piece: Piece, sign: int) -> None:
        self._held += sign
        if isinstance(piece, AudioDelta):
            self._held_seconds += sign * self.audio.seconds(piece.audio)
        elif isinstance(piece, TranscriptDelta):
            self._held_characters += sign * len(piece.text)

    # --- their voice

    def _hear(self, response: Response, piece: Piece) -> None:
        match piece:
            case AudioDelta(_, item, audio):
                if not self._speaks(response, item):
                    self._begin(response, item)
                if known := self._known():
                    known.seconds += self.audio.seconds(audio)
                self.command(do.Speak(audio))
            case TranscriptDelta(_, item, text) if self._speaks(response, item):
                self._tell_words(response, text)
            case TranscriptDelta(_, _, text):
                response.early = (response.early + text)[:LONGEST_TEXT]
            case ItemDone(_, item):
                response.early = ""
                if self._speaks(response, item):
                    self._rest()
            case ResponseDone():
                self._end(response, piece)

    def _begin(self, response: Response, item: str) -> None:
        self._rest()
        number = self.number()
        self._voice = _Speaking(response, item, number)
        if response.is_answer and not math.isnan(self.turn_ended_at):
            self.command(do.Tell(tells.StageTiming("first_audio", self.now - self.turn_ended_at)))
            self.turn_ended_at = math.nan
        self.command(do.Begin(number, aside=not response.is_answer, text=response.words or ""))
        self._tell_words(response, response.early)
        response.stage, response.early = Stage.AUDIBLE, ""
        self._utterances[number] = _Utterance(item if response.is_answer else "", response.turn, response.cut)
        if len(self._utterances) > MOST_UTTERANCES:
            del self._utterances[next(iter(self._utterances))]

    def _tell_words(self, response: Response, text: str) -> None:
        """Words of the open utterance, in pieces as they come: they run ahead of the audio, and are no segments of it.
        Those beside the conversation were told when they began."""
        if response.is_answer and text and self._voice is not None:
            self.command(do.Tell(tells.AgentText(self._voice.utterance, text)))

    def _end(self, response: Response, piece: ResponseDone) -> None:
        if self._voice is not None and self._voice.response is response:
            self._rest()
        self.responses.pop(response.id, None)
        self.ended.append((response, piece))

    def _forget(self, response: Response) -> None:
        """Nothing more of a response is to be heard; its end, where that was held, counts now."""
        response.stage = Stage.UNWANTED
        if self._voice is not None and self._voice.response is response:
            self._rest()
        while response.held:
            if isinstance(piece := self._release(response), ResponseDone):
                self._end(response, piece)

    def _speaks(self, response: Response, item: str) -> bool:
        voice = self._voice
        return voice is not None and voice.response is response and voice.item == item

    def _known(self) -> _Utterance | None:
        return None if self._voice is None else self._utterances.get(self._voice.utterance)

    def _rest(self) -> None:
        if self._voice is not None:
            self._voice = None
            self.command(do.Finish())

    def _send(self, message: messages.Message) -> None:
        self.command(do.Send(message))
