"""The tools of one call: a model's requests checked, run to a deadline, and answered; and the end that some lead to.

A call ends (or is transferred) by a tool only once the caller has heard the agent's words to their end. If the agent
has said something since the caller's last turn, or since the model was last given a result, these are the words: the
model is not answered, since it would speak again. If not, it is answered, and its words are waited for.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol

import attrs
import structlog
import trio

from agentd import budgets, deadlines
from agentd import session_events as tells
from agentd.agent import CallInfo
from agentd.budgets import Allowance, Budget
from agentd.conversation import events as happens
from agentd.conversation.commands import Destination, Result
from agentd.errors import AriError
from agentd.metrics import Metrics
from agentd.parsing import mended
from agentd.tools.contract import Departure, ToolError, ToolOutcome, Transfer
from agentd.tools.offered import OfferedTool

log = structlog.get_logger("agentd.tools")

AT_ONCE = budgets.TOOLS_AT_ONCE.most
"""Tools that a call may have at work at a time."""
MAX_RESULT = 8 * 1024
"""Bytes of a result that a model is given."""
MAX_LOGGED = 500
WORDS_PATIENCE = deadlines.TOOL_WORDS.seconds


REFUSALS = {
    budgets.TOOLS_AT_ONCE: "Too many tools are at work: wait for their results.",
    budgets.TURN_TOOL_CALLS: "Too many uses of tools for one turn: speak with the caller first.",
    budgets.TOOL_CALLS: "No tool can be used any more in this call: go on without, or say goodbye.",
}
"""What a model is told of a use that is over a budget."""


class Ended(StrEnum):
    """How a use of a tool ended: a label of metrics, and a word of the log."""

    DONE = "done"
    FAILED = "failed"
    LATE = "late"
    CRASHED = "crashed"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    INVALID = "invalid"
    CANCELLED = "cancelled"


class ToolLine(Protocol):
    """The caller's end of the call, as far as tools may reach it (agentd.ari.channel, agentd.audiosocket.headless)."""

    async def send_dtmf(self, digits: str) -> None:
        """Send DTMF to the caller. Raises AriError."""
        ...

    async def dialplan_has(self, context: str, extension: str) -> bool:
        """Whether the dialplan has that extension. Raises AriError."""
        ...


@attrs.frozen
class CallContext:
    """Meets agentd.tools.contract.ToolContext."""

    info: CallInfo
    line: ToolLine

    async def send_dtmf(self, digits: str) -> None:
        try:
            await self.line.send_dtmf(digits)
        except AriError as error:
            raise ToolError("The telephone system could not send the tones.") from error

    async def dialplan_has(self, context: str, extension: str) -> bool:
        try:
            return await self.line.dialplan_has(context, extension)
        except AriError as error:
            raise ToolError("The telephone system could not be asked.") from error


