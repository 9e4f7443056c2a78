"""The caller's turns in a session with the Deepgram Voice Agent, and the answers that are due to them.

Deepgram tells when the caller begins to speak, and gives up its answer for that; when the turn is over it tells the
words. It does not tell that it recognised none, nor that an answer does not come: here both are found out by the clock.
(https://developers.deepgram.com/docs/voice-agent-user-started-speaking, /docs/voice-agent-message-flow)
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from agentd import session_events as tells
from agentd.history import History
from agentd.session_events import SessionEvent
from agentd_providers.deepgram.voice_agent.agent_speech import AgentSpeech
from agentd_providers.deepgram.voice_agent.function_calls import FunctionCalls
from agentd_providers.deepgram.voice_agent.messages import GO_ON, inject_user_message, resumption
from agentd_providers.deepgram.voice_agent.settings import DeepgramAgentSettings
from agentd_providers.vendor.caller_sound import CallerSound

FLUX_PAUSE = 5.0
"""Seconds of silence after which a flux model ends a turn at the latest, unless told otherwise."""
NOVA_PAUSE = 2.0
"""The same of other models: an estimate, Deepgram documents none."""
RECOGNITION = 2.0
"""Seconds on top of that for the words to be recognised."""
LONGEST_TURN = 60.0
"""Seconds after which a turn without words was none, however loud it still is."""
MOST_INJECTED = 16


@attrs.define(eq=False)
class CallerTurns:
    """One session's. `send(message)` brings a message to Deepgram. Whatever is fed is for `sound` to hear."""

    settings: DeepgramAgentSettings
    history: History
    speech: AgentSpeech
    functions: FunctionCalls
    send: Callable[[Mapping[str, Any]], None]
    emit: Callable[[SessionEvent], None]
    sound: CallerSound = attrs.field(factory=CallerSound, init=False)
    _since: float | None = attrs.field(default=None, init=False)
    """When the caller began the turn that is not confirmed yet."""
    _answer_due_since: float | None = attrs.field(default=None, init=False)
    _lost: bool = attrs.field(default=False, init=False)
    """An answer was awaited when the caller made the sound that is not confirmed yet, which took it away."""
    _begun_since: bool = attrs.field(default=False, init=False)
    """An answer has begun since that sound."""
    _injected: deque[str] = attrs.field(factory=lambda: deque(maxlen=MOST_INJECTED), init=False)
    """Words that Deepgram was given as the caller's, and has not repeated yet."""
    _timed: set[str] = attrs.field(factory=set, init=False)
    """Stages of this answer that were told."""

    @property
    def open(self) -> bool:
        """Whether the caller has begun a turn that is not confirmed yet."""
        return self._since is not None

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
        now = trio.current_time()
        self._lost = self._lost or self._answer_due_since is not None or self.functions.open
        self._begun_since = False
        self._since = now
        self._answer_due_since = None
        self._injected.clear()
        self.speech.hush()
        self.functions.dismiss()
        self.emit(tells.CallerSpeechStarted(self.sound.onset(now)))
        self.emit(tells.CallerTakesTurn(now))

    def words(self, text: str) -> None:
        """The turn is confirmed by its words, unless they are those that Deepgram was given."""
        if text in self._injected:
            self._injected.remove(text)  # what we gave it ourselves
            return
        if not text:
            return
        now = trio.current_time()
        self._confirm(text, now, self.sound.last(now, self.longest_pause + RECOGNITION))
        self.functions.confirm()

    # --- what Deepgram is given as the caller's words

    def wrote(self, text: str) -> None:
        """The caller gave text as a whole turn."""
        now = trio.current_time()
        self.functions.dismiss()
        self._inject(text)
        self._confirm(text, now, now)

    def resume(self) -> None:
        """Give Deepgram the words again that its history was given without, or ask it to go on."""
        if text := resumption(self.history):
            self._inject(text)

    def _inject(self, text: str) -> None:
        self._injected.append(text.strip())
        self.speech.expect(held=False)
        self.send(inject_user_message(text))

    # --- the answer

    def answered(self) -> None:
        """An answer begins."""
        self._answer_due_since, self._lost, self._begun_since = None, False, True

    def tool_answered(self) -> None:
        """Deepgram has what a tool gave: the answer goes on, unless it is of the past."""
        if not self.speech.deaf:
            self.speech.expect(held=False)
            self._answer_due_since = trio.current_time()

    def time(self, stage: str, seconds: float | None) -> None:
        """Tell how long a stage of this answer took, once; None is not told."""
        if seconds is not None and stage not in self._timed:
            self._timed.add(stage)
            self.emit(tells.StageTiming(stage, seconds))

    # --- what becomes due

    def keep_time(self, now: float) -> None:
        """Look at what has become due: a turn that was none, an answer that does not come."""
        if self._since is not None and self._is_none(self._since, now):
            self._dismiss()
        if self._answer_is_late(now):
            self._answer_due_since = None
            self.emit(tells.AnswerFailed(f"Deepgram gave no answer within {self.settings.answer_within:g} s"))

    def _is_none(self, since: float, now: float) -> bool:
        quiet_since = max(since, self.sound.loud_until)
        return now - quiet_since > self.longest_pause + RECOGNITION or now - since > LONGEST_TURN

    def _dismiss(self) -> None:
        self._since = None
        self.speech.listen()
        self.functions.dismiss()
        self.emit(tells.CallerSpeechDismissed("Deepgram recognised no words"))
        if (self._lost or self.history.owed) and not self._begun_since:
            # For this sound an answer was thrown away, which is still owed. One that waits for a tool comes by itself.
            if not self.functions.open:
                self._inject(resumption(self.history) or GO_ON)
            now = trio.current_time()
            self._answer_comes(now, now)
        self._lost = False

    def _answer_is_late(self, now: float) -> bool:
        since = self._answer_due_since
        return since is not None and now - since > self.settings.answer_within and not self.functions.open

    # --- the end of a turn

    def _confirm(self, text: str, now: float, last_speech_at: float) -> None:
        """The caller's turn is over."""
        self._since, self._lost = None, False
        self.history.caller_said(text)
        self.emit(tells.CallerText(text))
        self._answer_comes(now, last_speech_at)
        self.time("endpoint", now - last_speech_at)

    def _answer_comes(self, now: float, last_speech_at: float) -> None:
        """The agent is to speak next, as soon as the call lets it."""
        self._answer_due_since = now
        self.speech.expect(held=True)
        self._timed.clear()
        self.emit(tells.CallerSpeechEnded(now, last_speech_at))
