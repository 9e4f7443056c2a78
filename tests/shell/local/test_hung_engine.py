"""What callers meet when the engine that they share hangs: calls of a pipeline, in virtual time."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.agent import Agent, CallInfo
from agentd.deadlines import ENGINE_JOB, SESSION_STUCK
from agentd.history import History
from agentd.playout import PlayoutBuffer
from agentd_providers.local import piper, worker
from agentd_providers.local.engines import PiperVoice
from agentd_providers.local.hung import IDLE_LOOKS, LOOK_EVERY
from agentd_providers.local.process_watch import EngineLost, ProcessWatch
from agentd_providers.local.worker import open_worker
from tests.shell.pipeline.test_pipeline_agent import FakeStages

CALLS = 6
STARTS, LOADS, SPEAKS = 0.7, 1.0, 0.15
"""Seconds that a process takes to start, to load its voice, and to speak a clause."""


@attrs.define(eq=False)
class Host:
    """Where engines run; the next job hangs for `hangs_for` seconds, as one is found to hang."""

    hangs_for: float | None = None
    lost: int = 0

    @asynccontextmanager
    async def context(self, **_settings: Any) -> AsyncIterator["Host"]:
        yield self


@attrs.define(eq=False)
class StandIn:
    """A process that is none. See agentd_providers.local.engine_process.EngineProcess."""

    host: Host
    alive: bool = False
    watch: ProcessWatch = attrs.field(factory=ProcessWatch)

    async def start(self) -> None:
        await trio.sleep(STARTS)
        self.alive = True

    async def ask(self) -> None:
        await trio.lowlevel.checkpoint()

    async def do(
        self, function: Callable[..., Any], args: tuple[Any, ...], limit: float, *, watched: bool = True
    ) -> Any:
        if not watched:
            await trio.sleep(LOADS)
            return None
        hangs_for, self.host.hangs_for = self.host.hangs_for, None
        if hangs_for is not None:
            await trio.sleep(hangs_for)
            self.alive, self.host.lost = False, self.host.lost + 1
            raise EngineLost("hung")
        await trio.sleep(SPEAKS)
        return function(*args)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(worker, "EngineProcess", StandIn)
    monkeypatch.setattr(worker.trio_parallel, "open_worker_context", host.context)
    monkeypatch.setattr(piper, "synthesise", lambda *args: b"\x10\x10" * 800)
    return host


async def answer(agent: Agent) -> tells.SessionEvent:
    """How a call's turn ends. A call whose agent says nothing for as long as SESSION_STUCK gives it up."""
    async with agent.open(CallInfo("1.1"), History(), PlayoutBuffer(1000.0)) as session:
        session.feed_text("hello")
        session.answer()
        events = aiter(session.events)
        while True:
            with trio.fail_after(SESSION_STUCK.seconds):
                event = await anext(events)
            if isinstance(event, tells.UtteranceEnded | tells.AnswerFailed):
                return event


@pytest.mark.parametrize("found_after", [IDLE_LOOKS * LOOK_EVERY, ENGINE_JOB.most])
async def test_a_hung_job_costs_one_answer_and_no_call_its_agent(
    host: Host, autojump_clock: MockClock, found_after: float
) -> None:
    """Every call lost its agent 10 s after its engine had begun to hang, the next one 10 s later, and ended."""
    stages, ends = FakeStages(distant=False), list[tells.SessionEvent]()
    async with open_worker("tts", lambda engine: None) as engine:
        stages.speak.stage = PiperVoice(engine, "voice", 1, 1.0)
        async with stages.agent() as agent:

            async def call() -> None:
                ends.append(await answer(agent))

            host.hangs_for = found_after
            async with trio.open_nursery() as calls:
                for _ in range(CALLS):
                    calls.start_soon(call)
            assert host.lost == 1
            assert [type(end) for end in ends].count(tells.AnswerFailed) == 1
            assert [type(end) for end in ends].count(tells.UtteranceEnded) == CALLS - 1
            assert agent.readiness.ready