@attrs.define(eq=False)
class CallTools:
    """One call's. `tell(event)` gets the end that a tool leads to, and may not block."""

    tools: Mapping[str, OfferedTool]
    """Those of the agent that serves the call now: another agent has others."""
    context: CallContext
    metrics: Metrics
    tell: Callable[[object], None]
    log_transcripts: bool
    _at_work: list[tells.ToolRequested] = attrs.field(factory=list, init=False)
    _call: Allowance = attrs.field(factory=lambda: Allowance(budgets.TOOL_CALLS), init=False)
    _turn: Allowance = attrs.field(factory=lambda: Allowance(budgets.TURN_TOOL_CALLS), init=False)
    _departing: bool = attrs.field(default=False, init=False)
    _left: bool = attrs.field(default=False, init=False)
    _spoken: bool = attrs.field(default=False, init=False)
    _begun: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def busy(self) -> bool:
        """Whether a tool is at work, or the call is about to end by one: the caller waits for no answer meanwhile."""
        return bool(self._at_work) or self._departing

    @property
    def at_work(self) -> tuple[tells.ToolRequested, ...]:
        """The requests of the model whose tools are at work."""
        return tuple(self._at_work)

    @property
    def spent(self) -> bool:
        """Whether the model has asked for more uses of tools than it has, in this turn or in this call."""
        return self._turn.spent or self._call.spent

    def callers_turn(self) -> None:
        """The caller has said or pressed something: what the model does now, it does for that."""
        self._turn = Allowance(budgets.TURN_TOOL_CALLS)

    def on_session_event(self, event: object) -> None:
        """Take note of an event of the session: of when the agent has spoken."""
        match event:
            case tells.UtteranceStarted(_, aside=False):
                self._spoken = True
                self._begun.set()
            case tells.CallerSpeechEnded():
                self._spoken = False
                self.callers_turn()
            case tells.CallerText(final=True):
                self.callers_turn()

    async def run(self, request: tells.ToolRequested, answer: Callable[[str], None]) -> None:
        """Serve one request of the model: `answer` hands it the result, and may not block. Raises nothing; cancelling
        it cancels the tool."""
        spoken, began = self._spoken, trio.current_time()
        ended, error = Ended.CANCELLED, None
        try:
            ended, outcome, error = await self._use(request)
        finally:
            self._note(request, ended, trio.current_time() - began, error)
        if outcome.then is None:
            self._give(answer, outcome.text)
        elif self._departing:  # of two ends that were asked for, the first holds
            self._give(answer, "The call is ending: say goodbye.")
        else:
            await self._depart(answer, outcome, spoken)

    async def _use(self, request: tells.ToolRequested) -> tuple[Ended, ToolOutcome, Exception | None]:
        if (budget := self._over()) is not None:
            self.metrics.call_budget_exceeded.labels(budget=budget.name).inc()
            return Ended.REFUSED, ToolOutcome(REFUSALS[budget]), None
        offered = self.tools.get(request.name)
        if offered is None:
            return Ended.UNKNOWN, ToolOutcome("There is no such tool."), None
        self._at_work.append(request)
        try:
            await trio.lowlevel.checkpoint()  # of a flood, the rest is refused before it is parsed
            try:
                arguments = offered.arguments.parse(request.arguments)
            except ToolError as error:
                return Ended.INVALID, ToolOutcome(str(error)), error
            with trio.fail_after(offered.deadline):
                outcome = await offered.tool.run(arguments, self.context)
            if not isinstance(outcome, ToolOutcome):
                raise TypeError(f"a tool gives a ToolOutcome, not {type(outcome).__name__}")
        except ToolError as error:
            return Ended.FAILED, ToolOutcome(str(error)), error
        except trio.TooSlowError:
            return Ended.LATE, ToolOutcome("It took too long and was given up."), None
        except Exception as error:  # noqa: BLE001 - a tool may be anybody's code: its bug must not end the call
            return Ended.CRASHED, ToolOutcome("It failed."), error
        finally:
            self._at_work.remove(request)
        return Ended.FAILED if outcome.failed else Ended.DONE, outcome, None

    def _over(self) -> Budget | None:
        """The budget that one more use is over; where there is none, it is taken."""
        if len(self._at_work) >= AT_ONCE:
            return budgets.TOOLS_AT_ONCE
        if not self._turn.take():
            return budgets.TURN_TOOL_CALLS
        return None if self._call.take() else budgets.TOOL_CALLS

    def _give(self, answer: Callable[[str], None], text: str) -> None:
        """Give the model a result: whatever it says from now on, it says knowing this. Once the call is on its way out,
        nothing may make it speak."""
        if not self._left:
            self._spoken = False
            answer(_cut(text))

    async def _depart(self, answer: Callable[[str], None], outcome: ToolOutcome, spoken: bool) -> None:
        self._departing = True
        if not (spoken or self._spoken):
            self._begun = trio.Event()
            self._give(answer, outcome.text)
            with trio.move_on_after(WORDS_PATIENCE):
                await self._begun.wait()
        self._left = True
        match outcome.then:
            case Transfer(context, extension):
                self.tell(happens.DepartureRequested(Result.TRANSFERRED, Destination(context, extension)))
            case Departure():
                self.tell(happens.DepartureRequested(Result.COMPLETED))

    def _note(self, request: tells.ToolRequested, ended: Ended, seconds: float, error: Exception | None) -> None:
        tool = request.name if request.name in self.tools else "unknown"
        self.metrics.tool_calls.labels(tool=tool, outcome=str(ended)).inc()
        self.metrics.tool_seconds.labels(tool=tool).observe(seconds)
        fields: dict[str, object] = {"tool": request.name[:64], "outcome": str(ended), "took_ms": round(seconds * 1000)}
        if self.log_transcripts:
            fields["arguments"] = request.arguments[:MAX_LOGGED]
        if ended is Ended.CRASHED:
            log.error("tool used", **fields, exc_info=error)
            return
        if error is not None and error.__cause__ is not None:
            fields["detail"] = f"{type(error.__cause__).__name__}: {error.__cause__}"[:MAX_LOGGED]
        log.info("tool used", **fields)


def _cut(text: str) -> str:
    text = mended(text)
    whole = text.encode()
    return text if len(whole) <= MAX_RESULT else whole[: MAX_RESULT - 10].decode(errors="ignore") + " (cut off)"
