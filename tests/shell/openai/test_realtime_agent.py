"""The OpenAI Realtime agent against a strict fake of the vendor, over real sockets."""

import gc
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import attrs
import numpy as np
import pytest
import trio
import trio.testing

from agentd import session_events as tells
from agentd.agent import AgentSession, Audio, CallInfo, SayOutcome, SegmentStart, ToolDeclaration, UtteranceEnd
from agentd.config.settings import AgentConfig
from agentd.errors import ConfigError, ProviderError, ProviderRejected, ProviderUnavailable
from agentd.history import History, Speaker, ToolUse
from agentd.playout import PlayoutBuffer
from agentd.session_events import SessionEvent
from agentd.testing import clock
from agentd.testing.faults import Fault
from agentd_providers.openai.realtime.agent import RealtimeAgent, open_realtime_agent
from agentd_providers.openai.realtime.audio import RealtimeAudio
from agentd_providers.openai.realtime.session import RealtimeSession
from agentd_providers.openai.realtime.settings import (
    Detection,
    RealtimeAnnouncementSettings,
    RealtimeAudioFormat,
    RealtimeSettings,
    RealtimeTurnSettings,
)
from agentd_providers.shared import SharedServices
from agentd_providers.vendor.voice import VendorVoice
from tests.lab.vendors.http_peer import HttpExchange, open_http_peer
from tests.lab.vendors.peer import WebSocketPeer, open_peer
from tests.lab.vendors.realtime import KEY, RealtimeFake, Reply

pytestmark = pytest.mark.loopback

PATIENCE = 5.0
RATE, FRAME = 8000, 320
CALL = CallInfo("1.1", "100", "Alice", "600")
PROMPT = "You serve {caller_name}."
TOOLS = (ToolDeclaration("get_weather", "Tells the weather."),)
MISSING = "missing_required_parameter"
E = TypeVar("E", bound=SessionEvent)
T = TypeVar("T")
VENDOR_ASKED = RealtimeTurnSettings(vendor_answers=False)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def loud(seconds: float, rate: int = RATE) -> bytes:
    samples = np.arange(round(seconds * rate))
    return (9000 * np.sin(2 * np.pi * 300 * samples / rate)).astype("<i2").tobytes()


@attrs.define(eq=False)
class Talk:
    """A session, the vendor's fake, and a caller's mouth and ears."""

    session: AgentSession
    fake: RealtimeFake
    peer: WebSocketPeer
    playout: PlayoutBuffer
    history: History
    unknown: list[str]
    rate: int = RATE
    events: list[SessionEvent] = attrs.field(factory=list)
    over: bool = False

    # --- the mouth

    def feed(self, pcm: bytes) -> None:
        frame = self.rate // 50 * 2
        for at in range(0, len(pcm), frame):
            self.session.feed(pcm[at : at + frame], trio.current_time())

    def speak(self, seconds: float = 0.4) -> None:
        self.feed(loud(seconds, self.rate))

    def be_silent(self, seconds: float = 0.56) -> None:
        self.feed(bytes(round(seconds * self.rate) * 2))

    def say(self) -> None:
        """A whole turn."""
        self.speak()
        self.be_silent()

    # --- the ears

    def begin_to_hear(self, utterance: int) -> None:
        self.history.agent_speaks(utterance)
        self.session.started(utterance)

    def hear(self, utterance: int, milliseconds: int = 1000, *, completed: bool = True, text: str = "I hear") -> None:
        self.begin_to_hear(utterance)
        self.fall_silent(utterance, milliseconds, completed=completed, text=text)

    def fall_silent(self, utterance: int, milliseconds: int, *, completed: bool = False, text: str = "I hear") -> None:
        self.history.agent_heard(utterance, text, "I hear you.")
        self.session.heard(utterance, milliseconds, completed)

    def interrupt(self) -> None:
        self.session.interrupt()
        self.playout.interrupt()

    def seconds(self, utterance: int) -> float:
        """Audio of an utterance that waits to be heard."""
        return sum(c.seconds for c in self.playout._chunks if isinstance(c, Audio) and c.utterance == utterance)

    @property
    def complete(self) -> list[int]:
        """Utterances whose end is in the playout."""
        return [chunk.utterance for chunk in self.playout._chunks if isinstance(chunk, UtteranceEnd)]

    # --- what was told

    async def settle(self) -> None:
        """Wait until the vendor has taken all that was sent to it, and its answers to that have come."""
        before = len(self.of(tells.Alive))
        self.session.probe()
        await self.until(lambda: len(self.of(tells.Alive)) > before)

    async def answered(self, count: int = 1) -> None:
        """Wait until so many responses are over, and the session knows."""
        await self.until(lambda: len([one for one in self.fake.answers if one.status]) == count)
        await self.settle()

    async def follow(self) -> None:
        async for event in self.session.events:
            self.events.append(event)
        self.over = True

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def words(self, utterance: int) -> str:
        return "".join(event.text for event in self.of(tells.AgentText) if event.utterance == utterance)

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition, self)

    async def ended(self) -> str:
        """Why the session ended; nothing is told after it."""
        await self.until(lambda: self.over)
        assert isinstance(self.events[-1], tells.Ended)
        return self.events[-1].failure

    @property
    def turns(self) -> list[tuple[str, str]]:
        return [(turn.speaker.value, turn.text) for turn in self.history.turns]


async def until(condition: Callable[[], object], shown: object = None) -> None:
    with suppress(trio.TooSlowError):
        await clock.until(condition)
        return
    events = [*shown.events, "RECEIVED", *shown.fake.control, *shown.fake.errors] if isinstance(shown, Talk) else []
    pytest.fail(f"it did not come to it: {events}")


