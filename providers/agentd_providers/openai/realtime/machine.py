"""One session with OpenAI Realtime as a pure state machine: what the server tells, what the call asks and what time it
is go in; messages and effects come out as commands. No clock, no I/O; agentd_providers.openai.realtime.session is its
shell.

Theory first. A session has three parts, each of which has regions, and each region is in one state at a time:

* the *caller* (caller): silent, speaking, speaking while the call has given way;
* the *answers* (answers): the turn that they are due to, who makes the next one, and the request for it (asking); each
  tool that is at work (tool_calls); the words that `say` asks for, at most one at a time;
* the *speech* (speech): each response that is in progress, the voice, and the gate that withholds.

An input goes to the parts that it concerns; then what it brought about is settled: responses that have ended are
concluded, and an answer that is wanted is asked for, if nothing is in the way. So asking is no act of any input, but
follows from the state: the request is none, no answer is in progress, and the caller is silent. Errors that concern no
answer, and limits, are dealt with here.

Once the session is over, nothing is done any more but to record what tools give that were at work, with which the next
session goes on; and words to be spoken are refused.
"""

from collections.abc import Callable

import attrs

from agentd import session_events as tells
from agentd.agent import SayOutcome
from agentd.history import History
from agentd_providers.openai.realtime import messages
from agentd_providers.openai.realtime.answers import Answers
from agentd_providers.openai.realtime.audio import RealtimeAudio
from agentd_providers.openai.realtime.caller import Caller
from agentd_providers.openai.realtime.events import (
    VENDOR,
    AudioDelta,
    Event,
    ItemDone,
    RateLimits,
    ResponseCreated,
    ResponseDone,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Transcribed,
    TranscriptDelta,
    TranscriptionFailed,
    VendorError,
    shown,
)
from agentd_providers.openai.realtime.settings import RealtimeTurnSettings
from agentd_providers.openai.realtime.speech import Speech
from agentd_providers.vendor import commands as do
from agentd_providers.vendor import inputs

SCARCE = 0.05
"""Share of a rate limit below which it is nearly used up."""
HARMLESS = frozenset({
    "response_cancel_not_active", "input_audio_buffer_commit_empty", "unsupported_content_type",
    "item_truncate_invalid_item_id", "item_delete_invalid_item_id",
})  # fmt: skip
"""Errors about something that came too late."""
TOO_LATE = frozenset({messages.TRUNCATE, messages.DELETE, messages.CANCEL})
FATAL = frozenset({"session_expired", "invalid_api_key", "beta_api_shape_disabled", "insufficient_quota"})
"""Errors that end a session."""


@attrs.define(eq=False)
class RealtimeMachine:
    """One session's state; `step` is its only way to change. `instructions` is the agent's prompt. `history` is read
    here, and written by commands. `number()` gives the number of a new utterance (Playout.number)."""

    turn: RealtimeTurnSettings
    instructions: str
    history: History
    audio: RealtimeAudio
    number: Callable[[], int]
    over: bool = attrs.field(default=False, init=False)
    caller: Caller = attrs.field(init=False)
    answers: Answers = attrs.field(init=False)
    speech: Speech = attrs.field(init=False)
    _commands: list[do.Command] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.caller = Caller(self.turn, self.history, self._do)
        self.speech = Speech(self.history, self.audio, self.number, self._do)
        self.answers = Answers(self.history, self.speech, self.caller, self.turn.vendor_answers, self._do)

    def step(self, event: inputs.Input | Event, now: float) -> tuple[do.Command, ...]:
        """Take one input at monotonic second `now`; gives what is to be done, in order."""
        self.speech.now = self.answers.now = now
        if not self.over:
            self._take(event, now)
            self.answers.settle()
        elif isinstance(event, inputs.ToolResult):
            self.answers.tool_result(event.call, event.result)
        elif isinstance(event, inputs.Say):
            self._do(do.Decide(event.number, SayOutcome.REFUSED))
        done, self._commands = tuple(self._commands), []
        return done

    def _do(self, command: do.Command) -> None:
        if self.over and not isinstance(command, do.RecordTool | do.Decide):
            return
        if isinstance(command, do.End):
            self.answers.refuse_words()
            self.over = True
        self._commands.append(command)

    def _take(self, event: inputs.Input | Event, now: float) -> None:
        match event:
            # --- the call
            case inputs.CallerAudio():
                self.caller.audio(event)
            case inputs.CallerWrote(text):
                self.caller.wrote(text, now)
                self.answers.caller_wrote()
            case inputs.Say():
                self.answers.say(event)
            case inputs.SayOver(number):
                self.answers.say_over(number)
            case inputs.Answer():
                self.answers.answer()
            case inputs.Withhold():
                self.speech.withhold()
            case inputs.Interrupt():
                self.caller.interrupted()
                self.answers.interrupt()
            case inputs.Started(utterance):
                self.answers.started(utterance)
            case inputs.Heard(utterance, milliseconds, completed):
                self.speech.heard(utterance, milliseconds, completed)
            case inputs.Resume():
                self.answers.resume(self.instructions)
            case inputs.ToolResult(call, result):
                self.answers.tool_result(call, result)
            case inputs.Probe():
                self._do(do.Send(messages.probe()))
            case inputs.Tick():
                if self.caller.is_none(now):
                    self.answers.caller_dismissed(gave_way=self.caller.dismissed())
                self.answers.keep_time()
            case inputs.Lost(reason):
                self._do(do.End(reason))
            case inputs.Closed():
                self.answers.refuse_words()
                self.over = True
            # --- the server
            case SpeechStarted():
                self.answers.caller_begins()
                self.caller.begins(now)
            case SpeechStopped():
                self.caller.ends(event, now)
                self.answers.caller_ends()
            case Transcribed():
                self.caller.transcribed(event)
            case TranscriptionFailed():
                self.caller.not_transcribed(event)
            case ResponseCreated():
                self.answers.on_created(event)
            case AudioDelta() | TranscriptDelta() | ItemDone() | ResponseDone():
                self.speech.take(event)
            case VendorError():
                self._on_error(event)
            case RateLimits():
                self._on_rate_limits(event)
            case SessionUpdated():
                self._do(do.Tell(tells.Alive()))

    def _on_error(self, error: VendorError) -> None:
        what = f"{VENDOR}: {error.code or error.kind}: {shown(error.message)}"
        if error.code in FATAL:
            self._do(do.End(what))
        elif self.answers.on_error(error):
            pass  # it is told there
        elif error.cause in TOO_LATE or error.code in HARMLESS or error.param == "audio_end_ms":
            self._do(do.Note("something came too late", {"error": what}))
        else:
            self._do(do.Degrade(error.code or error.kind, what))

    def _on_rate_limits(self, event: RateLimits) -> None:
        for limit in event.limits:
            if limit.remaining < SCARCE * limit.limit:
                details = attrs.asdict(limit)
                self._do(do.Warn("a rate limit is nearly used up", details, once=f"limit: {limit.name}"))
