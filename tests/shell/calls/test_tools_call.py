"""Tools in a whole call: an end comes after the agent's words, a transferred channel is somebody else's."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.agent import Audio, SegmentStart, ToolDeclaration, UtteranceEnd
from agentd.conversation.commands import Result
from agentd.testing._ari_server import Answer
from agentd.testing._call import CALLER
from agentd.testing.sound import RATE, voice
from agentd.tools.contract import ToolContext, ToolOutcome
from agentd.tools.offered import OfferedTool
from agentd.tools.parameters import Arguments
from agentd.tools.registry import Toolbox
from agentd.tools.runner import WORDS_PATIENCE
from tests.installed import parse_config
from tests.shell.call_scene import GREETING, SETTINGS, Mode, Scene, make_scene, running
from tests.shell.fakes import CAPABLE, FakeAgent

SHOP = """
[agents.shop]
tools = ["hang_up", "operator", "send_dtmf"]
[tools.operator]
kind = "transfer"
[tools.operator.transfer]
destinations = { sales = "200@from-internal", nowhere = "9@from-internal" }
"""
HANG_UP = tells.ToolRequested("hang_up", "{}", "c1")
TRANSFER = tells.ToolRequested("operator", '{"destination": "sales"}', "c1")
FAREWELL = "Thank you and goodbye"

both = pytest.mark.parametrize("mode", Mode)
ends = pytest.mark.parametrize(("request_", "result"), [(HANG_UP, Result.COMPLETED), (TRANSFER, Result.TRANSFERRED)])


def shop(mode: Mode = Mode.STREAM, agents: Sequence[FakeAgent] = ()) -> Scene:
    """A call to an agent that can hang up, transfer and press keys."""
    config = parse_config(tomllib.loads(SHOP), {})
    tools = Toolbox.of(config).of_agent(config.agents["shop"])
    scene = make_scene(mode, agents)
    candidates = scene.call.candidates
    assert isinstance(candidates, list)
    candidates[:] = [attrs.evolve(candidate, tools=tools) for candidate in candidates]
    scene.asterisk.dialplan.add("200@from-internal")
    return scene


@both
@ends
async def test_the_call_ends_once_the_farewell_has_been_heard(
    mode: Mode, request_: tells.ToolRequested, result: Result, autojump_clock: MockClock
) -> None:
    async with running(shop(mode)) as scene:
        await scene.greeted()
        await scene.speaking(FAREWELL)
        scene.session.emit(request_)
        await trio.sleep(0.5)
        assert not scene.asterisk.continued, "the farewell is being heard"
    assert scene.result is result
    assert scene.left_with == result
    assert scene.agent_turns == [GREETING, FAREWELL]
    assert scene.session.results == [], "the model would speak again"
    assert scene.sample("tool_calls_total", tool=request_.name, outcome="done") == 1


@both
async def test_nothing_interrupts_a_farewell(mode: Mode, autojump_clock: MockClock) -> None:
    async with running(shop(mode)) as scene:
        await scene.greeted()
        await scene.speaking(FAREWELL)
        scene.session.emit(HANG_UP)
        await trio.sleep(0.2)
        now = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(now), tells.CallerSpeechConfirmed(now), tells.CallerTakesTurn(now))
    assert scene.left_with == "completed"
    assert scene.agent_turns == [GREETING, FAREWELL]
    assert scene.session.interruptions == 0


@both
async def test_a_farewell_that_was_paused_by_a_sound_is_heard_to_its_end(mode: Mode, autojump_clock: MockClock) -> None:
    async with running(shop(mode)) as scene:
        await scene.greeted()
        await scene.speaking(FAREWELL)
        now = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(now), tells.CallerSpeechConfirmed(now))
        await trio.sleep(1.0)
        scene.session.emit(HANG_UP)
    assert scene.agent_turns == [GREETING, FAREWELL]


@both
async def test_words_that_are_still_on_their_way_are_heard_too(mode: Mode, autojump_clock: MockClock) -> None:
    async with running(shop(mode)) as scene:
        await scene.greeted()
        playout = scene.call.playout
        number, generation = playout.number(), playout.generation
        scene.session.emit(tells.UtteranceStarted(number), HANG_UP)
        await trio.sleep(1.0)
        assert not scene.asterisk.continued
        for chunk in (SegmentStart(generation, number, FAREWELL), Audio(generation, number, voice(1.0), RATE)):
            await playout.put(chunk)
        await playout.put(UtteranceEnd(generation, number))
        scene.session.emit(tells.UtteranceEnded(number))
    assert scene.agent_turns == [GREETING, FAREWELL]


@both
async def test_an_agent_that_has_said_nothing_is_asked_for_its_words(mode: Mode, autojump_clock: MockClock) -> None:
    async with running(shop(mode)) as scene:
        await scene.greeted()
        scene.session.emit(TRANSFER)
        await scene.until(lambda: scene.session.results)
        assert scene.session.results == [("c1", "Tell the caller now that you transfer the call to sales; it follows.")]
        await scene.session.utter("One moment")
    assert scene.agent_turns == [GREETING, "One moment"]
    assert scene.asterisk.went_to == {CALLER: "200@from-internal"}


async def test_an_agent_that_stays_silent_does_not_keep_the_caller(autojump_clock: MockClock) -> None:
    async with running(shop()) as scene:
        await scene.greeted()
        began = trio.current_time()
        scene.session.emit(HANG_UP)
    assert scene.left_with == "completed"
    assert trio.current_time() - began == pytest.approx(WORDS_PATIENCE, abs=0.5)


@both
async def test_a_transferred_channel_is_left_alone(mode: Mode, autojump_clock: MockClock) -> None:
    async with running(shop(mode)) as scene:
        await scene.greeted()
        await scene.speaking("I am transferring you")
        scene.session.emit(TRANSFER)
        await scene.until(lambda: scene.asterisk.continued)
        asked = len(scene.asterisk.requests)
    assert scene.asterisk.went_to == {CALLER: "200@from-internal"}
    assert CALLER in scene.asterisk.channels
    later = [str(request) for request in scene.asterisk.requests[asked:]]
    assert not [request for request in later if CALLER in request]


async def test_a_transfer_that_asterisk_refuses_goes_back_to_the_dialplan(autojump_clock: MockClock) -> None:
    scene = shop()
    scene.asterisk.rule("POST */continue", Answer.refusal(400, "no such extension"), times=1)
    async with running(scene):
        await scene.greeted()
        await scene.speaking("I am transferring you")
        scene.session.emit(TRANSFER)
    assert scene.asterisk.continued == [CALLER]
    assert scene.asterisk.went_to == {}


async def test_a_destination_that_is_not_there_is_told_and_the_call_goes_on(autojump_clock: MockClock) -> None:
    async with running(shop()) as scene:
        await scene.greeted()
        await scene.speaking("I am transferring you")
        scene.session.emit(tells.ToolRequested("operator", '{"destination": "nowhere"}', "c1"))
        with structlog.testing.capture_logs() as logs:
            await scene.until(lambda: scene.session.results)
        assert ("a transfer's destination is not in the dialplan", "9@from-internal") in [
            (log["event"], log.get("destination")) for log in logs
        ]
        assert scene.session.results[0][1].startswith("nowhere cannot be reached")
        await trio.sleep(5.0)
        assert not scene.asterisk.continued
        scene.hang_up()
    assert scene.result is Result.CALLER_HUNG_UP


async def test_keys_are_pressed_and_the_call_goes_on(autojump_clock: MockClock) -> None:
    async with running(shop()) as scene:
        await scene.greeted()
        scene.session.emit(tells.ToolRequested("send_dtmf", '{"digits": "12#"}', "c1"))
        await scene.until(lambda: scene.session.results)
        assert scene.asterisk.pressed == {CALLER: "12#"}
        scene.hang_up()


async def test_a_model_that_names_two_requests_alike_gets_both_results(autojump_clock: MockClock) -> None:
    """As servers do that number each answer's requests from 0."""
    async with running(shop()) as scene:
        await scene.greeted()
        for digit in "12":
            scene.session.emit(tells.ToolRequested("send_dtmf", f'{{"digits": "{digit}"}}', "call_0"))
        await scene.until(lambda: len(scene.session.results) == 2)
        assert [call for call, _result in scene.session.results] == ["call_0", "call_0"]
        scene.hang_up()


