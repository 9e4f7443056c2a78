"""A Realtime session whose server forgets half of what it has to tell, or tells far too much. The conversation is the
call's own; the clock is nobody's."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import numpy as np
import pytest
import structlog.testing
import trio
import trio.testing
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.agent import SayOutcome
from agentd.conversation import commands as do
from agentd.conversation import events as happens
from agentd.conversation.machine import Agent, Caller, Conversation
from agentd.errors import ProviderUnavailable
from agentd.history import History
from agentd.playout import PlayoutBuffer
from agentd.session_events import SessionEvent
from agentd_providers.openai.realtime.audio import RealtimeAudio
from agentd_providers.openai.realtime.session import RealtimeSession
from agentd_providers.openai.realtime.settings import Detection, RealtimeSettings, RealtimeTurnSettings
from agentd_providers.vendor.voice import VendorVoice

RATE = 8000
SECOND = bytes(2 * 24000)
E = TypeVar("E", bound=SessionEvent)
SERVER, AGENTD = RealtimeTurnSettings(), RealtimeTurnSettings(vendor_answers=False)
EITHER = pytest.mark.parametrize("turn", [SERVER, AGENTD], ids=["the vendor answers", "agentd asks"])


@attrs.define(eq=False)
class Socket:
    """What a session sends, and what it is told; nothing goes over a wire."""

    dropped_audio: int = 0
    dropped_messages: int = 0
    full: bool = False
    sent: list[Any] = attrs.field(factory=list)
    _told: Any = attrs.field(factory=lambda: trio.open_memory_channel[str](5000))

    def send(self, message: Any) -> None:
        if self.full:
            raise ProviderUnavailable("takes no messages")
        self.sent.append(message)

    def send_audio(self, audio: Any) -> None:
        """Nobody listens."""

    async def receive(self) -> str:
        return await self._told[1].receive()  # type: ignore[no-any-return]

    def tell_raw(self, text: str) -> None:
        self._told[0].send_nowait(text)

    def of(self, kind: str) -> list[Any]:
        return [message for message in self.sent if message["type"] == kind]


@attrs.define(eq=False)
class FollowedSession:
    """One session, and the call that follows it."""

    session: RealtimeSession
    socket: Socket
    history: History
    unknown: list[str]
    conversation: Conversation = attrs.field(factory=Conversation)
    events: list[SessionEvent] = attrs.field(factory=list)
    times: list[float] = attrs.field(factory=list)

    async def follow(self) -> None:
        self.conversation.step(happens.Connected())
        async for event in self.session.events:
            self.events.append(event)
            self.times.append(trio.current_time())
            for command in self.conversation.step(event).commands:
                match command:
                    case do.Answer():
                        self.session.answer()
                    case do.Withhold():
                        self.session.withhold()
                    case do.Interrupt():
                        self.session.interrupt()

    async def tell(self, kind: str, **fields: Any) -> None:
        """The server tells something, and it is acted upon."""
        self.socket.tell_raw(json.dumps({"type": kind, **fields}))
        await trio.testing.wait_all_tasks_blocked()

    async def starts(self) -> None:
        await self.tell("input_audio_buffer.speech_started", item_id="i", audio_start_ms=0)

    async def stops(self) -> None:
        await self.tell("input_audio_buffer.speech_stopped", item_id="i", audio_end_ms=0)

    async def creates(self, response: str, tag: str = "") -> None:
        await self.tell("response.created", response={"id": response, "metadata": {"agentd": tag} if tag else None})

    async def speaks(self, response: str, words: str = "", pcm: bytes = SECOND) -> None:
        delta = base64.b64encode(pcm).decode()
        where = {"response_id": response, "item_id": f"item of {response}"}
        await self.tell("response.output_audio_transcript.delta", delta=words, **where)
        await self.tell("response.output_audio.delta", delta=delta, **where)

    async def ends(self, response: str, status: str = "completed", *calls: str) -> None:
        output = [{"type": "function_call", "call_id": call, "name": "tool", "arguments": "{}"} for call in calls]
        await self.tell("response.done", response={"id": response, "status": status, "output": output})

    async def asks(self) -> None:
        """A question of the caller's, of which an answer is being prepared."""
        await self.starts()
        await self.stops()
        await self.creates("r1", self.asked[-1] if self.asked else "")
        assert self.conversation.agent is Agent.PREPARING

    async def coughs(self) -> None:
        """A sound stops the answer; where the server answers by itself, it has stopped it too."""
        await self.starts()
        await self.ends("r1", "cancelled")
        assert self.conversation.agent is Agent.IDLE

    async def feed(self, seconds: float, *, loud: bool = False) -> None:
        samples = 9000 * np.sin(2 * np.pi * 300 * np.arange(160) / RATE)
        frame = samples.astype("<i2").tobytes() if loud else bytes(320)
        for _ in range(round(seconds * 50)):
            await trio.sleep(0.02)
            self.session.feed(frame, trio.current_time())

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def time_of(self, kind: type[SessionEvent]) -> float:
        return next(at for at, event in zip(self.times, self.events, strict=True) if isinstance(event, kind))

    @property
    def asked(self) -> list[str]:
        """The tags of the answers that were asked for."""
        return [message["event_id"] for message in self.socket.of("response.create")]


