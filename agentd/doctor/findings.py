"""The doctor's findings, one a check, and how they are shown: in colours where stdout is a terminal."""

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import attrs


class State(StrEnum):
    """How a check ended. `skipped`: something that failed earlier makes it impossible to tell."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@attrs.frozen
class Finding:
    """One check: its name, how it ended, what was found, and what to do: commands, lines of configuration."""

    check: str
    state: State
    found: str
    advice: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Calls cannot work like this."""
        return self.state is State.FAIL

    def as_json(self) -> dict[str, Any]:
        """The finding as `agentd doctor --json` prints it."""
        return {
            "check": self.check,
            "state": self.state.value,
            "found": self.found,
            "advice": list(self.advice),
        }


def ok(check: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(check, State.OK, found)


def warn(check: str, found: str, *advice: str) -> Finding:
    """Calls work, but somebody should know."""
    return Finding(check, State.WARN, found, advice)


def fail(check: str, found: str, *advice: str) -> Finding:
    """Calls do not work; `advice` says what to do."""
    return Finding(check, State.FAIL, found, advice)


def skipped(check: str, because: str) -> Finding:
    """It cannot be told, and why."""
    return Finding(check, State.SKIPPED, because)


_COLOURS: Final = {State.OK: "32", State.WARN: "33", State.FAIL: "31", State.SKIPPED: "2"}
_WORDS: Final = {
    State.OK: "ok",
    State.WARN: "warning(s)",
    State.FAIL: "failure(s)",
    State.SKIPPED: "skipped",
}
_STATE_WIDTH: Final = max(map(len, State))


def render(findings: Sequence[Finding], colour: bool | None = None) -> str:
    """The findings for people, in order, each with its advice below it, and a line of counts at the end.

    `colour` None: only where stdout is a terminal and NO_COLOR (no-color.org) is not set.
    """
    if colour is None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = max((len(finding.check) for finding in findings), default=0)
    margin = " " * (_STATE_WIDTH + width + 4)
    lines: list[str] = []
    for finding in findings:
        state = f"{finding.state:<{_STATE_WIDTH}}"
        if colour:
            state = f"\x1b[{_COLOURS[finding.state]}m{state}\x1b[0m"
        first, *rest = finding.found.splitlines() or [""]
        lines.append(f"{state}  {finding.check:<{width}}  {first}".rstrip())
        lines += [f"{margin}{line}" for line in rest]
        for piece in finding.advice:
            head, *tail = piece.splitlines()
            lines += [f"{margin}-> {head}", *(f"{margin}   {line}" for line in tail)]
    counts = {state: sum(finding.state is state for finding in findings) for state in State}
    lines += ["", ", ".join(f"{count} {_WORDS[state]}" for state, count in counts.items() if count)]
    return "\n".join(lines)
