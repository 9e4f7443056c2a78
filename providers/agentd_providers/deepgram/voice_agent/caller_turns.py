"""The caller's turns in a session with the Deepgram Voice Agent, and the answers that are due to them. Pure.

Deepgram tells when the caller begins to speak, and gives up its answer for that; when the turn is over it tells the
words. It does not tell that it recognised none, nor that an answer does not come: here both are found out by the clock.
(https://developers.deepgram.com/docs/voice-agent-user-started-speaking, /docs/voice-agent-message-flow)

The caller is in one state at a time: silent; speaking, in a turn that no words have confirmed yet; speaking, where that
has taken away an answer, which is owed if there were no words; or speaking, where an answer has begun since.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

import attrs

from agentd import session_events as tells
from agentd.history import History
from agentd_providers.deepgram.voice_agent.agent_speech import AgentSpeech
from agentd_providers.deepgram.voice_agent.function_calls import FunctionCalls
from agentd_providers.deepgram.voice_agent.messages import GO_ON, inject_user_message, resumption
from agentd_providers.deepgram.voice_agent.settings import DeepgramAgentSettings
from agentd_providers.vendor import commands as do
from agentd_providers.vendor.caller_sound import CallerSound
from agentd_providers.vendor.caller_words import caller_words

FLUX_PAUSE = 5.0
"""Seconds of silence after which a flux model ends a turn at the latest, unless told otherwise."""
NOVA_PAUSE = 2.0
"""The same of other models: an estimate, Deepgram documents none."""
RECOGNITION = 2.0
"""Seconds on top of that for the words to be recognised."""
LONGEST_TURN = 60.0
"""Seconds after which a turn without words was none, however loud it still is."""
MOST_INJECTED = 16


class Caller(StrEnum):
    SILENT = "silent"
    SPEAKING = "speaking"
    SPEAKING_OWED = "speaking, and an answer is owed if it was nothing"
    SPEAKING_ANSWERED = "speaking, and an answer has begun"


class Happening(StrEnum):
    BEGINS = "Deepgram tells that the caller speaks"
    TAKES_ANSWER = "which has taken away an answer, or a tool's result that is awaited for one"
    ANSWER_BEGUN = "an answer begins all the same"
    CONFIRMED = "words confirm the turn, which is over"
    DISMISSED = "no words come: there was no turn"


CALLER: Mapping[tuple[Caller, Happening], Caller] = {
    (Caller.SILENT, Happening.BEGINS): Caller.SPEAKING,
    (Caller.SPEAKING_ANSWERED, Happening.BEGINS): Caller.SPEAKING,
    (Caller.SPEAKING, Happening.TAKES_ANSWER): Caller.SPEAKING_OWED,
    (Caller.SPEAKING, Happening.ANSWER_BEGUN): Caller.SPEAKING_ANSWERED,
    (Caller.SPEAKING_OWED, Happening.ANSWER_BEGUN): Caller.SPEAKING_ANSWERED,
    **{(state, Happening.CONFIRMED): Caller.SILENT for state in Caller},
    **{(state, Happening.DISMISSED): Caller.SILENT for state in Caller},
}


@attrs.define(eq=False)
class CallerTurns:
    """One session's. All audio that is fed is for `sound` to hear; `command` takes what is to be done; `now` is the
    time of the step that is being taken."""

    settings: DeepgramAgentSettings
    history: History
    speech: AgentSpeech
    functions: FunctionCalls
    command: Callable[[do.Command], None]
    now: float = 0.0
    sound: CallerSound = attrs.field(factory=CallerSound, init=False)
    caller: Caller = attrs.field(default=Caller.SILENT, init=False)
    _since: float = attrs.field(default=0.0, init=False)
    """When the caller began to speak last."""
    _answer_due_since: float | None = attrs.field(default=None, init=False)
    """None: no answer is awaited."""
    _injected: deque[str] = attrs.field(factory=lambda: deque(maxlen=MOST_INJECTED), init=False)
    """Words that Deepgram was given as the caller's, and has not repeated yet."""
    _timed: set[str] = attrs.field(factory=set, init=False)
    """Stages of this answer that were told."""

    @property
    def open(self) -> bool:
        """Whether the caller has begun a turn that is not confirmed yet."""
        return self.caller is not Caller.SILENT

    @property
    def longest_pause(self) -> float:
        """Seconds of silence after which Deepgram ends a turn at the latest."""
        listen = self.settings.listen
        if listen.is_flux:
            return listen.eot_timeout_ms / 1000 or FLUX_PAUSE
        return NOVA_PAUSE

    # --- what Deepgram tells of the caller

    def begins(self) -> None:
        """The caller speaks."""
        self._happens(Happening.BEGINS)
        if self._answer_due_since is not None or self.functions.open:
            self._happens(Happening.TAKES_ANSWER)
        self._since, self._answer_due_since = self.now, None
        self._injected.clear()
        self.speech.hush()
        self.functions.dismiss()
        self.command(do.Tell(tells.CallerSpeechStarted(self.sound.onset(self.now))))
        self.command(do.Tell(tells.CallerTakesTurn(self.now)))

    def words(self, text: str) -> None:
        """The turn is confirmed by its words, unless they are those that Deepgram was given."""
        if text in self._injected:
            self._injected.remove(text)  # what we gave it ourselves
            return
        if not text:
            return
        self._confirm(caller_words(text), self.sound.last(self.now, self.longest_pause + RECOGNITION))
        self.functions.confirm()

    # --- what Deepgram is given as the caller's words

    def wrote(self, text: str) -> None:
        """The caller gave text as a whole turn."""
        self.functions.dismiss()
        self._inject(text)
        self._confirm((do.RecordCaller(text), do.Tell(tells.CallerText(text))), self.now)

    def resume(self) -> None:
        """Give Deepgram the words again that its history was given without, or ask it to go on."""
        if text := resumption(self.history):
            self._inject(text)

    def _inject(self, text: str) -> None:
        self._injected.append(text.strip())
        self.speech.expect(held=False)
        self.command(do.Send(inject_user_message(text)))

    # --- the answer

    def answered(self) -> None:
        """An answer begins."""
        self._answer_due_since = None
        self._happens(Happening.ANSWER_BEGUN)

    def tool_answered(self) -> None:
        """Deepgram has what a tool gave: the answer goes on, unless it is of the past."""
        if not self.speech.deaf:
            self.speech.expect(held=False)
            self._answer_due_since = self.now

    def time(self, stage: str, seconds: float | None) -> None:
        """Tell how long a stage of this answer took, once; None is not told."""
        if seconds is not None and stage not in self._timed:
            self._timed.add(stage)
            self.command(do.Tell(tells.StageTiming(stage, seconds)))

    # --- what becomes due

    def keep_time(self) -> None:
        """Look at what has become due: a turn that was none, an answer that does not come."""
        if self.open and self._is_none:
            self._dismiss()
        if self._answer_is_late:
            self._answer_due_since = None
            why = f"Deepgram gave no answer within {self.settings.answer_within:g} s"
            self.command(do.Tell(tells.AnswerFailed(why)))

    @property
    def _is_none(self) -> bool:
        quiet_since = max(self._since, self.sound.loud_until)
        return self.now - quiet_since > self.longest_pause + RECOGNITION or self.now - self._since > LONGEST_TURN

    def _dismiss(self) -> None:
        before = self.caller
        self._happens(Happening.DISMISSED)
        self.speech.listen()
        self.functions.dismiss()
        self.command(do.Tell(tells.CallerSpeechDismissed("Deepgram recognised no words")))
        if before is Caller.SPEAKING_OWED or (before is Caller.SPEAKING and self.history.owed):
            # For this sound an answer was thrown away, which is still owed. One that waits for a tool comes by itself.
            if not self.functions.open:
                self._inject(resumption(self.history) or GO_ON)
            self._answer_comes(self.now)

    @property
    def _answer_is_late(self) -> bool:
        since = self._answer_due_since
        return since is not None and self.now - since > self.settings.answer_within and not self.functions.open

    # --- the end of a turn

    def _confirm(self, words: Iterable[do.Command], last_speech_at: float) -> None:
        """The caller's turn is over. Deepgram answers it, also where it heard no more than a sound."""
        self._happens(Happening.CONFIRMED)
        for command in words:
            self.command(command)
        self._answer_comes(last_speech_at)
        self.time("endpoint", self.now - last_speech_at)

    def _answer_comes(self, last_speech_at: float) -> None:
        """The agent is to speak next, as soon as the call lets it."""
        self._answer_due_since = self.now
        self.speech.expect(held=True)
        self._timed.clear()
        self.command(do.Tell(tells.CallerSpeechEnded(self.now, last_speech_at)))

    def _happens(self, what: Happening) -> None:
        self.caller = CALLER.get((self.caller, what), self.caller)
