"""One call's figures: how soon it was answered, how soon it fell silent when interrupted, and where the time went.

They go three ways: Prometheus histograms, a log line a turn, and a log line for the whole call.
"""

import math
import statistics

import attrs
import structlog
import trio

from agentd import session_events as tells
from agentd.conversation import commands as do
from agentd.conversation.commands import Command
from agentd.metrics import Metrics

log = structlog.get_logger("agentd.call")

BESIDE = ("endpoint",)
"""Stages that overlap with the others, and so are no part of their sum."""


@attrs.define(eq=False)
class CallFigures:
    """Told what the session says, what the conversation commands, and when utterances begin to be heard."""

    metrics: Metrics
    agent: str = attrs.field(default="", init=False)
    """The agent that serves the call now."""
    _asides: set[int] = attrs.field(factory=set, init=False)
    _last_speech_at: float = attrs.field(default=math.nan, init=False)
    _stages: dict[str, float] = attrs.field(factory=dict, init=False)
    _onset_at: float = attrs.field(default=math.nan, init=False)
    _silent_after: float = attrs.field(default=math.nan, init=False)
    _responses: list[float] = attrs.field(factory=list, init=False)
    _interruptions: int = attrs.field(default=0, init=False)
    _false_interruptions: int = attrs.field(default=0, init=False)

    def on_session(self, event: object) -> None:
        """Take note of an event of the session."""
        match event:
            case tells.CallerSpeechStarted(at):
                self._onset_at, self._silent_after = at, math.nan
            case tells.CallerSpeechDismissed():
                self._onset_at = math.nan
            case tells.CallerSpeechEnded(_, last_speech_at):
                self._last_speech_at = last_speech_at
                self._stages = {}
            case tells.CallerWordsDropped(cause, measured):
                self.metrics.caller_words_dropped.labels(cause=cause).inc()
                log.info("words that a speech engine wrote do not count", cause=cause, **measured)
            case tells.UtteranceStarted(utterance, True):
                self._asides.add(utterance)
            case tells.ReplyCut(cause):
                self.metrics.replies_cut.labels(cause=cause).inc()
            case tells.StageTiming(stage, seconds):
                self._stages[stage] = seconds
                self.metrics.stage_seconds.labels(stage=stage).observe(seconds)

    def is_aside(self, utterance: int) -> bool:
        """Whether an utterance is no answer to the caller."""
        return utterance in self._asides

    def on_command(self, command: Command, *, audible: bool) -> None:
        """Take note of a command that is being carried out; `audible`: an utterance is being heard."""
        match command:
            case do.Pause() if audible:
                self._silent_after = trio.current_time() - self._onset_at
            case do.Restore() if not math.isnan(self._silent_after):
                self._silent_after = math.nan
                self._false_interruptions += 1
                self.metrics.false_interruptions.inc()
                log.info("false interruption: the agent goes on where it stopped")
            case do.Hold() | do.Unhold():  # the wait is the caller's own
                self._last_speech_at = self._onset_at = self._silent_after = math.nan
            case do.Interrupt() if audible:
                if math.isnan(self._silent_after):
                    self._silent_after = trio.current_time() - self._onset_at
                self._interruptions += 1
                if not math.isnan(self._silent_after):
                    self.metrics.barge_in_seconds.observe(self._silent_after)
                    log.info("interrupted", barge_in_ms=round(self._silent_after * 1000))
                self._silent_after = math.nan

    def began(self, utterance: int) -> None:
        """The caller begins to hear an utterance: if it is an answer, this is when the wait was over."""
        self._onset_at = math.nan  # a sound from before it is no interruption of it
        if math.isnan(self._last_speech_at) or utterance in self._asides:
            return
        delay, self._last_speech_at = trio.current_time() - self._last_speech_at, math.nan
        told = sum(seconds for stage, seconds in self._stages.items() if stage not in BESIDE)
        if self._stages:
            self._stages["line"] = max(delay - told, 0.0)
            self.metrics.stage_seconds.labels(stage="line").observe(self._stages["line"])
        self.metrics.response_seconds.observe(delay)
        self._responses.append(delay)
        stages = {f"{stage}_ms": round(seconds * 1000) for stage, seconds in self._stages.items()}
        log.info("answer", agent=self.agent, utterance=utterance, response_ms=round(delay * 1000), **stages)

    def conclude(self) -> None:
        """The call is over: its figures in one line."""
        log.info(
            "call figures",
            answers=len(self._responses),
            response_p50_ms=round(1000 * statistics.median(self._responses)) if self._responses else None,
            response_max_ms=round(1000 * max(self._responses)) if self._responses else None,
            interruptions=self._interruptions,
            false_interruptions=self._false_interruptions,
        )