@asynccontextmanager
async def talking(turn: RealtimeTurnSettings = SERVER) -> AsyncIterator[FollowedSession]:
    settings, history, unknown = RealtimeSettings(turn=turn), History(), list[str]()
    socket: Any = Socket()
    audio = RealtimeAudio(settings.audio, RATE)
    voice = VendorVoice(PlayoutBuffer(seconds=600), audio.rate, lambda _event: None)
    session = RealtimeSession(settings, history, socket, audio, voice, "Be kind.", lambda _s: None, unknown.append)
    talk = FollowedSession(session, socket, history, unknown)
    async with trio.open_nursery() as nursery:
        for task in (session.run, voice.run, talk.follow):
            nursery.start_soon(task)
        await trio.testing.wait_all_tasks_blocked()
        yield talk
        nursery.cancel_scope.cancel()


# --- turns whose end is not told


@pytest.mark.parametrize(
    ("turn", "within"), [(SERVER, 3.5), (RealtimeTurnSettings(Detection.SEMANTIC_VAD), 7)], ids=["server", "semantic"]
)
async def test_a_turn_whose_end_is_never_told_is_none_once_the_caller_has_been_quiet(
    turn: RealtimeTurnSettings, within: float, autojump_clock: MockClock
) -> None:
    async with talking(turn) as talk:
        await talk.starts()
        assert talk.conversation.caller is Caller.SPEAKING
        await talk.feed(5, loud=True)
        assert not talk.of(tells.CallerSpeechDismissed)
        quiet_since = trio.current_time()
        await talk.feed(within + 1)
        assert talk.time_of(tells.CallerSpeechDismissed) - quiet_since == pytest.approx(within, abs=0.3)
        assert talk.conversation.caller is Caller.SILENT
        assert not talk.asked, "nothing is owed"


