"""Agents and their sessions as agentd uses them: code that may be anybody's, and may raise anything anywhere.

An agent that raises is not ready. A session that raises has failed: nothing is asked of it any more, and whoever has it
open is told once.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, TypeVar

import attrs
import structlog
import trio

from agentd.agent import (
    Agent,
    AgentSession,
    Audio,
    CallInfo,
    Capabilities,
    Playout,
    Readiness,
    SayOutcome,
    ToolDeclaration,
)
from agentd.errors import Failure, ProviderError, ProviderUnavailable, contained
from agentd.history import History
from agentd.session_events import SessionEvent

log = structlog.get_logger("agentd.roster")

T = TypeVar("T")
NARROW: Final = (8000,)
Failures = (Exception, SystemExit)


@attrs.define(eq=False)
class ContainedAgent:
    """An agent, whoever provides it. Meets agentd.agent.Agent; each defect is logged once."""

    name: str
    agent: Agent
    _told: set[str] = attrs.field(factory=set, init=False)

    @property
    def readiness(self) -> Readiness:
        try:
            readiness = self.agent.readiness
            return Readiness(bool(readiness.ready), str(readiness.detail))
        except Failures as error:  # the outermost frame of a provider's code, which may be anybody's
            return Readiness(False, self._defect("readiness", error))

    @property
    def rates(self) -> Sequence[int]:
        try:
            return tuple(self.agent.rates)
        except Failures as error:
            self._defect("rates", error)
            return NARROW

    def open(
        self, call: CallInfo, history: History, playout: Playout, tools: Sequence[ToolDeclaration] = ()
    ) -> AbstractAsyncContextManager[AgentSession]:
        """Whatever this raises, agentd.serving.tenure contains it."""
        return self.agent.open(call, history, playout, tools)

    async def synthesise(self, text: str) -> Sequence[Audio]:
        try:
            return tuple(await self.agent.synthesise(text))
        except ProviderError:
            raise
        except Failures as error:
            raise ProviderUnavailable(self._defect("synthesise", error)) from error

    def _defect(self, what: str, error: Failure) -> str:
        if what not in self._told:
            self._told.add(what)
            log.error("the agent has a defect in its provider", agent=self.name, what=what, exc_info=error)
        return f"a defect of its provider, in {what}: {type(error).__name__}"


@attrs.define(eq=False)
class ContainedSession:
    """A session, whoever provides it. Meets agentd.agent.AgentSession; raises nothing but cancellations.

    `failed` is told what it raised first, and where; from then on the session is asked nothing. To make one raises what
    the session's capabilities raise.
    """

    session: AgentSession
    failed: Callable[[str, Failure], None]
    over: bool = attrs.field(default=False, init=False)
    _capabilities: Capabilities = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._capabilities = self._able()

    @property
    def capabilities(self) -> Capabilities:
        """Those of now, or the last ones that were told."""
        self._capabilities = self._ask("capabilities", self._able, self._capabilities)
        return self._capabilities

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        """Its news; they end where it fails."""
        return _Events(self)

    def feed(self, pcm: bytes, at: float) -> None:
        if self.over:
            return
        try:  # `contained` alone would do: but this is for every frame of every call
            self.session.feed(pcm, at)
        except Failures:
            with contained(partial(self._fail, "feed")):
                raise

    def feed_text(self, text: str) -> None:
        self._ask("feed_text", lambda: self.session.feed_text(text), None)

    def feed_digits(self, digits: str) -> None:
        self._ask("feed_digits", lambda: self.session.feed_digits(digits), None)

    async def say(self, text: str) -> SayOutcome:
        """See AgentSession.say. Where it fails there is no outcome: whoever takes over is asked again, and the caller's
        patience ends this wait."""
        if not self.over:
            with contained(partial(self._fail, "say")):
                return await self.session.say(text)
        return await trio.sleep_forever()

    def answer(self) -> None:
        self._ask("answer", lambda: self.session.answer(), None)

    def withhold(self) -> None:
        self._ask("withhold", lambda: self.session.withhold(), None)

    def interrupt(self) -> None:
        self._ask("interrupt", lambda: self.session.interrupt(), None)

    def started(self, utterance: int) -> None:
        self._ask("started", lambda: self.session.started(utterance), None)

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        self._ask("heard", lambda: self.session.heard(utterance, milliseconds, completed), None)

    def resume(self) -> None:
        self._ask("resume", lambda: self.session.resume(), None)

    def probe(self) -> None:
        self._ask("probe", lambda: self.session.probe(), None)

    def tool_result(self, call: str, result: str) -> None:
        self._ask("tool_result", lambda: self.session.tool_result(call, result), None)

    def _able(self) -> Capabilities:
        able = self.session.capabilities
        if not isinstance(able, Capabilities):
            raise TypeError(f"a session's capabilities must be Capabilities, got {type(able).__name__}")
        return able

    def _ask(self, what: str, ask: Callable[[], T], otherwise: T) -> T:
        if not self.over:
            with contained(partial(self._fail, what)):
                return ask()
        return otherwise

    def _fail(self, what: str, failure: Failure) -> None:
        if not self.over:
            self.over = True
            self.failed(what, failure)


@attrs.define(eq=False)
class _Events:
    """The news of a contained session, for one reader."""

    _contained: ContainedSession
    _inner: AsyncIterator[SessionEvent] | None = None

    def __aiter__(self) -> "_Events":
        return self

    async def __anext__(self) -> SessionEvent:
        session, event = self._contained, None
        if not session.over:
            with contained(partial(session._fail, "events")):
                if self._inner is None:
                    self._inner = aiter(session.session.events)
                event = await anext(self._inner, None)
        if event is None:
            raise StopAsyncIteration
        return event