@asynccontextmanager
async def agent_of(
    fake: RealtimeFake | None = None, *, config: AgentConfig | None = None, **settings: Any
) -> AsyncIterator[tuple[RealtimeAgent, RealtimeFake, WebSocketPeer, list[str]]]:
    fake = fake or RealtimeFake()
    unknown: list[str] = []
    async with open_peer(fake.handler, admit=fake.admit) as peer, trio.open_nursery() as nursery:
        shared = SharedServices(nursery, on_unknown=unknown.append)
        given = {"url": f"{peer.url}/v1/realtime", "connect_deadline": 2.0, **settings}
        config = config or AgentConfig(provider="openai_realtime", prompt=PROMPT)
        config = attrs.evolve(config, settings=RealtimeSettings(**given))
        async with open_realtime_agent("cloud", config, shared) as agent:
            yield agent, fake, peer, unknown
        nursery.cancel_scope.cancel()
    gc.collect()  # a socket that nobody closed is an error (filterwarnings)


@asynccontextmanager
async def talking(
    fake: RealtimeFake | None = None,
    *,
    history: History | None = None,
    tools: Sequence[ToolDeclaration] = (),
    rate: int = RATE,
    **settings: Any,
) -> AsyncIterator[Talk]:
    """A call's session. Nothing of it is left afterwards, and the vendor has nothing to complain about its manners."""
    async with agent_of(fake, **settings) as (agent, fake, peer, unknown):
        tasks = trio.lowlevel.current_statistics().tasks_living
        history, playout = history or History(), PlayoutBuffer(seconds=600)
        async with agent.open(attrs.evolve(CALL, rate=rate), history, playout, tools) as session:
            talk = Talk(session, fake, peer, playout, history, unknown, rate)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk.follow)
                yield talk
                nursery.cancel_scope.cancel()
        await until(lambda: not peer.open)
        await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)
        assert fake.breaches == []


# --- opening


async def test_the_settings_are_accepted_before_any_audio() -> None:
    fake = RealtimeFake(update_delay=0.1)
    async with talking(fake, tools=TOOLS) as talk:
        talk.speak(0.1)
        await talk.until(lambda: len(fake.received) == 6)
        assert [message["type"] for _, message in fake.received] == ["session.update"] + 5 * [
            "input_audio_buffer.append"
        ]
        (update,) = fake.of("session.update")
        assert update["session"]["instructions"] == "You serve Alice."
        assert [tool["name"] for tool in update["session"]["tools"]] == ["get_weather"]
        assert fake.errors == []
    assert talk.peer.connections == 1


async def test_a_session_goes_on_where_the_conversation_stopped() -> None:
    history = History()
    history.caller_said("Warm?")
    history.tool_used(ToolUse("get_weather", '{"city":"Bern"}', "7"))
    history.agent_heard(1, "Seven degrees.", "Seven degrees.")
    async with talking(history=history) as talk:
        await talk.until(lambda: len(talk.fake.of("conversation.item.create")) == 4)
        await talk.until(lambda: len(talk.fake.conversation) == 4)
        assert talk.fake.conversation == [
            ("user", "Warm?"),
            ("function_call", 'get_weather {"city":"Bern"}'),
            ("function_call_output", "7"),
            ("assistant", "Seven degrees."),
        ]
        assert talk.fake.errors == []


@pytest.mark.parametrize("late", [False, True], ids=["by HTTP", "by a message"])
async def test_a_wrong_key_is_rejected_and_the_agent_says_so(late: bool) -> None:
    fake = RealtimeFake(key="another", refuse_key_late=late)
    async with agent_of(fake) as (agent, _, _, _):
        with pytest.raises(ProviderRejected, match="refuses our credentials") as caught:
            async with agent.open(CALL, History(), PlayoutBuffer()):
                pytest.fail("it must not open")
        assert KEY not in f"{caught.value!r} {agent!r}"
        assert not agent.readiness.ready
        assert "credentials" in agent.readiness.detail


async def test_settings_that_the_vendor_refuses_are_rejected() -> None:
    tool = ToolDeclaration("get_weather", "Tells the weather.", {"type": "object"})
    async with agent_of(max_output_tokens=9999) as (agent, fake, _, _):
        with pytest.raises(ProviderRejected, match="refuses our settings: invalid_value"):
            async with agent.open(CALL, History(), PlayoutBuffer(), [tool]):
                pytest.fail("it must not open")
        assert fake.errors[0]["param"] == "session.max_output_tokens"


@pytest.mark.parametrize(
    ("fault", "error", "why"),
    [
        (Fault.REFUSED, ProviderRejected, "HTTP 401"),
        (Fault.RATE_LIMITED, ProviderUnavailable, "HTTP 429"),
        (Fault.UNAVAILABLE, ProviderUnavailable, "HTTP 503"),
        (Fault.MUTE, ProviderUnavailable, "within|deadline"),
        (Fault.CLOSE, ProviderUnavailable, "closed by the peer"),
        (Fault.CUT, ProviderUnavailable, "closed by the peer"),
        (Fault.OVERSIZED, ProviderUnavailable, "maximum message size"),
    ],
)
async def test_a_vendor_in_trouble_opens_no_session(fault: Fault, error: type[ProviderError], why: str) -> None:
    async with agent_of(connect_deadline=0.4) as (agent, _, peer, _):
        peer.strike(fault)
        with trio.fail_after(PATIENCE), pytest.raises(error, match=why):
            async with agent.open(CALL, History(), PlayoutBuffer()):
                pytest.fail("it must not open")


async def test_a_vendor_that_never_accepts_the_settings_is_given_up_in_time() -> None:
    async with agent_of(RealtimeFake(update_delay=60), connect_deadline=0.3) as (agent, _, _, _):
        began = trio.current_time()
        with pytest.raises(ProviderUnavailable, match=r"no session was ready within 0\.3 s"):
            async with agent.open(CALL, History(), PlayoutBuffer()):
                pytest.fail("it must not open")
        assert trio.current_time() - began < 1.5


async def test_a_slow_vendor_is_waited_for() -> None:
    async with agent_of() as (agent, fake, peer, _):
        peer.delay = 0.1
        peer.strike(Fault.SLOW)
        async with agent.open(CALL, History(), PlayoutBuffer()) as session:
            assert session.capabilities.takes_turns
            assert fake.control == ["session.update"]


