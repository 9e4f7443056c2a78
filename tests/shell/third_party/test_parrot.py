"""The example of a provider meets the contract: it hears, answers, gives way, stands in for others, and ends."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import numpy as np
import pytest
import structlog.testing
import trio
import trio.testing

from agentd import agent, session_events
from agentd.history import History, Speaker, Turn
from agentd.playout import PlayoutBuffer
from agentd_providers.event_queue import EVENT_QUEUE
from tests.parrot.agentd_parrot.agent import Parrot, ParrotSession, Settings

RATE, FRAME = 8000, 0.02
SPEECH = (8000 * np.sin(np.arange(160) * 0.4)).astype("<i2").tobytes()
SILENCE = bytes(320)


@attrs.define
class TalkingParrot:
    """A call with the parrot, and what it has told so far."""

    session: ParrotSession
    history: History
    playout: PlayoutBuffer
    now: float = 0.0

    def hear(self, seconds: float, frame: bytes = SPEECH) -> None:
        for _ in range(round(seconds / FRAME)):
            self.now += FRAME
            self.session.feed(frame, self.now)

    def told(self) -> list[object]:
        events: list[object] = []
        while True:
            try:
                events.append(self.session.events.receive_nowait())
            except trio.WouldBlock:
                return events

    async def said(self) -> bytes:
        """The sound of the next utterance in the playout."""
        with trio.fail_after(1):
            stream = await self.playout.next_utterance()
            chunks = []
            while (chunk := await stream.next()) is not None:
                chunks.append(chunk)
        return b"".join(chunk.pcm for chunk in chunks if isinstance(chunk, agent.Audio))


@asynccontextmanager
async def parrot(*turns: Turn) -> AsyncIterator[TalkingParrot]:
    history, playout = History(list(turns)), PlayoutBuffer()
    async with Parrot(Settings()).open(agent.CallInfo("call", rate=RATE), history, playout) as session:
        assert isinstance(session, ParrotSession)
        yield TalkingParrot(session, history, playout)


async def test_what_the_caller_said_is_said_back_once_it_may_be() -> None:
    async with parrot() as polly:
        polly.hear(1.0)
        polly.hear(0.8, SILENCE)
        started, takes, words, ended = polly.told()
        await trio.testing.wait_all_tasks_blocked()
        assert polly.playout.empty
        polly.session.answer()
        assert await polly.said() == SPEECH * 50
        utterance, *_ = polly.told()
    assert started == session_events.CallerSpeechStarted(pytest.approx(FRAME))
    assert isinstance(takes, session_events.CallerTakesTurn)
    assert takes.at == pytest.approx(0.2)
    assert words == session_events.CallerText("(1.0 seconds of speech)")
    assert ended == session_events.CallerSpeechEnded(pytest.approx(1.7), pytest.approx(1.0))
    assert utterance == session_events.UtteranceStarted(1)
    assert [turn.text for turn in polly.history.turns] == ["(1.0 seconds of speech)"]


async def test_a_click_is_nothing() -> None:
    async with parrot() as polly:
        polly.hear(0.04)
        polly.hear(0.8, SILENCE)
        assert [type(event).__name__ for event in polly.told()] == ["CallerSpeechStarted", "CallerSpeechDismissed"]
        assert polly.history.turns == []


async def test_a_hesitation_belongs_to_the_turn() -> None:
    async with parrot() as polly:
        polly.hear(0.4)
        polly.hear(0.6, SILENCE)
        polly.hear(0.4)
        polly.hear(0.8, SILENCE)
        polly.session.answer()
        assert await polly.said() == SPEECH * 20 + SILENCE * 30 + SPEECH * 20


async def test_a_caller_who_never_stops_is_answered_all_the_same() -> None:
    async with parrot() as polly:
        polly.hear(20.1)
        assert isinstance(polly.told()[-2], session_events.CallerSpeechEnded)


async def test_an_interruption_ends_what_is_said_and_not_what_will_be() -> None:
    async with parrot() as polly:
        await polly.session.say("a long story")
        polly.hear(1.0)
        polly.hear(0.8, SILENCE)
        polly.session.interrupt()
        polly.playout.interrupt()
        polly.session.answer()
        assert await polly.said() == SPEECH * 50


async def test_it_stands_in_for_another_agent() -> None:
    async with parrot(Turn(Speaker.AGENT, "Hello"), Turn(Speaker.CALLER, "What is the time?")) as polly:
        polly.session.resume()
        assert len(await polly.said()) == pytest.approx(4 * 0.3 * RATE * 2)
        assert [type(event).__name__ for event in polly.told()] == ["UtteranceStarted", "AgentText", "UtteranceEnded"]


async def test_where_nothing_is_open_it_says_nothing() -> None:
    async with parrot() as polly:
        polly.session.resume()
        polly.session.probe()
        assert polly.told() == [
            session_events.NothingToSay("the history leaves nothing open"),
            session_events.Alive(),
        ]


async def test_what_means_nothing_to_it_does_nothing() -> None:
    async with parrot() as polly:
        polly.session.feed_text("words")
        polly.session.feed_digits("1")
        polly.session.withhold()
        polly.session.started(1)
        polly.session.heard(1, 100, True)
        polly.session.tool_result("call", "result")
        assert polly.told() == []


async def test_a_call_that_takes_no_events_never_makes_it_raise() -> None:
    with structlog.testing.capture_logs() as logs:
        async with parrot() as polly:
            for _ in range(EVENT_QUEUE // 4 + 1):
                polly.hear(0.4)
                polly.hear(0.8, SILENCE)
            polly.session.answer()
            await polly.session.say("hello")
            polly.session.interrupt()
            polly.session.resume()
            polly.session.probe()
            assert len(polly.told()) == EVENT_QUEUE - 1, "the last place is for the end"
            polly.session.probe()
            assert polly.told() == [session_events.Alive()]
    assert {line["event"] for line in logs} == {"session events found their queue full and were dropped"}


async def test_its_whistles_are_loud_enough_to_be_heard() -> None:
    (audio,) = await Parrot(Settings()).synthesise("Hello there")
    assert audio.seconds == pytest.approx(0.6)
    assert 20 * math.log10(max(np.abs(np.frombuffer(audio.pcm, "<i2"))) / 32768) > -20