async def test_a_turn_that_is_loud_for_ever_is_none_after_a_minute(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.starts()
        began = trio.current_time()
        await talk.feed(61, loud=True)
        assert talk.time_of(tells.CallerSpeechDismissed) - began == pytest.approx(60, abs=0.3)
        assert len(talk.of(tells.CallerSpeechDismissed)) == 1


@EITHER
async def test_the_end_of_a_turn_that_is_told_late_counts_all_the_same(
    turn: RealtimeTurnSettings, autojump_clock: MockClock
) -> None:
    async with talking(turn) as talk:
        await talk.starts()
        await trio.sleep(10)
        assert talk.of(tells.CallerSpeechDismissed)
        await talk.stops()
        assert talk.conversation.agent is Agent.PREPARING
        await trio.sleep(10)
        assert len(talk.of(tells.CallerSpeechDismissed)) == 1
        assert len(talk.asked) == 1


# --- a cough while an answer is prepared


@EITHER
async def test_a_cough_whose_end_is_never_told_does_not_cost_the_caller_the_answer(
    turn: RealtimeTurnSettings, autojump_clock: MockClock
) -> None:
    async with talking(turn) as talk:
        await talk.asks()
        before = len(talk.asked)
        await talk.coughs()
        assert len(talk.asked) == before, "nobody is talked over"
        await trio.sleep(10)
        assert talk.of(tells.CallerSpeechDismissed)
        assert len(talk.asked) == before + 1
        await talk.creates("r2", talk.asked[-1])
        await talk.speaks("r2", "It is noon.")
        await talk.ends("r2")
        await trio.sleep(10)
        assert [event.text for event in talk.of(tells.AgentText)] == ["It is noon."]
        assert len(talk.asked) == before + 1


@EITHER
async def test_a_cough_without_words_is_followed_by_the_answer_that_it_stopped(
    turn: RealtimeTurnSettings, autojump_clock: MockClock
) -> None:
    async with talking(turn) as talk:
        await talk.asks()
        before = len(talk.asked)
        await talk.coughs()
        await talk.stops()
        assert talk.conversation.agent is Agent.PREPARING
        await talk.tell("conversation.item.input_audio_transcription.completed", item_id="i", transcript="")
        assert len(talk.asked) == before + (not turn.vendor_answers), "the vendor answers by itself, or is asked to"
        await talk.creates("r2", talk.asked[-1] if talk.asked else "")
        await talk.speaks("r2", "It is noon.")
        assert [event.text for event in talk.of(tells.AgentText)] == ["It is noon."]
        assert talk.history.turns == []


async def test_an_answer_that_the_server_does_not_begin_by_itself_is_asked_for(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.starts()
        await talk.stops()
        assert not talk.asked
        await trio.sleep(3.5)
        assert len(talk.asked) == 1
        await talk.creates("r1", talk.asked[0])
        await trio.sleep(10)
        assert len(talk.asked) == 1


@pytest.mark.parametrize("early", [True, False], ids=["during the cough", "afterwards"])
@EITHER
async def test_a_tool_that_was_at_work_when_the_caller_coughed_is_spoken_of(
    turn: RealtimeTurnSettings, early: bool, autojump_clock: MockClock
) -> None:
    async with talking(turn) as talk:
        await talk.asks()
        await talk.ends("r1", "completed", "call_1")
        assert talk.of(tells.ToolRequested)
        before = len(talk.asked)
        await talk.starts()
        if early:
            talk.session.tool_result("call_1", "7")
        await trio.sleep(5)
        assert talk.of(tells.CallerSpeechDismissed)
        assert len(talk.asked) == before + early
        if not early:
            talk.session.tool_result("call_1", "7")
        assert len(talk.asked) == before + 1


# --- what is too much


async def test_a_peer_s_flood_of_bad_messages_is_told_in_a_few_lines_without_a_word_of_them(
    autojump_clock: MockClock,
) -> None:
    with structlog.testing.capture_logs() as entries:
        async with talking() as talk:
            for _ in range(20):
                await talk.tell("session.created", session={"id": "secret"})
                talk.socket.tell_raw("{secret")
                await talk.tell("response.done", response="secret")
                await talk.tell("response.done", response=["secret"] * 1000)
                await talk.tell("secret")
            assert len(talk.unknown) == 100
            assert not talk.of(tells.Ended)
            for _ in range(60):
                await talk.tell("session.created", session={"id": "secret"})
            assert talk.of(tells.Ended) == [tells.Ended("OpenAI Realtime: 50 messages in a row could not be read")]
    told = [entry for entry in entries if entry["log_level"] != "debug"]
    assert len(told) == 4
    assert "secret" not in str(told)


async def test_the_same_trouble_again_and_again_is_told_once(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        for _ in range(100):
            await talk.tell("error", error={"type": "invalid_request_error", "code": "odd", "message": "no"})
            await talk.tell("conversation.item.input_audio_transcription.failed", item_id="i", error={"message": "no"})
        assert len(talk.of(tells.Degraded)) == 2


async def test_messages_that_found_no_room_are_told_once(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await trio.sleep(1)
        assert not talk.of(tells.Degraded)
        for _ in range(3):
            talk.socket.dropped_messages += 1
            await trio.sleep(1)
        assert ["some of it is lost" in event.reason for event in talk.of(tells.Degraded)] == [True]


# --- what others have said, and what cannot be said


@pytest.mark.parametrize("utterance", [0, -1, 7, 99])
async def test_utterances_that_are_nobody_s_are_passed_over(utterance: int, autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.history.caller_said("Hello?")
        talk.history.agent_speaks(7)  # an earlier session's, of which nothing is known
        talk.session.started(utterance)
        talk.session.heard(utterance, 500, False)
        talk.session.heard(utterance, 500, True)
        await talk.asks()
        talk.session.started(utterance)
        await talk.coughs()
        await trio.sleep(10)
        assert [message["type"] for message in talk.socket.sent] == ["response.create"], "the answer is still owed"


async def test_words_that_cannot_be_sent_are_refused_and_raise_nothing(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.socket.full = True
        assert await talk.session.say("Good morning.") is SayOutcome.REFUSED
        await trio.testing.wait_all_tasks_blocked()
        assert talk.of(tells.Ended) == [tells.Ended("takes no messages")]
        assert await talk.session.say("Good morning.") is SayOutcome.REFUSED


async def test_a_turn_is_over_as_soon_as_that_is_told(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.starts()
        await talk.feed(0.5, loud=True)
        await talk.stops()
        await trio.sleep(90)
        assert len(talk.of(tells.CallerSpeechEnded)) == 1
        assert not talk.of(tells.CallerSpeechDismissed)