async def test_garbage_before_the_session_is_ready_is_survived() -> None:
    async with agent_of(RealtimeFake(update_delay=0.1)) as (agent, _, peer, unknown):
        peer.strike(Fault.GARBAGE)
        async with agent.open(CALL, History(), PlayoutBuffer()):
            assert unknown == ["openai_realtime"] * 3


async def test_without_a_key_there_is_no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    config = AgentConfig(settings=RealtimeSettings())
    async with trio.open_nursery() as nursery:
        with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
            async with open_realtime_agent("cloud", config, SharedServices(nursery)):
                pytest.fail("it must not open")


@pytest.mark.parametrize(
    ("audio_format", "rates"), [(RealtimeAudioFormat.PCM16, (8000, 16000)), (RealtimeAudioFormat.G711_ALAW, (8000,))]
)
async def test_the_rates_that_a_format_can_carry(audio_format: RealtimeAudioFormat, rates: tuple[int, ...]) -> None:
    async with agent_of(audio=audio_format) as (agent, _, _, _):
        assert tuple(agent.rates) == rates
        assert agent.readiness.ready


# --- a turn and its answer


async def test_a_turn_is_answered() -> None:
    fake = RealtimeFake(transcripts=_queue("What is the time?"), reply=Reply("It is noon.", seconds=1.5))
    async with talking(fake) as talk:
        talk.be_silent(1.0)
        talk.say()
        await talk.until(lambda: talk.complete)
        kinds = [
            type(event)
            for event in talk.events
            if not isinstance(event, tells.AgentText | tells.StageTiming | tells.CallerText)
        ]
        assert kinds == [
            tells.CallerSpeechStarted,
            tells.CallerTakesTurn,
            tells.CallerSpeechEnded,
            tells.Thinking,
            tells.UtteranceStarted,
            tells.UtteranceEnded,
        ]
        assert talk.of(tells.UtteranceStarted) == [tells.UtteranceStarted(1, aside=False)]
        assert talk.words(1) == "It is noon."
        assert talk.seconds(1) == pytest.approx(1.5, abs=0.01)
        assert [text.text for text in talk.of(tells.CallerText)] == ["What is the time?"]
        assert [timing.stage for timing in talk.of(tells.StageTiming)] == ["pause", "endpoint", "first_audio"]
        assert fake.control == ["session.update"], "the vendor answers by itself"


async def test_when_the_caller_spoke_last_is_reckoned_by_the_audio() -> None:
    async with talking() as talk:
        start = 1000.0
        for frame in range(70):  # 0.4 s of speech, then silence, as it arrived
            pcm = loud(0.02) if frame < 20 else bytes(FRAME)
            talk.session.feed(pcm, start + (frame + 1) * 0.02)
        await talk.until(lambda: talk.of(tells.CallerSpeechEnded))
        (ended,) = talk.of(tells.CallerSpeechEnded)
        assert ended.last_speech_at == pytest.approx(min(start + 0.4, ended.at), abs=0.03)