@both
@pytest.mark.parametrize("after", [0.0, 0.3, 2.0])
async def test_a_caller_who_hangs_up_before_the_end_is_gone(
    mode: Mode, after: float, autojump_clock: MockClock
) -> None:
    async with running(shop(mode)) as scene:
        await scene.greeted()
        scene.session.emit(TRANSFER)
        await trio.sleep(after)
        scene.hang_up()
    assert scene.asterisk.went_to == {}
    assert scene.result is Result.CALLER_HUNG_UP


async def test_a_hang_up_cancels_a_tool_at_work(autojump_clock: MockClock) -> None:
    scene = shop()
    scene.asterisk.slow("GET */variable", 3.0)
    async with running(scene):
        await scene.greeted()
        scene.session.emit(TRANSFER)
        await trio.sleep(0.5)
        scene.hang_up()
    assert scene.asterisk.went_to == {}
    assert scene.sample("tool_calls_total", tool="operator", outcome="cancelled") == 1


async def test_a_farewell_is_no_silence_of_the_agent_s(autojump_clock: MockClock) -> None:
    probed = attrs.evolve(CAPABLE, answers_probes=True)
    scene = shop(agents=(FakeAgent(capabilities=probed, lively=False), FakeAgent()))
    async with running(scene):
        await scene.greeted()
        now = trio.current_time()
        playout = scene.call.playout
        number, generation = playout.number(), playout.generation
        scene.session.emit(
            tells.CallerSpeechStarted(now), tells.CallerSpeechEnded(now, now), tells.UtteranceStarted(number), HANG_UP
        )
        await trio.sleep(0.1)  # the call is closing before the caller hears anything
        await playout.put(SegmentStart(generation, number, FAREWELL))
        await playout.put(Audio(generation, number, voice(8.0), RATE))
        await playout.put(UtteranceEnd(generation, number))
        scene.session.emit(tells.UtteranceEnded(number))
    assert scene.left_with == "completed"
    assert scene.agent_turns == [GREETING, FAREWELL]
    assert len(scene.sessions) == 1, "nobody has to take over"


