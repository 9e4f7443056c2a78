"""The tools of one call: what a request of the model comes to, and when the end that a tool leads to is told."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd import session_events as tells
from agentd.agent import CallInfo, ToolDeclaration
from agentd.budgets import TOOL_CALLS, TURN_TOOL_CALLS, Budget
from agentd.conversation import events as happens
from agentd.conversation.commands import Destination, Result
from agentd.errors import AriUnavailable
from agentd.metrics import Metrics
from agentd.tools.contract import ToolContext, ToolError, ToolOutcome
from agentd.tools.hang_up import HANG_UP, HangUpSettings
from agentd.tools.offered import OfferedTool, declarations
from agentd.tools.parameters import Arguments
from agentd.tools.runner import (
    AT_ONCE,
    MAX_RESULT,
    WORDS_PATIENCE,
    CallContext,
    CallTools,
)
from agentd.tools.send_dtmf import SEND_DTMF, SendDtmfSettings
from agentd.tools.transfer import TRANSFER, TransferSettings

TURN = tells.CallerSpeechEnded(2.0, 1.5)
BYE = happens.DepartureRequested(Result.COMPLETED)
TRANSFERRED = happens.DepartureRequested(Result.TRANSFERRED, Destination("from-internal", "200"))
Work = Callable[[Mapping[str, Any], ToolContext], Awaitable[ToolOutcome]]


@attrs.define
class FakeTool:
    """Does what the test says."""

    work: Work
    declaration: ToolDeclaration = attrs.field(
        factory=lambda: ToolDeclaration(
            "work", "Works.", {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        )
    )

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        return await self.work(arguments, call)


@attrs.define(eq=False)
class FakeLine:
    """A caller's line; `broken`: Asterisk does not answer."""

    pressed: list[str] = attrs.field(factory=list)
    dialplan: set[str] = attrs.field(factory=lambda: {"200@from-internal"})
    broken: bool = False

    async def send_dtmf(self, digits: str) -> None:
        await self._answers()
        self.pressed.append(digits)

    async def dialplan_has(self, context: str, extension: str) -> bool:
        await self._answers()
        return f"{extension}@{context}" in self.dialplan

    async def _answers(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise AriUnavailable("Asterisk at 127.0.0.1:8088 did not answer")


async def done(arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
    await trio.lowlevel.checkpoint()
    return ToolOutcome(f"done {arguments['n']}")


@attrs.define(eq=False)
class Bench:
    """The tools hang_up, transfer, send_dtmf and work, and what is heard of them."""

    work: Work = done
    deadline: float = 2.0
    log_transcripts: bool = False
    line: FakeLine = attrs.field(factory=FakeLine)
    answers: list[tuple[str, str]] = attrs.field(factory=list)
    told: list[object] = attrs.field(factory=list)
    metrics: Metrics = attrs.field(factory=Metrics)
    tools: CallTools = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = TransferSettings({"sales": "200@from-internal", "nowhere": "9@from-internal"})
        made = [
            HANG_UP.make("hang_up", "", HangUpSettings()),
            TRANSFER.make("transfer", "", settings),
            SEND_DTMF.make("send_dtmf", "", SendDtmfSettings()),
            FakeTool(self.work),
        ]
        self.tools = CallTools(
            {
                tool.declaration.name: OfferedTool(tool, Arguments.of(tool.declaration.parameters), self.deadline)
                for tool in made
            },
            CallContext(CallInfo("1700000000.1", "100"), self.line),
            self.metrics,
            tell=self.told.append,
            log_transcripts=self.log_transcripts,
        )

    async def ask(self, name: str, arguments: str = "{}", call: str = "c1") -> None:
        await self.tools.run(tells.ToolRequested(name, arguments, call), lambda text: self.answers.append((call, text)))

    def hear(self, *events: object) -> None:
        for event in events:
            self.tools.on_session_event(event)

    def count(self, tool: str, outcome: str) -> float:
        labels = {"tool": tool, "outcome": outcome}
        return self.metrics.registry.get_sample_value("agentd_tool_calls_total", labels) or 0.0

    def exceeded(self, budget: Budget) -> float:
        labels = {"budget": budget.name}
        return self.metrics.registry.get_sample_value("agentd_call_budget_exceeded_total", labels) or 0.0


# --- budgets


async def test_a_model_that_goes_round_in_a_circle_is_refused_until_the_caller_s_next_turn() -> None:
    bench = Bench()
    for _ in range(TURN_TOOL_CALLS.most + 2):
        await bench.ask("work", '{"n": 3}')
    assert bench.count("work", "done") == TURN_TOOL_CALLS.most
    assert bench.answers[-1] == ("c1", "Too many uses of tools for one turn: speak with the caller first.")
    assert bench.tools.spent
    assert bench.exceeded(TURN_TOOL_CALLS) == 2
    for turn in (TURN, tells.CallerText("and now?", final=True)):
        bench.hear(turn)
        assert not bench.tools.spent
        await bench.ask("work", '{"n": 4}')
        assert bench.answers[-1] == ("c1", "done 4")


async def test_one_that_asks_for_what_there_is_not_is_refused_just_so() -> None:
    bench = Bench()
    for _ in range(TURN_TOOL_CALLS.most + 1):
        await bench.ask("nothing")
    assert bench.count("unknown", "unknown") == TURN_TOOL_CALLS.most
    assert bench.count("unknown", "refused") == 1


async def test_a_call_has_so_many_uses_of_tools_in_all() -> None:
    bench = Bench()
    for _ in range(TOOL_CALLS.most + 1):
        bench.hear(TURN)
        await bench.ask("work", '{"n": 3}')
    assert bench.count("work", "done") == TOOL_CALLS.most
    assert "No tool can be used any more" in bench.answers[-1][1]
    assert bench.exceeded(TOOL_CALLS) == 1
    assert bench.tools.spent


# --- requests


async def test_the_model_gets_what_the_tool_gave() -> None:
    bench = Bench()
    await bench.ask("work", '{"n": 3}')
    assert bench.answers == [("c1", "done 3")]
    assert bench.count("work", "done") == 1
    assert bench.told == []


async def test_a_session_is_opened_with_what_the_tools_declare() -> None:
    declared = declarations(Bench().tools.tools)
    assert [declaration.name for declaration in declared] == ["hang_up", "transfer", "send_dtmf", "work"]


async def test_another_agent_has_its_own_tools() -> None:
    bench = Bench()
    bench.tools.tools = {"hang_up": bench.tools.tools["hang_up"]}
    await bench.ask("work", '{"n": 1}')
    assert bench.answers == [("c1", "There is no such tool.")]


@pytest.mark.parametrize(
    ("name", "arguments", "answer", "outcome"),
    [
        ("work", "{}", "The arguments are wrong: $: 'n' is a required property", "invalid"),
        ("work", '{"n": "3"}', "The arguments are wrong: $.n: '3' is not of type 'integer'", "invalid"),
        ("work", "not JSON", "The arguments must be a JSON object.", "invalid"),
        ("transfer", '{"destination": "200@from-internal"}', "The arguments are wrong: $.destination", "invalid"),
        ("transfer", '{"destination": "nowhere"}', "nowhere cannot be reached", "failed"),
        ("send_dtmf", '{"digits": "1,2"}', "The arguments are wrong: $.digits", "invalid"),
        ("send_dtmf", '{"digits": "12\\n"}', "digits must be 1 to 32 of", "failed"),
    ],
)
async def test_what_cannot_be_done_is_told_to_the_model(name: str, arguments: str, answer: str, outcome: str) -> None:
    bench = Bench()
    await bench.ask(name, arguments)
    ((call, text),) = bench.answers
    assert call == "c1"
    assert text.startswith(answer)
    assert bench.count(name, outcome) == 1
    assert bench.line.pressed == []
    assert bench.told == []


async def test_a_tool_that_there_is_not_has_no_label_of_its_own() -> None:
    bench = Bench()
    for name in ("rm", "sudo"):
        await bench.ask(name)
    assert bench.answers == [("c1", "There is no such tool.")] * 2
    assert bench.count("unknown", "unknown") == 2


async def test_a_tool_has_its_deadline(autojump_clock: MockClock) -> None:
    async def stand_still(arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    bench = Bench(stand_still)
    await bench.ask("work", '{"n": 1}')
    assert trio.current_time() == pytest.approx(2.0)
    assert bench.answers == [("c1", "It took too long and was given up.")]
    assert bench.count("work", "late") == 1


async def test_a_bug_in_a_tool_is_logged_once_and_ends_nothing() -> None:
    async def stumble(arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        raise KeyError("secret detail")

    bench = Bench(stumble)
    with structlog.testing.capture_logs() as logs:
        await bench.ask("work", '{"n": 1}')
    assert bench.answers == [("c1", "It failed.")]
    (entry,) = logs
    assert isinstance(entry["exc_info"], KeyError)
    assert (entry["log_level"], entry["outcome"]) == ("error", "crashed")


async def test_what_is_no_outcome_is_a_bug_too() -> None:
    async def nothing(arguments: Mapping[str, Any], call: ToolContext) -> Any:
        return "done"

    bench = Bench(nothing)
    await bench.ask("work", '{"n": 1}')
    assert bench.answers == [("c1", "It failed.")]


async def test_the_model_reads_its_words_and_the_operator_the_cause() -> None:
    async def fail(arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        raise ToolError("The shop is closed.") from OSError("connection refused")

    bench = Bench(fail)
    with structlog.testing.capture_logs() as logs:
        await bench.ask("work", '{"n": 77}')
    assert bench.answers == [("c1", "The shop is closed.")]
    (entry,) = logs
    assert (entry["tool"], entry["outcome"], entry["detail"]) == ("work", "failed", "OSError: connection refused")
    assert "77" not in str(entry), "arguments are logged only where transcripts are"


async def test_arguments_are_logged_where_transcripts_are() -> None:
    bench = Bench(log_transcripts=True)
    with structlog.testing.capture_logs() as logs:
        await bench.ask("work", '{"n": 77}')
    assert logs[0]["arguments"] == '{"n": 77}'


async def test_a_result_is_bounded_in_bytes() -> None:
    async def chatter(arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        return ToolOutcome("é" * MAX_RESULT)

    bench = Bench(chatter)
    await bench.ask("work", '{"n": 1}')
    text = bench.answers[0][1]
    assert len(text.encode()) <= MAX_RESULT
    assert text.endswith("é (cut off)")


async def test_a_result_with_half_a_character_in_it_is_mended() -> None:
    async def sly(arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        return ToolOutcome("yes \ud83d!")

    bench = Bench(sly)
    await bench.ask("work", '{"n": 1}')
    assert bench.answers[0][1] == "yes \ufffd!"


async def test_only_so_many_are_at_work_at_a_time(autojump_clock: MockClock) -> None:
    async def slow(arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        await trio.sleep(1.0)
        return ToolOutcome("done")

    bench = Bench(slow)
    assert not bench.tools.busy
    async with trio.open_nursery() as nursery:
        for number in range(AT_ONCE + 1):
            nursery.start_soon(bench.ask, "work", '{"n": 1}', f"c{number}")
            await wait_all_tasks_blocked()
        assert bench.answers == [(f"c{AT_ONCE}", "Too many tools are at work: wait for their results.")]
        assert bench.tools.busy
    assert not bench.tools.busy
    assert sorted(bench.answers)[:AT_ONCE] == [(f"c{number}", "done") for number in range(AT_ONCE)]
    await bench.ask("work", '{"n": 1}', "later")
    assert bench.answers[-1] == ("later", "done")


async def test_a_flood_of_wrong_arguments_is_not_even_read() -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery:
        for number in range(AT_ONCE + 6):
            nursery.start_soon(bench.ask, "work", '{"n": "wrong"}', f"c{number}")
    assert bench.count("work", "invalid") == AT_ONCE
    assert bench.count("work", "refused") == 6
    assert not bench.tools.busy


async def test_a_hang_up_cancels_the_tool(autojump_clock: MockClock) -> None:
    gone: list[bool] = []

    async def slow(arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        try:
            await trio.sleep(1.0)
        finally:
            gone.append(True)
        return ToolOutcome("done")

    bench = Bench(slow)
    with trio.move_on_after(0.5):
        await bench.ask("work", '{"n": 1}')
    assert gone == [True]
    assert bench.answers == []
    assert bench.count("work", "cancelled") == 1


async def test_a_tool_reaches_the_line_and_knows_the_call() -> None:
    known: list[CallInfo] = []

    async def press(arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        known.append(call.info)
        await call.send_dtmf("5")
        return ToolOutcome("pressed")

    bench = Bench(press)
    await bench.ask("work", '{"n": 1}')
    await bench.ask("send_dtmf", '{"digits": "12#"}')
    assert bench.line.pressed == ["5", "12#"]
    assert known[0].caller_number == "100"


@pytest.mark.parametrize(
    ("name", "arguments"), [("send_dtmf", '{"digits": "1"}'), ("transfer", '{"destination": "sales"}')]
)
async def test_an_asterisk_that_does_not_answer_is_bad_news_for_the_model(name: str, arguments: str) -> None:
    bench = Bench()
    bench.line.broken = True
    with structlog.testing.capture_logs() as logs:
        await bench.ask(name, arguments)
    assert bench.answers[0][1].startswith("The telephone system could not")
    assert bench.told == []
    assert "Asterisk at 127.0.0.1:8088 did not answer" in logs[0]["detail"]


# --- the end that a tool leads to


@pytest.mark.parametrize(
    ("name", "arguments", "end"),
    [("hang_up", "{}", BYE), ("transfer", '{"destination": "sales"}', TRANSFERRED)],
)
async def test_an_agent_that_has_spoken_is_not_made_to_speak_again(name: str, arguments: str, end: object) -> None:
    bench = Bench()
    bench.hear(TURN, tells.UtteranceStarted(2))
    await bench.ask(name, arguments)
    assert bench.told == [end]
    assert bench.answers == []


@pytest.mark.parametrize(
    "silence", [(), (tells.UtteranceStarted(1), TURN), (TURN, tells.UtteranceStarted(2, aside=True))]
)
async def test_an_agent_that_has_not_spoken_is_given_the_time_to(
    silence: tuple[object, ...], autojump_clock: MockClock
) -> None:
    bench = Bench()
    bench.hear(*silence)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ask, "hang_up")
        await trio.sleep(2.0)
        assert bench.answers == [("c1", "Say goodbye now; the call ends after it.")]
        assert bench.told == []
        bench.hear(tells.UtteranceStarted(3))
        await wait_all_tasks_blocked()
        assert bench.told == [BYE]


async def test_an_agent_that_stays_silent_does_not_keep_the_caller(autojump_clock: MockClock) -> None:
    bench = Bench()
    await bench.ask("transfer", '{"destination": "sales"}')
    assert trio.current_time() == pytest.approx(WORDS_PATIENCE)
    assert bench.told == [TRANSFERRED]


async def test_words_from_before_a_result_are_no_farewell(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.hear(TURN, tells.UtteranceStarted(2))  # "Let me look that up"
    await bench.ask("work", '{"n": 1}')
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ask, "hang_up")
        await wait_all_tasks_blocked()
        assert bench.answers[-1] == ("c1", "Say goodbye now; the call ends after it.")
        bench.hear(tells.UtteranceStarted(3))
    assert bench.told == [BYE]


async def test_of_two_ends_the_first_holds(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.hear(tells.UtteranceStarted(2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ask, "transfer", '{"destination": "sales"}', "c1")
        nursery.start_soon(bench.ask, "transfer", '{"destination": "sales"}', "c2")
    await bench.ask("hang_up")
    await bench.ask("work", '{"n": 1}')
    assert bench.count("work", "done") == 1
    assert bench.told == [TRANSFERRED]
    assert bench.answers == [], "the model would speak again"


async def test_a_model_that_asks_on_while_its_farewell_is_awaited_is_told_so(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ask, "hang_up")
        await wait_all_tasks_blocked()
        await bench.ask("hang_up", call="c2")
        assert bench.answers[-1] == ("c2", "The call is ending: say goodbye.")
    assert bench.told == [BYE]
