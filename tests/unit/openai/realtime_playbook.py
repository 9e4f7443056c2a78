"""A Realtime session's machine, played from a script: what comes in, and what it wants done."""

from typing import Any, TypeVar

import attrs

from agentd.history import History
from agentd.session_events import SessionEvent
from agentd_providers.openai.realtime.audio import RealtimeAudio
from agentd_providers.openai.realtime.events import (
    AudioDelta,
    Event,
    FunctionCall,
    ItemDone,
    ResponseCreated,
    ResponseDone,
    SpeechStarted,
    SpeechStopped,
    TranscriptDelta,
)
from agentd_providers.openai.realtime.machine import RealtimeMachine
from agentd_providers.openai.realtime.settings import RealtimeAudioFormat, RealtimeTurnSettings
from agentd_providers.vendor import commands as do
from agentd_providers.vendor import inputs

SERVER, AGENTD = RealtimeTurnSettings(), RealtimeTurnSettings(vendor_answers=False)
SECOND = bytes(2 * 24000)
C = TypeVar("C", bound=do.Command)
E = TypeVar("E", bound=SessionEvent)


@attrs.define(eq=False)
class Playbook:
    """One session's machine. `on` takes one step; all commands since the beginning stay in `done`."""

    turn: RealtimeTurnSettings = SERVER
    now: float = 100.0
    history: History = attrs.field(factory=History)
    machine: RealtimeMachine = attrs.field(init=False)
    done: list[do.Command] = attrs.field(factory=list, init=False)
    _numbered: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        audio = RealtimeAudio(RealtimeAudioFormat.PCM16, 8000)
        self.machine = RealtimeMachine(self.turn, "Be kind.", self.history, audio, self._number)

    def _number(self) -> int:
        self._numbered += 1
        return self._numbered

    def on(self, *events: inputs.Input | Event) -> list[do.Command]:
        """What is to be done because of events that come one after the other, at the same time."""
        commands = [command for event in events for command in self.machine.step(event, self.now)]
        for command in commands:
            match command:
                case do.RecordCaller(text, place):
                    self.history.caller_said(text, place)
                case do.RecordTool(use):
                    self.history.tool_used(use)
        self.done += commands
        return commands

    def wait(self, seconds: float) -> list[do.Command]:
        """What is to be done because time passes."""
        self.now += seconds
        return self.on(inputs.Tick())

    # --- scenes

    def question(self) -> list[do.Command]:
        """A whole turn of the caller's, by voice."""
        return self.on(SpeechStarted("i", 0), SpeechStopped("i", 0))

    def answer(self, response: str = "r1") -> list[do.Command]:
        """The answer that was asked for last begins, or one of the server's own."""
        return self.on(ResponseCreated(response, self.asked[-1] if self.asked else ""))

    def voice(self, response: str = "r1", words: str = "", audio: bytes = SECOND) -> list[do.Command]:
        """Words and audio of a response."""
        item = f"item of {response}"
        return self.on(TranscriptDelta(response, item, words), AudioDelta(response, item, audio))

    def end(self, response: str = "r1", status: str = "completed", *calls: str) -> list[do.Command]:
        """A response, and its item, is over. `calls`: the tools that it asks for."""
        functions = tuple(FunctionCall(call, "tool", "{}") for call in calls)
        return self.on(ItemDone(response, f"item of {response}"), ResponseDone(response, status, calls=functions))

    # --- what was done

    def of(self, kind: type[C]) -> list[C]:
        """The commands of a kind."""
        return [command for command in self.done if isinstance(command, kind)]

    def told(self, kind: type[E]) -> list[E]:
        """The events of a kind that the call was told."""
        return [command.event for command in self.of(do.Tell) if isinstance(command.event, kind)]

    def sent(self, kind: str) -> list[Any]:
        """The messages of a type that were sent."""
        return [command.message for command in self.of(do.Send) if command.message["type"] == kind]

    @property
    def asked(self) -> list[str]:
        """The tags of the answers that were asked for."""
        return [m["event_id"] for m in self.sent("response.create") if "conversation" not in m["response"]]
