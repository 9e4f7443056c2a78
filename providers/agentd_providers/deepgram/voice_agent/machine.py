"""One session with the Deepgram Voice Agent as a pure state machine: what Deepgram tells, what the call asks and what
time it is go in; messages and effects come out as commands. No clock, no I/O; its shell is
agentd_providers.deepgram.voice_agent.session.

The order of messages: https://developers.deepgram.com/docs/voice-agent-message-flow. The decisions on the caller's
turns, and on which answers are due, are in caller_turns, which of the agent's words and audio count in agent_speech,
which function calls do in function_calls; each of them has its regions. Here an input goes to those that it concerns,
and what keeps a session alive, or has it renewed, is told by the clock.

Once the session is over, nothing is done any more but to record what tools give that were at work, with which the next
session goes on; and words to be spoken are refused.
"""

from collections.abc import Callable

import attrs

from agentd import session_events as tells
from agentd.agent import SayOutcome
from agentd.history import History
from agentd_providers.deepgram.voice_agent.agent_speech import AgentSpeech, Gate
from agentd_providers.deepgram.voice_agent.caller_turns import CallerTurns
from agentd_providers.deepgram.voice_agent.events import (
    AgentAudio,
    AgentAudioDone,
    AgentStartedSpeaking,
    AgentThinking,
    AssistantText,
    Event,
    FunctionCallCancelled,
    FunctionCallRequest,
    InjectionRefused,
    LatencyReport,
    UserStartedSpeaking,
    UserText,
    VendorError,
    VendorWarning,
    shown,
)
from agentd_providers.deepgram.voice_agent.function_calls import FunctionCalls
from agentd_providers.deepgram.voice_agent.messages import KEEP_ALIVE, inject_agent_message
from agentd_providers.deepgram.voice_agent.settings import DeepgramAgentSettings
from agentd_providers.vendor import commands as do
from agentd_providers.vendor import inputs

LIMIT_APPROACHES = "MAXIMUM_SESSION_LENGTH_APPROACHING"
INJECTION_WARNINGS = frozenset({"INJECT_AGENT_MESSAGE_DURING_USER_SPEECH", "INJECT_AGENT_MESSAGE_DURING_AGENT_SPEECH"})


@attrs.define(eq=False)
class DeepgramMachine:
    """One session's state, from monotonic second `began` on; `step` is its only way to change. `history` is read here,
    and written by commands. `conceal` takes secrets out of what Deepgram says."""

    settings: DeepgramAgentSettings
    history: History
    conceal: Callable[[str], str]
    began: float
    over: bool = attrs.field(default=False, init=False)
    speech: AgentSpeech = attrs.field(init=False)
    functions: FunctionCalls = attrs.field(init=False)
    turns: CallerTurns = attrs.field(init=False)
    _audio_at: float = attrs.field(init=False)
    _renew_at: float = attrs.field(init=False)
    _renewal_told: bool = attrs.field(default=False, init=False)
    _commands: list[do.Command] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.speech, self.functions = AgentSpeech(self._do), FunctionCalls(self._do)
        self.turns = CallerTurns(self.settings, self.history, self.speech, self.functions, self._do)
        self._audio_at = self.began
        self._renew_at = self.began + self.settings.session_limit - self.settings.renew_before

    def step(self, event: inputs.Input | Event, now: float) -> tuple[do.Command, ...]:
        """Take one input at monotonic second `now`; gives what is to be done, in order."""
        self.turns.now = now
        if not self.over:
            self._take(event, now)
        elif isinstance(event, inputs.ToolResult):
            self.functions.result(event.call, event.result)
        elif isinstance(event, inputs.Say):
            self._do(do.Decide(event.number, SayOutcome.REFUSED))
        done, self._commands = tuple(self._commands), []
        return done

    def _do(self, command: do.Command) -> None:
        if self.over and not isinstance(command, do.RecordTool | do.Decide):
            return
        if isinstance(command, do.End):
            self.speech.forget_request()
            self.over = True
        self._commands.append(command)

    def _take(self, event: inputs.Input | Event, now: float) -> None:
        match event:
            # --- the call
            case inputs.CallerAudio(pcm, at):
                self.turns.sound.hear(pcm, at)
                self._audio_at = now
            case inputs.CallerWrote(text):
                if text:
                    self.turns.wrote(text)
            case inputs.Say(number, ""):
                self._do(do.Decide(number, SayOutcome.REFUSED))
            case inputs.Say(number, text):
                self.speech.ask(number, text)
                self._do(do.Send(inject_agent_message(text)))
            case inputs.SayOver(number):
                self.speech.give_up(number)
            case inputs.Answer():
                self.speech.release()
                if not self.turns.open:
                    self.functions.confirm()
            case inputs.Interrupt():
                if self.speech.gate is Gate.OPEN:  # else what is held is the answer to the turn that interrupts
                    self.speech.hush()
                    self.speech.forget_request()
            case inputs.Resume():
                self.turns.resume()
            case inputs.ToolResult(call, result):
                if self.functions.result(call, result):
                    self.turns.tool_answered()
            case inputs.Tick():
                self._keep_alive(now)
                self.turns.keep_time()
            case inputs.Lost(reason):
                self._do(do.End(reason))
            case inputs.Closed():
                self.speech.forget_request()
                self.over = True
            # --- Deepgram
            case UserStartedSpeaking():
                self.turns.begins()
            case UserText(text):
                self.turns.words(text)
            case AssistantText(text):
                if self.speech.words(text):
                    self.turns.answered()
            case AgentAudio(pcm):
                if self.speech.audio(pcm):
                    self.turns.answered()
            case AgentThinking():
                self._do(do.Tell(tells.Thinking()))
            case AgentStartedSpeaking(first_token, first_audio):
                self.speech.starts()
                self.turns.time("first_token", first_token)
                self.turns.time("first_audio", first_audio)
            case LatencyReport(transcript, first_token, first_audio):
                self.turns.time("transcript", transcript)
                self.turns.time("first_token", first_token)
                self.turns.time("first_audio", first_audio)
            case AgentAudioDone():
                self.speech.done()
            case FunctionCallRequest(functions):
                for function in functions:
                    # Words that were said before it are told before it.
                    confirmed = not self.turns.open and self.speech.gate is not Gate.HOLDING
                    self.functions.request(function, confirmed=confirmed)
            case FunctionCallCancelled(calls):
                self.functions.cancel(calls)
            case InjectionRefused():
                self.speech.refused()
            case VendorWarning():
                self._warn(event, now)
            case VendorError():
                self._do(do.End(f"Deepgram reports an error: {shown(event, self.conceal)}"))

    def _warn(self, warning: VendorWarning, now: float) -> None:
        if warning.code in INJECTION_WARNINGS:
            self.speech.refused()
        elif warning.code == LIMIT_APPROACHES:
            self._renew_at = min(self._renew_at, now)
        else:
            self._do(do.Tell(tells.Degraded(f"Deepgram warns: {shown(warning, self.conceal)}")))

    def _keep_alive(self, now: float) -> None:
        if now - self._audio_at >= self.settings.keep_alive:
            self._audio_at = now
            self._do(do.Send(KEEP_ALIVE))
        if now >= self._renew_at and not self._renewal_told:
            self._renewal_told = True
            self._do(do.Tell(tells.RenewalDue(self.settings.renew_before)))
