"""Whatever the server tells and the call asks for, in whatever order: a Realtime session's answers keep their rules."""

from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from agentd.history import History
from agentd.playout import PlayoutBuffer
from agentd.session_events import SessionEvent, ToolRequested, UtteranceEnded, UtteranceStarted
from agentd_providers.openai.realtime.answers import RealtimeAnswers
from agentd_providers.openai.realtime.audio import RealtimeAudio
from agentd_providers.openai.realtime.events import (
    AudioDelta,
    FunctionCall,
    ItemDone,
    ResponseCreated,
    ResponseDone,
    TranscriptDelta,
    VendorError,
)
from agentd_providers.openai.realtime.settings import RealtimeAudioFormat
from agentd_providers.vendor.voice import VendorVoice

RESPONSES, ITEMS = ["r1", "r2", "r3"], ["i1", "i2"]
responses, items = st.sampled_from(RESPONSES), st.sampled_from(ITEMS)
calls = st.lists(st.builds(FunctionCall, st.sampled_from(["c1", "c2"]), st.just("tool"), st.just("{}")), max_size=2)
server = (
    st.builds(ResponseCreated, responses, st.sampled_from(["", "its tag"]))
    | st.builds(AudioDelta, responses, items, st.just(bytes(480)))
    | st.builds(TranscriptDelta, responses, items, st.just("word "))
    | st.builds(ItemDone, responses, items)
    | st.builds(
        ResponseDone,
        responses,
        st.sampled_from(["completed", "cancelled", "failed", "incomplete"]),
        calls=calls.map(tuple),
    )
    | st.builds(
        VendorError,
        st.just("invalid_request_error"),
        st.sampled_from(["conversation_already_has_active_response", "other"]),
        st.just("words"),
        cause=st.sampled_from(["", "its tag"]),
    )
)
call = st.sampled_from(
    ["ask", "answer", "withhold", "interrupt", "began", "ended", "wrote", "started", "heard", "result", "wait"]
)


class Scene:
    """The answers of one session, with a server and a call that do as they please."""

    def __init__(self, vendor_answers: bool) -> None:
        self.sent: list[Any] = []
        self.events: list[SessionEvent] = []
        self.failures: list[str] = []
        self.pending = 0
        """Answers that were asked for and that the server has said nothing to."""
        audio = RealtimeAudio(RealtimeAudioFormat.PCM16, 8000)
        voice = VendorVoice(PlayoutBuffer(), audio.rate, self.events.append)
        self.answers = RealtimeAnswers(
            History(), voice, audio, vendor_answers, self.send, self.events.append, self.failures.append
        )

    def send(self, message: Any) -> None:
        self.sent.append(message)
        if message["type"] == "response.create":
            assert not self.answers.caller_speaks, "nobody is talked over"
            assert not self.pending, "one answer is asked for at a time"
            self.pending += 1
        if message["type"] == "conversation.item.truncate":
            assert message["audio_end_ms"] > 0

    @property
    def tag(self) -> str:
        asked = [message["event_id"] for message in self.sent if message["type"] == "response.create"]
        return asked[-1] if asked else ""

    async def step(self, what: object) -> None:
        answers, number = self.answers, self.answers.voice.utterance or 1
        match what:
            case ResponseCreated(response, tag):
                self.pending = 0
                answers.on_created(ResponseCreated(response, self.tag if tag else ""))
            case VendorError(kind, code, message):
                self.pending = 0
                answers.on_error(VendorError(kind, code, message, cause=self.tag if what.cause else ""))
            case AudioDelta() | TranscriptDelta() | ItemDone() | ResponseDone():
                self.pending = 0 if isinstance(what, ResponseDone) else self.pending
                answers.on_response(what)
            case "ask":
                answers.ask()
            case "answer":
                answers.answer()
            case "withhold":
                answers.withhold()
            case "interrupt":
                answers.interrupt()
                assert not answers.voice.utterance, "nothing goes on"
            case "began":
                answers.caller_begins()
            case "ended":
                answers.caller_ends()
            case "wrote":
                answers.caller_wrote()
            case "started":
                answers.started(number)
            case "heard":
                answers.heard(number, 5, False)
            case "result":
                for event in self.events:
                    if isinstance(event, ToolRequested):
                        answers.tool_result(event.call, "42")
            case "wait":
                await trio.sleep(1)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(vendor_answers=st.booleans(), script=st.lists(server | call, max_size=30))
def test_whatever_happens_the_rules_are_kept(vendor_answers: bool, script: list[object]) -> None:
    async def run() -> None:
        scene = Scene(vendor_answers)
        for what in script:
            await scene.step(what)
            begun = [event.utterance for event in scene.events if isinstance(event, UtteranceStarted)]
            ended = [event.utterance for event in scene.events if isinstance(event, UtteranceEnded)]
            assert begun[: len(ended)] == ended, "one utterance at a time, each ended once"
            assert len(begun) - len(ended) == bool(scene.answers.voice.utterance)
        outputs = [m["item"]["call_id"] for m in scene.sent if m.get("item", {}).get("type") == "function_call_output"]
        asked = [event.call for event in scene.events if isinstance(event, ToolRequested)]
        assert len(outputs) <= len(asked)

    trio.run(run, clock=MockClock(autojump_threshold=0))
