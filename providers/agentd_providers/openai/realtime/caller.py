"""The caller of a Realtime session: silent or speaking, and since when. Pure.

How turns go: https://platform.openai.com/docs/guides/realtime-vad. The server tells that the caller speaks and that the
turn is over, but now and then not that it is over; and it counts the audio that it was sent, not the time that passes.

The caller is in one state at a time: silent; speaking; or speaking while the call has given way (it has interrupted
what the agent said or prepared, which is due again if this was no turn).
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

import attrs

from agentd import session_events as tells
from agentd.history import History, Place
from agentd_providers.openai.realtime import messages
from agentd_providers.openai.realtime.audio import SentAudio
from agentd_providers.openai.realtime.events import (
    UNNAMED,
    VENDOR,
    SpeechStopped,
    Transcribed,
    TranscriptionFailed,
    shown,
)
from agentd_providers.openai.realtime.settings import Detection, RealtimeTurnSettings
from agentd_providers.vendor import commands as do
from agentd_providers.vendor import inputs
from agentd_providers.vendor.caller_sound import CallerSound
from agentd_providers.vendor.caller_words import caller_words

MOST_TURNS = 32
"""Turns of the caller whose words may be waited for at a time."""
LATE_STOP = 3.0
"""Seconds that the server may take, beyond the silence that ends a turn, until it tells that one is over."""
LONGEST_TURN = 60.0
"""Seconds after which a turn of which the server does not tell the end was none, however loud it still is."""


class State(StrEnum):
    SILENT = "silent"
    SPEAKING = "speaking"
    GIVEN_WAY = "speaking, and the call has given way"


class Happening(StrEnum):
    BEGINS = "the server tells that the caller speaks"
    INTERRUPTED = "the call stops everything"
    ENDS = "the server tells that the turn is over"
    DISMISSED = "the server does not tell it: there was no turn"


CALLER: Mapping[tuple[State, Happening], State] = {
    (State.SILENT, Happening.BEGINS): State.SPEAKING,  # else the end was not told, and it is one turn
    (State.SPEAKING, Happening.INTERRUPTED): State.GIVEN_WAY,
    **{(state, Happening.ENDS): State.SILENT for state in State},
    **{(state, Happening.DISMISSED): State.SILENT for state in State},
}


@attrs.define(eq=False)
class Caller:
    """One session's. `command` takes what is to be done."""

    turn: RealtimeTurnSettings
    history: History
    command: Callable[[do.Command], None]
    state: State = attrs.field(default=State.SILENT, init=False)
    _since: float = attrs.field(default=0.0, init=False)
    """When the turn began that is not over."""
    _sent: SentAudio = attrs.field(factory=SentAudio, init=False)
    _sound: CallerSound = attrs.field(factory=CallerSound, init=False)
    _places: dict[str, Place] = attrs.field(factory=dict, init=False)
    """Where the turns belong whose words are not known yet, by their item."""

    @property
    def speaks(self) -> bool:
        return self.state is not State.SILENT

    def audio(self, heard: inputs.CallerAudio) -> None:
        """Audio of the caller's line has come, and gone to the server."""
        self._sound.hear(heard.pcm, heard.at)
        if heard.sent:
            self._sent.note(heard.sent, heard.at)

    def wrote(self, text: str, now: float) -> None:
        """The caller's turn came as text."""
        self.command(do.RecordCaller(text))
        self.command(do.Send(messages.caller_item(text)))
        self.command(do.Tell(tells.CallerText(text)))
        self.command(do.Tell(tells.CallerSpeechEnded(now, now)))

    def begins(self, now: float) -> None:
        """The caller speaks. Vendors tell it late enough for it to be no click: the turn is taken at once."""
        self._happens(Happening.BEGINS)
        self._since = now
        self.command(do.Tell(tells.CallerSpeechStarted(now)))
        self.command(do.Tell(tells.CallerTakesTurn(now)))

    def ends(self, event: SpeechStopped, now: float) -> None:
        """The turn is over by the server's word, which may come after it was taken to be none."""
        self._happens(Happening.ENDS)
        self._places[event.item] = self.history.place
        if len(self._places) > MOST_TURNS:
            del self._places[next(iter(self._places))]
        last_speech_at = self._last_speech_at(event.audio_end_ms, now)
        self.command(do.Tell(tells.CallerSpeechEnded(now, last_speech_at)))
        self.command(do.Tell(tells.StageTiming("pause", now - last_speech_at)))
        self.command(do.Tell(tells.StageTiming("endpoint", now - last_speech_at)))

    def _last_speech_at(self, audio_end_ms: float | None, now: float) -> float:
        if audio_end_ms is None:  # then as our own ear has it
            return min(max(self._since, self._sound.loud_until), now)
        audio_end = audio_end_ms / 1000
        if self.turn.detection is Detection.SERVER_VAD:
            audio_end -= self.turn.silence_ms / 1000  # the silence that ended the turn counts with it
        known = self._sent.time_of(audio_end)
        return now if known is None else min(known, now)

    def interrupted(self) -> None:
        """The call stops everything, for the caller where one is speaking."""
        self._happens(Happening.INTERRUPTED)

    def is_none(self, now: float) -> bool:
        """Whether what was taken for a turn is known now to be none, for the server does not tell its end."""
        quiet_since = max(self._since, self._sound.loud_until)
        late = now - quiet_since > self.turn.longest_pause + LATE_STOP or now - self._since > LONGEST_TURN
        return self.speaks and late

    def dismissed(self) -> bool:
        """The turn was none. Gives whether the call has given way to it."""
        before = self.state
        self._happens(Happening.DISMISSED)
        self.command(do.Tell(tells.CallerSpeechDismissed(f"{VENDOR} did not tell that the turn is over")))
        return before is State.GIVEN_WAY

    def _happens(self, what: Happening) -> None:
        self.state = CALLER.get((self.state, what), self.state)

    # --- the words of a turn, which may be known long after its answer

    def transcribed(self, event: Transcribed) -> None:
        """The words of a turn."""
        place = self._place(event.item)
        for command in caller_words(event.text, place):
            self.command(command)

    def not_transcribed(self, event: TranscriptionFailed) -> None:
        """The words of a turn are not known."""
        self._place(event.item)
        what = f"{VENDOR} could not transcribe what the caller said: {shown(event.message)}"
        self.command(do.Degrade("transcription", what))

    def _place(self, item: str) -> Place | None:
        """Where the turn of an item belongs, whose words are settled now: that of the unnamed one, where the server did
        not tell of which item it was."""
        return self._places.pop(item if item in self._places else UNNAMED, None)
