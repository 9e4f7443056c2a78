"""The contracts have teeth: an agent or a voice that breaks one in a single point fails the test that is about it."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from agentd import session_events as tells
from agentd.agent import CallInfo, Capabilities, Playout, Readiness, ToolDeclaration
from agentd.config.settings import AgentConfig
from agentd.errors import ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd.history import History
from agentd.session_events import SessionEvent
from agentd.testing._contract import stamp
from agentd.testing._understudy import Understudy, UnderstudySession
from agentd.testing._unruly import in_order
from agentd.testing.agent_contract import AgentContract
from agentd.testing.agents import Able, AgentParty
from agentd.testing.clock import run_virtually
from agentd.testing.faults import Fault
from agentd.testing.stages import Can, Seen, VoiceParty
from agentd.testing.voice_contract import VoiceContract
from agentd_providers import registry
from agentd_providers.registry import Provider
from agentd_providers.shared import SharedServices
from tests.lab.vendors.scripted_words import tone

KEY = "key-that-nobody-may-see"


def run(test: Callable[..., Any], party: Any, *arguments: object) -> None:
    """Run one test of a contract."""

    async def opened() -> None:
        async with party.open():
            await test(party, *arguments)

    run_virtually(opened)


def breaks(test: Callable[..., Any], party: Any, *arguments: object) -> None:
    """Run a test of a contract that the party does not pass: a comparison fails, or what must come about does not."""
    with pytest.raises((AssertionError, pytest.fail.Exception, trio.TooSlowError, BaseExceptionGroup)) as raised:
        run(test, party, *arguments)
    leaves, groups = list[BaseException](), list[BaseException]([raised.value])
    while groups:
        error = groups.pop()
        if isinstance(error, BaseExceptionGroup):
            groups.extend(error.exceptions)
        else:
            leaves.append(error)
    assert all(isinstance(leaf, AssertionError | pytest.fail.Exception | trio.TooSlowError) for leaf in leaves), leaves


# --- a stage


@attrs.define(eq=False)
class Speaker(VoiceParty):
    """A voice and its vendor in one, in memory. Each flag breaks the contract in one point."""

    halved: bool = False
    drawls: bool = False
    at_once: bool = False
    stays: bool = False
    works_on: bool = False
    swallows: bool = False
    wrong_kind: bool = False
    tells_the_key: bool = False
    never_gives_up: bool = False
    impatient: bool = False
    ready_whatever: bool = False
    key_in_the_path: bool = False
    fault: Fault = Fault.NONE
    working: int = 0
    requests: list[Seen] = attrs.field(factory=list)
    readiness: Readiness = attrs.field(factory=lambda: Readiness(True))
    stage = "speak_memory"
    abilities = (Can.FAILS, Can.STREAMS, Can.NEEDS_KEY)
    faults = tuple(Fault)
    keys: Mapping[str, str] = attrs.field(factory=lambda: {"MEMORY_KEY": KEY})

    def strike(self, fault: Fault) -> None:
        self.fault = fault

    def at_work(self) -> int:
        return self.working

    def seen(self) -> Sequence[Seen]:
        return self.requests

    def seconds(self, text: str) -> float:
        return 0.05 * len(text)

    def open_engine(self, _shared: SharedServices) -> AbstractAsyncContextManager[Any]:
        return self.engine()

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Any]:
        yield Engine(self)


@attrs.frozen(eq=False)
class Engine:
    party: Speaker

    def __repr__(self) -> str:
        return "a voice"

    @property
    def readiness(self) -> Readiness:
        return self.party.readiness

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        try:
            yield self
        finally:
            if self.party.stays:
                with trio.CancelScope(shield=True):
                    await trio.sleep(60)

    @asynccontextmanager
    async def speak(self, text: str, rate: int) -> AsyncIterator[AsyncIterator[bytes]]:
        party = self.party
        party.requests.append(Seen({"authorization": f"Token {KEY}"}, KEY if party.key_in_the_path else "/speak"))
        party.working += 1
        pieces = self.pieces(text, rate)
        try:
            yield pieces
        except ZeroDivisionError:
            if not party.swallows:
                raise
        finally:
            await pieces.aclose()
            if not party.works_on:
                party.working -= 1

    async def pieces(self, text: str, rate: int) -> Any:
        party, pcm = self.party, tone(text, rate)
        if party.halved:
            pcm = pcm[:-1]
        if party.drawls:
            pcm += pcm
        size = max(len(pcm) // 8 * 2, 2)
        if party.at_once:
            await trio.sleep(0.3)
            party.working, size = 0, len(pcm) or 2
        for at in range(0, len(pcm), size):
            await self.suffer()
            await trio.sleep(0.03)
            yield pcm[at : at + size]

    async def suffer(self) -> None:
        party = self.party
        match party.fault:
            case Fault.NONE:
                party.readiness = Readiness(True)
            case Fault.SLOW:
                await trio.sleep(0.1)
                if party.impatient:
                    raise ProviderUnavailable("the vendor takes longer than I like")
            case Fault.REFUSED:
                party.readiness = Readiness(party.ready_whatever, "the key is refused")
                raise ProviderRejected(f"the key {KEY if party.tells_the_key else ''} is refused")
            case Fault.GARBAGE | Fault.OVERSIZED | Fault.CUT:
                error = ProviderUnavailable if party.wrong_kind else ProviderProtocolError
                raise error("that is no sound")
            case Fault.MUTE:
                await trio.sleep(20 if party.never_gives_up else party.deadline)
                raise ProviderUnavailable("no answer")
            case _:
                raise ProviderUnavailable("it is down")


VOICE = VoiceContract()
KEPT_BY_VOICES: Mapping[str, tuple[Callable[..., Any], Sequence[object]]] = {
    "calls": (VOICE.test_it_serves_one_call_after_the_other, ()),
    "beside each other": (VOICE.test_calls_beside_each_other_do_not_meet, ()),
    "slow": (VOICE.test_a_slow_vendor_is_waited_for, ()),
    "key": (VOICE.test_the_key_is_in_a_header_and_nowhere_else, ()),
    "ready": (VOICE.test_it_is_ready_until_its_key_is_refused_and_again_once_it_is_taken, ()),
    "refused": (VOICE.test_each_fault_is_an_error_in_time_and_the_next_call_is_served, (Fault.REFUSED,)),
    "mute": (VOICE.test_each_fault_is_an_error_in_time_and_the_next_call_is_served, (Fault.MUTE,)),
    "garbage": (VOICE.test_each_fault_is_an_error_in_time_and_the_next_call_is_served, (Fault.GARBAGE,)),
    "ends in time": (VOICE.test_a_call_that_ends_at_any_time_leaves_at_once_and_leaves_nothing, (0.05,)),
    "ends at a step": (VOICE.test_a_call_that_ends_at_any_step_leaves_nothing, ()),
    "rate": (VOICE.test_a_clause_is_spoken_at_the_line_s_rate, (16000,)),
    "pieces": (VOICE.test_a_piece_is_handed_on_as_soon_as_it_comes_and_holds_whole_samples, ()),
    "not listened to": (VOICE.test_a_clause_that_is_not_listened_to_is_ended_at_the_vendor_too, ()),
    "listener": (VOICE.test_what_the_listener_raises_is_its_own, ()),
    "patient": (VOICE.test_a_listener_that_takes_its_time_is_not_the_vendor_s_fault, ()),
    "fails in a clause": (VOICE.test_a_vendor_that_fails_in_a_clause_has_what_came_before_heard, (Fault.CLOSE,)),
}


@pytest.mark.parametrize("name", KEPT_BY_VOICES)
def test_a_voice_that_keeps_its_contract_passes(name: str) -> None:
    test, arguments = KEPT_BY_VOICES[name]
    run(test, Speaker(), *arguments)


@pytest.mark.parametrize(
    ("flaw", "name"),
    [
        ("halved", "rate"),
        ("drawls", "rate"),
        ("drawls", "beside each other"),
        ("at_once", "pieces"),
        ("stays", "ends in time"),
        ("works_on", "ends in time"),
        ("works_on", "ends at a step"),
        ("works_on", "not listened to"),
        ("swallows", "listener"),
        ("tells_the_key", "refused"),
        ("never_gives_up", "mute"),
        ("ready_whatever", "ready"),
        ("key_in_the_path", "key"),
    ],
)
def test_a_voice_that_breaks_its_contract_fails(flaw: str, name: str) -> None:
    test, arguments = KEPT_BY_VOICES[name]
    breaks(test, Speaker(**{flaw: True}), *arguments)


@pytest.mark.parametrize(("flaw", "name"), [("impatient", "slow"), ("wrong_kind", "garbage")])
def test_an_error_that_a_contract_does_not_know_goes_up_as_it_is(flaw: str, name: str) -> None:
    test, arguments = KEPT_BY_VOICES[name]
    with pytest.RaisesGroup(ProviderUnavailable, allow_unwrapped=True, flatten_subgroups=True):
        run(test, Speaker(**{flaw: True}), *arguments)


# --- an agent


TALKATIVE = 2.0
"""Seconds that it speaks: long enough to be interrupted."""


@attrs.frozen
class NoSettings:
    """Nothing to set."""


class Deaf(UnderstudySession):
    def feed(self, pcm: bytes, at: float) -> None:
        """It hears nobody."""


@attrs.define(eq=False)
class Engrossed(UnderstudySession):
    """It hears nobody while it speaks."""

    speaks: bool = attrs.field(default=False, init=False)

    def feed(self, pcm: bytes, at: float) -> None:
        super().feed(bytes(len(pcm)) if self.speaks else pcm, at)

    def started(self, utterance: int) -> None:
        self.speaks = True

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        self.speaks = False


class Forgetful(UnderstudySession):
    def resume(self) -> None:
        """It does not know what was said before."""


class Dead(UnderstudySession):
    def probe(self) -> None:
        """It gives no sign of life."""


class Boastful(UnderstudySession):
    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(takes_turns=False, answers_probes=True, takes_digits=True)


@attrs.frozen(eq=False)
class Clinging(Understudy):
    """A session of its that has been left works on."""

    @asynccontextmanager
    async def open(
        self, call: CallInfo, history: History, playout: Playout, tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[UnderstudySession]:
        async with super().open(call, history, playout, tools) as session:
            trio.lowlevel.spawn_system_task(trio.sleep, 1000, context=trio.lowlevel.current_task().context)
            yield session


@attrs.define(eq=False)
class Standing(AgentParty):
    """An understudy as an agent of its own, of which one thing is wrong."""

    agent: Understudy
    provider = "understudy"
    abilities = (Able.TALKS_ON, Able.ANSWERS_PROBES)


AGENT = AgentContract()
KEPT_BY_AGENTS: Mapping[str, Callable[..., Any]] = {
    "greets": AGENT.test_it_greets,
    "answers": AGENT.test_it_hears_and_answers,
    "falls silent": AGENT.test_it_falls_silent_for_a_caller_who_interrupts_and_remembers_what_was_heard,
    "goes on": AGENT.test_a_session_answers_what_another_one_left_open,
    "lives": AGENT.test_a_probe_brings_a_sign_of_life,
    "capable": AGENT.test_its_capabilities_are_those_that_are_tested,
    "ends": AGENT.test_a_call_that_ends_at_any_step_leaves_nothing,
    "any order": AGENT.test_whatever_is_asked_of_it_in_whatever_order_it_raises_nothing_and_its_events_keep_their_order,
}
WATCHES = ("answers", "falls silent")


def standing(monkeypatch: pytest.MonkeyPatch, agent: Understudy) -> Standing:
    @asynccontextmanager
    async def open_agent(_name: str, _config: AgentConfig, _shared: SharedServices) -> AsyncIterator[Understudy]:
        await trio.lowlevel.checkpoint()
        yield agent

    monkeypatch.setitem(registry.BUILT_IN, "understudy", Provider(NoSettings, open_agent))  # type: ignore[arg-type]
    return Standing(agent)


@pytest.mark.parametrize("name", KEPT_BY_AGENTS)
def test_an_agent_that_keeps_its_contract_passes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs(processors=[stamp]) as logs:
        run(
            KEPT_BY_AGENTS[name],
            standing(monkeypatch, Understudy(seconds=TALKATIVE)),
            *([logs] if name in WATCHES else []),
        )


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (Understudy(Deaf, TALKATIVE), "answers"),
        (Understudy(Engrossed, TALKATIVE), "falls silent"),
        (Understudy(Forgetful, TALKATIVE), "goes on"),
        (Understudy(Dead, TALKATIVE), "lives"),
        (Understudy(Boastful, TALKATIVE), "capable"),
        (Clinging(), "ends"),
    ],
    ids=["deaf", "engrossed", "forgetful", "dead", "boastful", "clinging"],
)
def test_an_agent_that_breaks_its_contract_fails(agent: Understudy, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs(processors=[stamp]) as logs:
        breaks(KEPT_BY_AGENTS[name], standing(monkeypatch, agent), *([logs] if name in WATCHES else []))


STARTED, ENDED = tells.CallerSpeechStarted(1.0), tells.CallerSpeechEnded(2.0, 1.8)


@pytest.mark.parametrize(
    "events",
    [
        [STARTED, ENDED, tells.UtteranceStarted(1), tells.UtteranceEnded(1), STARTED, tells.CallerSpeechDismissed("")],
        [ENDED, tells.UtteranceStarted(2), STARTED, tells.UtteranceStarted(3), tells.UtteranceEnded(2), ENDED],
        [tells.Ended()],
    ],
)
def test_events_that_make_sense_pass(events: list[SessionEvent]) -> None:
    in_order(events)


@pytest.mark.parametrize(
    "events",
    [
        [STARTED, STARTED],
        [tells.CallerSpeechDismissed("noise")],
        [tells.UtteranceStarted(1), tells.UtteranceStarted(1)],
        [tells.UtteranceStarted(2), tells.UtteranceStarted(1)],
        [tells.UtteranceEnded(1)],
        [tells.UtteranceStarted(1), tells.UtteranceEnded(1), tells.UtteranceEnded(1)],
        [tells.Ended("the vendor has gone")],
    ],
)
def test_events_that_make_no_sense_fail(events: list[SessionEvent]) -> None:
    with pytest.raises(AssertionError):
        in_order(events)


class Short(UnderstudySession):
    def answer(self) -> None:
        raise RuntimeError("there is no answer")


class Slow(UnderstudySession):
    def withhold(self) -> None:
        time.sleep(1.1)


@pytest.mark.parametrize(("session", "error"), [(Short, RuntimeError), (Slow, AssertionError)])
def test_a_session_that_raises_or_blocks_is_found(
    session: type[UnderstudySession], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    party = standing(monkeypatch, Understudy(session))
    test = AGENT.test_whatever_is_asked_of_it_in_whatever_order_it_raises_nothing_and_its_events_keep_their_order
    with pytest.RaisesGroup(error, allow_unwrapped=True, flatten_subgroups=True):
        run(test, party)