@pytest.mark.parametrize(
    ("audio_format", "rate"),
    [
        (RealtimeAudioFormat.G711_ULAW, 8000),
        (RealtimeAudioFormat.G711_ALAW, 8000),
        (RealtimeAudioFormat.PCM16, 8000),
        (RealtimeAudioFormat.PCM16, 16000),
    ],
)
async def test_what_the_caller_says_and_hears_keeps_its_sound(audio_format: RealtimeAudioFormat, rate: int) -> None:
    async with talking(audio=audio_format, rate=rate) as talk:
        talk.say()
        await talk.until(lambda: talk.complete)
        heard = np.frombuffer(talk.fake.audio, "<i2")
        vendor_rate = 24000 if audio_format is RealtimeAudioFormat.PCM16 else 8000
        assert _pitch(heard[vendor_rate // 10 : vendor_rate // 10 * 3], vendor_rate) == pytest.approx(300, abs=10)
        chunks = [chunk for chunk in talk.playout._chunks if isinstance(chunk, Audio)]
        assert {chunk.rate for chunk in chunks} == {vendor_rate}
        spoken = np.frombuffer(b"".join(chunk.pcm for chunk in chunks), "<i2")
        assert _pitch(spoken[: vendor_rate // 2], vendor_rate) == pytest.approx(440, abs=10)


async def test_words_that_are_known_late_stand_before_their_answer() -> None:
    fake = RealtimeFake(transcripts=_queue("What is the time?"), transcription_delay=0.2)
    async with talking(fake) as talk:
        talk.say()
        await talk.until(lambda: talk.complete)
        assert not talk.of(tells.CallerText)
        talk.hear(1, text="I hear you.")
        await talk.until(lambda: talk.of(tells.CallerText))
        assert talk.turns == [("caller", "What is the time?"), ("agent", "I hear you.")]


async def test_words_that_cannot_be_known_are_told() -> None:
    async with talking(RealtimeFake(transcripts=_queue("(unintelligible)"))) as talk:
        talk.say()
        await talk.until(lambda: talk.of(tells.Degraded))
        assert "could not transcribe" in talk.of(tells.Degraded)[0].reason
        assert talk.turns == []


async def test_an_answer_that_comes_faster_than_it_is_heard_waits_without_holding_up_the_events() -> None:
    fake = RealtimeFake(reply=Reply("A long story.", seconds=60))
    async with talking(fake) as talk:
        talk.playout.seconds = 2.0
        talk.say()
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.seconds(1) <= 2.2
        assert not talk.complete


async def test_semantic_turns() -> None:
    turn = RealtimeTurnSettings(Detection.SEMANTIC_VAD)
    async with talking(turn=turn) as talk:
        talk.speak()
        talk.be_silent(0.7)
        await talk.until(lambda: talk.complete)
        assert talk.session.capabilities.longest_pause > 4
        assert talk.fake.errors == []


async def test_text_is_a_turn_of_the_caller_s() -> None:
    async with talking() as talk:
        talk.session.feed_text("(pressed 4)")
        await talk.until(lambda: talk.complete)
        assert talk.fake.control == ["session.update", "conversation.item.create", "response.create"]
        assert talk.turns == [("caller", "(pressed 4)")]
        assert len(talk.of(tells.CallerSpeechEnded)) == 1


async def test_text_while_the_agent_speaks_is_answered_once_it_gave_way() -> None:
    fake = RealtimeFake(replies=_queue(Reply(seconds=30, pace=1.0), Reply("Four.")))
    async with talking(fake) as talk:
        talk.say()
        await talk.until(lambda: talk.of(tells.UtteranceStarted))
        talk.begin_to_hear(1)
        talk.session.feed_text("(pressed 4)")
        talk.interrupt()
        talk.session.answer()
        talk.fall_silent(1, 200)
        await talk.until(lambda: 2 in talk.complete)
        assert talk.words(2) == "Four."
        await talk.until(lambda: [answer.status for answer in fake.answers] == ["cancelled", "completed"])
        assert fake.errors == []


# --- agentd asks for the answers


async def test_no_answer_before_it_is_asked_for() -> None:
    async with talking(turn=VENDOR_ASKED) as talk:
        assert not talk.session.capabilities.takes_turns
        talk.say()
        await talk.until(lambda: talk.of(tells.CallerSpeechEnded))
        assert not talk.fake.answers
        talk.session.answer()
        await talk.until(lambda: talk.complete)
        assert len(talk.fake.of("response.create")) == 1
        talk.session.answer()
        await talk.until(lambda: len(talk.of(tells.CallerText)) == 1)
        assert len(talk.fake.of("response.create")) == 1, "nothing more is owed"


async def test_agentd_stops_the_answer_that_it_asked_for() -> None:
    fake = RealtimeFake(reply=Reply(seconds=30, pace=1.0))
    async with talking(fake, turn=VENDOR_ASKED) as talk:
        talk.session.feed_text("Tell me a story.")
        talk.session.answer()
        await talk.until(lambda: talk.of(tells.UtteranceStarted))
        talk.begin_to_hear(1)
        talk.speak()
        await talk.until(lambda: talk.of(tells.CallerTakesTurn))
        assert not fake.answers[0].status
        talk.interrupt()
        talk.fall_silent(1, 100)
        await talk.until(lambda: fake.answers[0].status == "cancelled")
        assert len(fake.of("response.cancel")) == 1
        assert fake.errors == []


async def test_an_answer_that_is_withheld_is_not_heard_until_it_is_let_go() -> None:
    async with talking(RealtimeFake(reply=Reply(delay=0.1)), turn=VENDOR_ASKED) as talk:
        talk.session.feed_text("Hello.")
        talk.session.answer()
        talk.session.withhold()
        await talk.answered()
        assert not talk.of(tells.UtteranceStarted)
        talk.session.answer()
        await talk.until(lambda: talk.complete)
        assert talk.words(1) == "I hear you."
        assert talk.seconds(1) == pytest.approx(1.0)


async def test_an_answer_that_is_withheld_and_given_up_is_forgotten() -> None:
    async with talking(
        RealtimeFake(replies=_queue(Reply("One.", delay=0.1), Reply("Two."))), turn=VENDOR_ASKED
    ) as talk:
        talk.session.feed_text("Hello.")
        talk.session.answer()
        talk.session.withhold()
        await talk.answered()
        talk.interrupt()
        talk.session.feed_text("And another thing.")
        talk.session.answer()
        await talk.until(lambda: talk.complete)
        assert talk.words(1) == "Two."


async def test_words_and_an_interruption_in_one_breath_are_answered_once() -> None:
    async with talking(turn=VENDOR_ASKED) as talk:
        talk.session.feed_text("Hello.")
        talk.session.answer()
        talk.interrupt()
        talk.session.answer()
        await talk.until(lambda: talk.complete)
        assert len(talk.fake.answers) == 1


# --- interruptions


async def test_a_caller_who_takes_the_turn_silences_the_vendor() -> None:
    fake = RealtimeFake(replies=_queue(Reply("One two three four.", seconds=30, pace=1.0), Reply("Yes?")))
    async with talking(fake) as talk:
        talk.say()
        await talk.until(lambda: talk.seconds(1) > 0.25)
        talk.begin_to_hear(1)
        talk.speak()
        await talk.until(lambda: len(talk.of(tells.CallerTakesTurn)) == 2)
        before = talk.seconds(1)
        talk.interrupt()
        talk.fall_silent(1, 180)
        talk.be_silent()
        await talk.until(lambda: 2 in talk.complete)
        assert before < 2
        assert talk.words(2) == "Yes?"
        assert "and" not in talk.words(1), "what still came of the old answer is dropped"
        assert fake.answers[0].status == "cancelled"
        (truncate,) = fake.of("conversation.item.truncate")
        assert truncate["audio_end_ms"] == 180
        assert fake.control == ["session.update", "conversation.item.truncate"]
        assert fake.errors == []


@pytest.mark.parametrize("turn", [RealtimeTurnSettings(), VENDOR_ASKED], ids=["the vendor answers", "agentd asks"])
async def test_a_cough_without_words_does_not_cost_the_caller_the_answer(turn: RealtimeTurnSettings) -> None:
    replies = _queue(Reply("One.", delay=30), Reply("It is noon."))
    fake = RealtimeFake(transcripts=_queue("What is the time?", ""), replies=replies)
    async with talking(fake, turn=turn) as talk:
        talk.say()
        await talk.until(lambda: talk.of(tells.CallerSpeechEnded))
        talk.session.answer()
        await talk.until(lambda: fake.answers)
        talk.speak(0.24)
        await talk.until(lambda: len(talk.of(tells.CallerTakesTurn)) == 2)
        talk.session.withhold()
        talk.interrupt()
        talk.be_silent()
        await talk.until(lambda: len(talk.of(tells.CallerSpeechEnded)) == 2)
        talk.session.answer()
        await talk.until(lambda: talk.complete)
        assert [answer.status for answer in fake.answers] == ["cancelled", "completed"]
        assert talk.words(1) == "It is noon."
        assert fake.conversation[:2] == [("user", "What is the time?"), ("user", "")]
        await talk.until(lambda: talk.turns == [("caller", "What is the time?")])
        assert fake.errors == []


async def test_what_had_come_of_protected_words_is_heard_while_the_caller_speaks() -> None:
    fake = RealtimeFake(replies=_queue(Reply("A legal notice.", seconds=30, pace=0.2), Reply("Yes?")))
    async with talking(fake) as talk:
        talk.say()
        await talk.until(lambda: talk.seconds(1) > 0.25)
        talk.begin_to_hear(1)
        talk.say()  # and the call, which protects the words, does not interrupt
        await talk.answered(2)
        assert talk.complete == [1, 2]
        came = talk.seconds(1)
        talk.fall_silent(1, round(came * 1000), completed=True)
        await talk.settle()
        (truncate,) = fake.of("conversation.item.truncate")
        assert truncate["audio_end_ms"] == round(came * 1000)
        assert fake.errors == []


async def test_the_vendor_s_record_is_cut_to_what_was_heard_after_its_answer_was_complete() -> None:
    async with talking(RealtimeFake(reply=Reply("One two three.", seconds=3))) as talk:
        talk.say()
        await talk.until(lambda: talk.complete)
        talk.begin_to_hear(1)
        talk.interrupt()
        talk.fall_silent(1, 1234)
        await talk.until(lambda: talk.fake.control[-1] == "conversation.item.truncate")
        await talk.until(lambda: ("assistant", "") in talk.fake.conversation)
        item = next(item for item in talk.fake.sessions[0].items.values() if item.role == "assistant")
        assert item.audio_ms == 1234


@pytest.mark.parametrize(("milliseconds", "kept"), [(99_999, 1000), (0, None)])
async def test_never_is_more_kept_than_there_is_nor_nothing(milliseconds: int, kept: int | None) -> None:
    async with talking() as talk:
        talk.say()
        await talk.until(lambda: talk.complete)
        talk.hear(1, milliseconds, completed=False)
        kind = "conversation.item.delete" if kept is None else "conversation.item.truncate"
        await talk.until(lambda: talk.fake.of(kind))
        assert talk.fake.of(kind)[0].get("audio_end_ms") == kept
        await talk.settle()
        assert talk.fake.errors == []


async def test_what_was_heard_to_its_end_is_left_alone() -> None:
    async with talking() as talk:
        talk.say()
        await talk.answered()
        talk.hear(1)
        await talk.settle()
        assert set(talk.fake.control) == {"session.update"}


async def test_an_answer_that_nobody_began_to_hear_is_forgotten_and_asked_for_again() -> None:
    fake = RealtimeFake(replies=_queue(Reply("One."), Reply("Two.")))
    async with talking(fake) as talk:
        talk.say()
        await talk.answered()
        talk.interrupt()
        talk.session.answer()
        await talk.answered(2)
        assert talk.words(2) == "Two."
        assert [role for role, _ in fake.conversation] == ["user", "assistant"]
        assert [kind for kind in fake.control if kind != "session.update"] == [
            "conversation.item.delete",
            "response.create",
        ]


async def test_the_vendor_is_told_the_words_that_somebody_else_said() -> None:
    async with talking() as talk:
        talk.hear(talk.playout.number(), text="This call is recorded.")
        talk.say()
        await talk.until(lambda: talk.complete)
        assert talk.fake.conversation[:2] == [("assistant", "This call is recorded."), ("user", "Hello.")]
        assert talk.fake.errors == []


# --- words to say


async def test_words_are_said_as_an_aside() -> None:
    async with talking() as talk:
        assert await talk.session.say("Good morning.") is SayOutcome.REPLACED
        await talk.until(lambda: talk.complete)
        assert talk.of(tells.UtteranceStarted) == [tells.UtteranceStarted(1, aside=True)]
        assert talk.words(1) == "Good morning."
        assert [c.text for c in talk.playout._chunks if isinstance(c, SegmentStart)] == ["Good morning."]
        assert talk.fake.conversation == []
        talk.hear(1, text="Good morning.")
        await talk.until(lambda: talk.fake.conversation == [("assistant", "Good morning.")])


async def test_words_are_refused_while_an_answer_is_in_progress() -> None:
    async with talking(RealtimeFake(reply=Reply(seconds=30, pace=1.0))) as talk:
        talk.say()
        await talk.until(lambda: talk.of(tells.UtteranceStarted))
        assert await talk.session.say("One moment.") is SayOutcome.REFUSED
        assert not talk.fake.of("response.create")


async def test_words_that_nobody_wants_any_more_are_not_said() -> None:
    async with talking(RealtimeFake(reply=Reply(delay=0.2))) as talk, trio.open_nursery() as nursery:
        outcomes: list[SayOutcome] = []

        async def say() -> None:
            outcomes.append(await talk.session.say("Good morning."))

        nursery.start_soon(say)
        await talk.until(lambda: talk.fake.answers)
        talk.interrupt()
        await talk.until(lambda: outcomes == [SayOutcome.REFUSED])
        await talk.until(lambda: talk.fake.answers[0].status == "cancelled")
        assert not talk.of(tells.UtteranceStarted)


async def test_an_answer_waits_for_words_that_are_being_said() -> None:
    fake = RealtimeFake(reply=Reply(seconds=2, pace=0.3))
    async with talking(fake) as talk:
        assert await talk.session.say("A legal notice.") is SayOutcome.REPLACED
        talk.say()
        await talk.until(lambda: len(fake.answers) == 2)
        await talk.until(lambda: talk.complete == [1, 2])
        assert talk.seconds(1) == pytest.approx(2.0, abs=0.01)
        assert talk.seconds(2) == pytest.approx(2.0, abs=0.01)


# --- tools


async def test_tools_are_asked_for_after_the_words_and_their_results_answered_together() -> None:
    asked = Reply("Let me look.", calls=[("get_weather", '{"city":"Bern"}'), ("get_weather", '{"city":"Rome"}')])
    fake = RealtimeFake(replies=_queue(asked, Reply("Seven and twenty.")))
    async with talking(fake, tools=TOOLS) as talk:
        talk.say()
        await talk.until(lambda: len(talk.of(tells.ToolRequested)) == 2)
        first, second = talk.of(tells.ToolRequested)
        assert (first.name, first.arguments) == ("get_weather", '{"city":"Bern"}')
        assert talk.events.index(tells.UtteranceEnded(1)) < talk.events.index(first)
        talk.session.tool_result(second.call, "20")
        await talk.until(lambda: ("function_call_output", "20") in fake.conversation)
        assert not fake.of("response.create")
        talk.session.tool_result(first.call, "7")
        await talk.until(lambda: talk.of(tells.UtteranceStarted)[-1].utterance == 2)
        await talk.until(lambda: talk.words(2) == "Seven and twenty.")
        assert [turn.tool for turn in talk.history.turns if turn.speaker is Speaker.TOOL] == [
            ToolUse("get_weather", '{"city":"Rome"}', "20"),
            ToolUse("get_weather", '{"city":"Bern"}', "7"),
        ]
        assert fake.errors == []
        assert not talk.of(tells.NothingToSay)


async def test_a_result_that_comes_after_an_interruption_is_kept_but_not_spoken_of() -> None:
    fake = RealtimeFake(replies=_queue(Reply("", calls=[("get_weather", "{}")])))
    async with talking(fake, tools=TOOLS) as talk:
        talk.say()
        await talk.until(lambda: talk.of(tells.ToolRequested))
        talk.interrupt()
        talk.session.tool_result(talk.of(tells.ToolRequested)[0].call, "7")
        await talk.until(lambda: ("function_call_output", "7") in fake.conversation)
        await talk.settle()
        assert not fake.of("response.create")


async def test_a_result_while_the_vendor_answers_something_else_is_spoken_of_afterwards() -> None:
    fake = RealtimeFake(
        replies=_queue(Reply("", calls=[("get_weather", "{}")]), Reply("Wait.", seconds=1, pace=0.3), Reply("Seven."))
    )
    async with talking(fake, tools=TOOLS) as talk:
        talk.say()
        await talk.until(lambda: talk.of(tells.ToolRequested))
        talk.say()
        await talk.until(lambda: talk.of(tells.UtteranceStarted))
        talk.session.tool_result(talk.of(tells.ToolRequested)[0].call, "7")
        await talk.until(lambda: talk.words(2) == "Seven.")
        await talk.until(lambda: [answer.status for answer in fake.answers] == ["completed"] * 3)
        assert fake.errors == []


async def test_an_answer_that_collides_with_the_vendor_s_own_comes_after_it() -> None:
    fake = RealtimeFake(replies=_queue(Reply("My own.", delay=0.1), Reply("Four.")))
    async with talking(fake) as talk:
        talk.fake.sessions[0].answer_unasked()
        talk.session.feed_text("(pressed 4)")
        await talk.answered(2)
        assert [error["code"] for error in fake.errors] == ["conversation_already_has_active_response"]
        assert (talk.words(1), talk.words(2)) == ("My own.", "Four.")
        assert not talk.of(tells.Degraded)


async def test_a_result_that_nobody_waits_for_is_not_passed_on() -> None:
    async with talking() as talk:
        talk.session.tool_result("call_99", "7")
        await talk.settle()
        assert "conversation.item.create" not in talk.fake.control


# --- going on in another's place


async def test_a_session_answers_what_another_one_left_open() -> None:
    history = History()
    history.caller_said("What is the time?")
    async with talking(history=history) as talk:
        talk.session.resume()
        await talk.until(lambda: talk.complete)
        assert talk.fake.control == ["session.update", "conversation.item.create", "response.create"]


async def test_a_session_goes_on_with_what_another_one_broke_off() -> None:
    history = History()
    history.caller_said("What is the time?")
    history.agent_heard(1, "It is", "It is noon.")
    async with talking(history=history) as talk:
        talk.session.resume()
        await talk.until(lambda: talk.complete)
        (create,) = talk.fake.of("response.create")
        assert create["response"]["instructions"].startswith("You serve Alice.")
        assert "Go on from where you stopped" in create["response"]["instructions"]


async def test_a_session_with_nothing_left_open_stays_silent() -> None:
    async with talking() as talk:
        talk.session.resume()
        await talk.settle()
        assert not talk.fake.answers


# --- trouble


async def test_one_answer_may_fail_but_not_two() -> None:
    fake = RealtimeFake(reply=Reply(failure="rate_limit_exceeded"))
    async with talking(fake) as talk:
        talk.say()
        await talk.until(lambda: talk.of(tells.AnswerFailed))
        (failed,) = talk.of(tells.AnswerFailed)
        assert "rate_limit_exceeded: It could not answer (sk-***" in failed.reason
        assert not talk.of(tells.Degraded), "it is told once"
        talk.say()
        assert "rate_limit_exceeded" in await talk.ended()


async def test_an_answer_in_between_makes_up_for_a_failure() -> None:
    failing = Reply(failure="server_error")
    fake = RealtimeFake(replies=_queue(failing, Reply(), failing))
    async with talking(fake) as talk:
        for number in (1, 2, 3):
            talk.say()
            await talk.answered(number)
        await talk.until(lambda: len(talk.of(tells.AnswerFailed)) == 2)
        assert not talk.over


async def test_what_was_said_of_an_incomplete_answer_stands() -> None:
    async with talking(RealtimeFake(reply=Reply("One two", incomplete="max_output_tokens"))) as talk:
        talk.say()
        await talk.until(lambda: talk.of(tells.Degraded))
        assert talk.of(tells.Degraded) == [
            tells.Degraded("OpenAI Realtime: an answer is incomplete: max_output_tokens")
        ]
        assert talk.words(1) == "One two"
        assert talk.complete == [1]
        assert talk.of(tells.ReplyCut) == [tells.ReplyCut(tells.Cut.LENGTH)]


@pytest.mark.parametrize(
    ("reason", "cause", "of_this_call"),
    [("max_output_tokens", tells.Cut.LENGTH, False), ("content_filter", tells.Cut.FILTER, True)],
)
async def test_an_incomplete_answer_without_a_word_is_a_failure_and_never_nothing_to_say(
    reason: str, cause: tells.Cut, of_this_call: bool
) -> None:
    """livekit/agents#5808."""
    async with talking(RealtimeFake(reply=Reply("", 0, incomplete=reason))) as talk:
        talk.say()
        await talk.until(lambda: talk.of(tells.AnswerFailed))
        told = tells.AnswerFailed(f"OpenAI Realtime: an answer is incomplete: {reason}", of_this_call)
        assert talk.of(tells.AnswerFailed) == [told]
        assert talk.of(tells.ReplyCut) == [tells.ReplyCut(cause)]
        assert not talk.of(tells.NothingToSay) and not talk.of(tells.Degraded)


async def test_an_answer_without_a_word_is_told() -> None:
    async with talking(RealtimeFake(reply=Reply(""))) as talk:
        talk.say()
        await talk.until(lambda: talk.of(tells.NothingToSay))
        assert not talk.of(tells.UtteranceStarted)


async def test_rate_limits_that_are_nearly_used_up_harm_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async with talking(RealtimeFake(scarce=True)) as talk:
        for number in (1, 2):
            talk.say()
            await talk.answered(number)
        assert not talk.of(tells.Degraded)
    assert capsys.readouterr().out.count("a rate limit is nearly used up") == 1


async def test_a_session_that_has_lasted_too_long_ends_with_the_reason() -> None:
    async with talking() as talk:
        talk.fake.sessions[0].expire()
        assert "session_expired" in await talk.ended()
        talk.session.feed(bytes(FRAME), trio.current_time())
        talk.session.interrupt()
        assert await talk.session.say("Hello?") is SayOutcome.REFUSED


async def test_a_renewal_is_asked_for_in_an_open_session() -> None:
    async with talking(session_minutes=0.005) as talk:
        await talk.until(lambda: talk.of(tells.RenewalDue))
        assert talk.of(tells.RenewalDue) == [tells.RenewalDue(pytest.approx(0.3 / 4))]


def unconnected(**settings: Any) -> RealtimeSession:
    """A session that nothing was sent to, and that sends nothing."""
    audio = RealtimeAudio(RealtimeAudioFormat.PCM16, RATE)
    voice = VendorVoice(PlayoutBuffer(), audio.rate, lambda _event: None)
    socket: Any = None
    return RealtimeSession(
        RealtimeSettings(**settings), History(), socket, audio, voice, PROMPT, lambda _s: None, lambda _v: None
    )


@pytest.mark.parametrize(
    ("expires_in", "after"), [(600, 480), (7200, 3480), (-5, 3480)], ids=["soon", "late", "a clock that is wrong"]
)
async def test_a_renewal_is_asked_for_two_minutes_before_the_limit(
    expires_in: float, after: float, autojump_clock: trio.testing.MockClock
) -> None:
    session, began = unconnected(), trio.current_time()
    await session.ask_for_renewal(time.time() + expires_in)
    assert trio.current_time() - began == pytest.approx(after, abs=1)
    session.close()
    assert [event async for event in session.events] == [tells.RenewalDue(120)]


async def test_a_call_that_takes_no_events_still_hears_of_the_end(autojump_clock: trio.testing.MockClock) -> None:
    session = unconnected()
    for _ in range(600):
        await session.ask_for_renewal(0)
    session._end("the vendor is gone")
    events = [event async for event in session.events]
    assert len(events) <= 512
    assert events[-1] == tells.Ended("the vendor is gone")


@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.CUT, Fault.OVERSIZED])
async def test_a_connection_that_is_lost_in_mid_utterance_ends_the_session_with_the_reason(fault: Fault) -> None:
    async with talking(RealtimeFake(reply=Reply(seconds=30, pace=1.0))) as talk:
        talk.say()
        await talk.until(lambda: talk.seconds(1) > 0.1)
        talk.peer.strike(fault)
        why = await talk.ended()
        assert "OpenAI Realtime: " in why
        assert fault is not Fault.OVERSIZED or "maximum message size" in why


async def test_a_message_that_would_take_long_to_parse_is_not_taken() -> None:
    async with talking() as talk:
        await talk.fake.sessions[0].tell("hologram", data="x" * 500_000)
        await talk.until(lambda: talk.unknown)
        await talk.fake.sessions[0].tell("hologram", data="x" * 530_000)
        assert "maximum message size" in await talk.ended()


async def test_garbage_and_unknown_messages_are_survived_and_counted() -> None:
    async with talking() as talk:
        talk.peer.strike(Fault.GARBAGE)
        await talk.until(lambda: len(talk.unknown) == 3)
        assert set(talk.unknown) == {"openai_realtime"}
        talk.say()
        await talk.until(lambda: talk.complete)


async def test_a_vendor_that_sends_nothing_but_garbage_is_given_up() -> None:
    async with talking() as talk:
        connection = talk.fake.sessions[0].connection
        for _ in range(50):
            await connection.send("}{")
        assert "50 messages in a row could not be read" in await talk.ended()


async def test_a_mute_vendor_answers_no_probe() -> None:
    async with talking() as talk:
        assert talk.session.capabilities.answers_probes
        talk.session.probe()
        await talk.until(lambda: len(talk.of(tells.Alive)) == 1)
        talk.peer.strike(Fault.MUTE)
        talk.session.probe()
        with trio.move_on_after(0.2):
            await talk.until(lambda: len(talk.of(tells.Alive)) == 2)
        assert len(talk.of(tells.Alive)) == 1


async def test_a_slow_vendor_s_answer_is_heard_when_it_comes() -> None:
    async with talking(RealtimeFake(reply=Reply(seconds=0.1))) as talk:
        talk.peer.delay = 0.02
        talk.peer.strike(Fault.SLOW)
        talk.say()
        await talk.until(lambda: talk.complete)
        assert talk.seconds(1) == pytest.approx(0.1)


# --- nothing is left


@pytest.mark.parametrize("patience", [0.0, 0.002, 0.005, 0.01, 0.02, 0.05])
async def test_cancelled_at_any_time_it_leaves_nothing(patience: float) -> None:
    fake = RealtimeFake(reply=Reply(seconds=5, pace=0.5), update_delay=0.005)
    async with agent_of(fake) as (agent, _, peer, _):
        tasks = trio.lowlevel.current_statistics().tasks_living
        with trio.move_on_after(patience) as scope:
            async with agent.open(CALL, History(), PlayoutBuffer()) as session:
                for _ in range(100):
                    session.feed(loud(0.02), trio.current_time())
                await session.say("Good morning.")
                await trio.sleep_forever()
        assert scope.cancelled_caught
        await until(lambda: not peer.open)
        await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)


async def test_a_transcription_goes_without_the_hint_of_a_language_that_its_server_refuses() -> None:
    """It is asked once more, and the next call knows it. (Servers that speak Realtime know no `languages`.)"""
    fake = RealtimeFake(takes_languages=False)
    async with agent_of(fake) as (agent, _, _, _):
        for _ in range(2):
            async with agent.open(CALL, History(), PlayoutBuffer()):
                pass
    sent = [m["session"]["audio"]["input"]["transcription"] for m in fake.of("session.update")]
    assert sent == [{"model": "gpt-transcribe", "languages": ["en"]}, *2 * [{"model": "gpt-transcribe"}]]


# --- announcements


async def test_an_announcement_is_spoken_over_rest() -> None:
    asked: list[tuple[str, Any, str]] = []

    async def speak(exchange: HttpExchange) -> None:
        request = exchange.request
        asked.append((request.path, request.json(), request.headers["authorization"]))
        await exchange.begin(200, "audio/pcm")
        await exchange.send(loud(0.5, 24000)[:-1])
        await exchange.send(loud(0.5, 24000)[-1:])
        await exchange.end()

    async with open_http_peer(speak) as server:
        announcements = RealtimeAnnouncementSettings(base_url=f"{server.url}/v1", model="some-tts")
        async with agent_of(announcements=announcements) as (agent, _, _, _):
            (audio,) = await agent.synthesise("I am sorry.")
    assert audio.rate == 8000
    assert audio.seconds == pytest.approx(0.5, abs=0.01)
    assert _pitch(np.frombuffer(audio.pcm, "<i2"), 8000) == pytest.approx(300, abs=10)
    ((path, body, authorization),) = asked
    assert (path, authorization) == ("/v1/audio/speech", f"Bearer {KEY}")
    assert body == {"model": "some-tts", "voice": "marin", "response_format": "pcm", "input": "I am sorry."}


async def test_without_a_model_for_announcements_there_are_none() -> None:
    async with agent_of(announcements=RealtimeAnnouncementSettings(model="")) as (agent, _, _, _):
        with pytest.raises(ProviderRejected, match="no voice for exact words"):
            await agent.synthesise("I am sorry.")


# --- the fake is strict


async def _told(*messages: dict[str, Any] | str, fake: RealtimeFake | None = None) -> list[str]:
    """What the fake answers to messages sent as they are: the codes of its errors."""
    async with agent_of(fake) as (agent, fake, _, _):
        async with agent.open(CALL, History(), PlayoutBuffer()) as session:
            socket = session.socket  # type: ignore[attr-defined]
            for message in messages:
                socket.send(message)
            session.probe()
            await until(lambda: any(m["session"] == {"type": "realtime"} for m in fake.of("session.update")))
            return [error["code"] for error in fake.errors]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "session.destroy"}, "invalid_value"),
        ({"kind": "session.update"}, "invalid_event"),
        ({"type": "session.update", "session": {"type": "realtime", "voice": "marin"}}, "unknown_parameter"),
        ({"type": "session.update", "session": {"voice": "marin"}}, "unknown_parameter"),
        ({"type": "session.update", "session": {}}, MISSING),
        (
            {"type": "session.update", "session": {"type": "realtime", "tools": [{"name": "x"}]}},
            MISSING,
        ),
        ({"type": "input_audio_buffer.append", "audio": "%"}, "invalid_value"),
        ({"type": "input_audio_buffer.append"}, MISSING),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
        ({"type": "conversation.item.delete", "item_id": "item_9"}, "item_delete_invalid_item_id"),
        ({"type": "response.cancel"}, "response_cancel_not_active"),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "user", "content": [{"type": "text"}]},
            },
            "invalid_value",
        ),
    ],
)
async def test_the_fake_refuses_what_is_not_published(message: dict[str, Any], code: str) -> None:
    assert await _told(message) == [code]