@attrs.frozen
class SlowTool:
    """A tool that takes its time."""

    seconds: float
    declaration: ToolDeclaration = attrs.field(
        factory=lambda: ToolDeclaration("search", "Searches.", {"type": "object", "properties": {}})
    )

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        await trio.sleep(self.seconds)
        return ToolOutcome("Found.")


async def test_a_tool_at_work_is_no_dead_air_and_what_follows_it_is(autojump_clock: MockClock) -> None:
    scene = make_scene(liveness=attrs.evolve(SETTINGS.liveness, dead_air_after=20.0))
    tool = SlowTool(28.0)
    slow = OfferedTool(tool, Arguments.of(tool.declaration.parameters), 30.0)
    candidates = scene.call.candidates
    assert isinstance(candidates, list)
    candidates[:] = [attrs.evolve(candidate, tools={"search": slow}) for candidate in candidates]
    async with running(scene):
        await scene.greeted()
        scene.session.emit(tells.CallerSpeechStarted(trio.current_time()), tells.ToolRequested("search", "{}", "c1"))
        await trio.sleep(28.1)
        assert [result for _, result in scene.session.results] == ["Found."]
        answered = trio.current_time()
        await scene.until(lambda: scene.call.result)
        assert trio.current_time() - answered == pytest.approx(20.0, abs=0.5)
    assert scene.result is Result.FAILED_SILENCE