async def test_the_fake_makes_one_answer_at_a_time() -> None:
    create = {"type": "response.create"}
    fake = RealtimeFake(reply=Reply(seconds=5, pace=1.0))
    assert await _told(create, create, fake=fake) == ["conversation_already_has_active_response"]


async def test_the_fake_keeps_no_more_than_it_said() -> None:
    async with talking() as talk:
        talk.say()
        await talk.until(lambda: talk.complete)
        item = next(item for item in talk.fake.sessions[0].items.values() if item.role == "assistant")
        socket = talk.session.socket  # type: ignore[attr-defined]
        message = {"type": "conversation.item.truncate", "item_id": item.id, "content_index": 0, "audio_end_ms": 57340}
        socket.send(message)
        await talk.until(lambda: talk.fake.errors)
        assert talk.fake.errors[0]["message"] == "Audio content of 1000ms is already shorter than 57340ms"
        assert not talk.of(tells.Degraded), "an error that comes of lateness is no harm"


async def test_an_error_that_nobody_expects_is_told() -> None:
    async with talking() as talk:
        talk.session.socket.send({"type": "session.destroy"})  # type: ignore[attr-defined]
        await talk.until(lambda: talk.of(tells.Degraded))
        assert "invalid_value" in talk.of(tells.Degraded)[0].reason
        assert not talk.over


def _queue(*entries: T) -> deque[T]:
    return deque(entries)


def _pitch(samples: "np.ndarray[Any, Any]", rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples.astype(float) * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))
