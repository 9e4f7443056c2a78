"""Every deadline is in the table, and what lies in one fits into it."""

import ast
import math
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import attrs
import pytest

from agentd import deadlines
from agentd.config import schema
from agentd.config.settings import AgentConfig, Config, ToolConfig
from agentd.deadlines import TABLE, Deadline, Row, Setting, UnitSetting, misfits
from agentd.tools.registry import BUILT_IN as TOOLS
from agentd_providers.registry import BUILT_IN as PROVIDERS
from agentd_providers.wyoming.server.settings import SpeechServerSettings
from tests.lab.deadline_lint import found, modules, strays


def test_every_deadline_of_the_code_is_in_the_table_and_the_other_way_round() -> None:
    assert list(strays(dict(modules()))) == []


@pytest.mark.parametrize(
    ("code", "sources"),
    [
        ("trio.fail_after(5)", ("5",)),
        ("move_on_after(PATIENCE, shield=True)", ("PATIENCE",)),
        ("trio.move_on_after(seconds=self.timeout + GRACE)", ("self.timeout", "GRACE")),
        ("trio.fail_at(min(until, trio.current_time() + deadline))", ("until", "deadline")),
        ("trio.CancelScope(shield=True, deadline=late)", ("late",)),
        ("scope.shield, scope.deadline = True, trio.current_time() + LONGEST", ("LONGEST",)),
        ("httpx.Client(timeout=httpx.Timeout(30.0, connect=15))", ("30.0", "15", "30.0", "15")),
        ("trio.move_on_after(deadlines.ENGINE_JOB.of(len(pcm) / rate))", ("deadlines.ENGINE_JOB",)),
        ("trio.fail_after(row.fitting(7))", ("row.fitting(7)",)),
    ],
)
def test_what_a_deadline_is_computed_from_is_found(code: str, sources: tuple[str, ...]) -> None:
    assert tuple(source for each in found("module", ast.parse(code)) for source in each.sources) == sources


@pytest.mark.parametrize("number", ["5", "2 * deadlines.TEARDOWN.seconds", "OTHER", "deadlines.NO_SUCH.seconds"])
def test_a_deadline_that_is_not_in_the_table_is_told_with_its_place(number: str) -> None:
    tree = ast.parse(f"OTHER = 5.0\nwith trio.fail_after({number}):\n    pass")
    assert any(line.startswith("agentd.late:2: ") for line in strays({"agentd.late": tree}))


def test_a_constant_that_is_made_of_a_row_is_one_wherever_it_is_imported() -> None:
    here = ast.parse("LATE = deadlines.TEARDOWN.seconds\nwith trio.fail_after(LATE):\n    pass")
    there = ast.parse("from agentd.late import LATE as SOON\nwith trio.fail_after(SOON):\n    pass")
    assert not [line for line in strays({"agentd.late": here, "agentd.later": there}) if "agentd.late" in line]


def test_every_row_is_in_the_table_by_its_name() -> None:
    rows = {name: value for name, value in vars(deadlines).items() if isinstance(value, Row)}
    assert rows == dict(TABLE)


def test_every_row_says_why() -> None:
    assert not [name for name, row in TABLE.items() if len(row.why) < 10]


def test_what_lies_in_a_deadline_fits_into_it() -> None:
    assert list(misfits({})) == []


def test_a_sum_that_does_not_fit_is_told_with_both_sides() -> None:
    inner = Deadline(3.0, "A request.")
    outer = Deadline(8.0, "One of them, or three.", holds=((inner,), 3 * (inner,)))
    table: dict[str, Row] = {"INNER": inner, "OUTER": outer}
    assert list(misfits({}, table)) == [("OUTER", "must be at least 9 (INNER 3 + INNER 3 + INNER 3), not 8")]


def test_a_deadline_holds_whatever_may_be_configured() -> None:
    inner = Setting("asterisk.some_timeout", "A request.", most=10.0)
    table: dict[str, Row] = {"INNER": inner, "OUTER": Deadline(8.0, "One of them.", holds=((inner,),))}
    assert list(misfits({inner: 5.0}, table)) == [("OUTER", "must be at least 10 (asterisk.some_timeout 10), not 8")]


def test_a_setting_holds_what_is_configured() -> None:
    inner = Setting("a.inner", "A request.")
    outer = Setting("a.outer", "A leg.", holds=((inner,),))
    table: dict[str, Row] = {"INNER": inner, "OUTER": outer}
    assert not list(misfits({}, table))
    assert not list(misfits({inner: 5.0, outer: 5.0}, table))
    assert list(misfits({inner: 6.0, outer: 5.0}, table)) == [("OUTER", "must be at least 6 (a.inner 6), not 5")]


def test_the_deadline_of_a_job_follows_its_work_up_to_a_bound() -> None:
    job = Deadline(2.0, "A job.", per_second=0.5, longest_work=10.0)
    assert (job.of(0.0), job.of(4.0), job.of(10.0), job.of(100.0), job.most) == (2.0, 4.0, 7.0, 7.0, 7.0)


# --- the settings, and the units

ROOT = Path(__file__).parents[2]
TIMES = {
    "agents.NAME.liveness.check_in_after": "a silence of the caller's",
    "agents.NAME.liveness.dead_air_after": "a silence of both",
    "agents.NAME.liveness.slow_after": "when the filler is due",
    "agents.NAME.liveness.max_duration": "the length of a call",
    "agents.NAME.liveness.warn_before": "when its end is told",
    "agents.NAME.deepgram.session_limit": "the length of a session, which Deepgram bounds",
    "agents.NAME.deepgram.renew_before": "when the next one is looked for",
    "agents.NAME.openai_realtime.session_minutes": "the length of a session, which OpenAI bounds",
    "agents.NAME.*.turn.max_seconds": "the length of a turn",
    "speech_server.max_utterance": "seconds of audio",
}
"""Settings that are times and no deadlines: nobody is late when they are over."""
NAMES = ("timeout", "deadline", "within", "after", "before", "grace", "limit", "minutes", "alive", "duration")
ELSEWHERE = ("_ms", "max_tokens")
"""Milliseconds of audio, which the taking of turns counts."""


def below(cls: type, path: str) -> Iterator[tuple[str, schema.Setting]]:
    """Every setting of a class of them, by its path."""
    for each in schema.settings_of(cls):
        where = f"{path}.{each.name}"
        if attrs.has(each.type):
            yield from below(each.type, where)
        else:
            yield where, each


def deadlines_of_the_configuration() -> dict[str, schema.Setting]:
    """The times among all settings: of agentd, of providers and their stages, of tools, of the speech server."""
    found = [*below(AgentConfig, "agents.NAME"), *below(ToolConfig, "tools.NAME")]
    for section in ("asterisk", "audiosocket", "rtp", "media", "calls", "health", "logging"):
        found += below(type(getattr(Config(), section)), section)
    for name, provider in PROVIDERS.items():
        found += below(provider.settings, f"agents.NAME.{name}")
    for name, tool in TOOLS.items():
        found += below(tool.settings, f"tools.NAME.{name}")
    found += below(SpeechServerSettings, "speech_server")
    return {path: each for path, each in found if is_time(path, each)}


def is_time(path: str, setting: schema.Setting) -> bool:
    name = path.rpartition(".")[2]
    named = name.endswith(NAMES) or "econds" in setting.doc
    elsewhere = name.endswith(ELSEWHERE) or any(fnmatch(path, each) for each in TIMES)
    return setting.type in (float, int) and named and not elsewhere


def row_of(path: str) -> Setting | None:
    """The row of a setting."""
    for row in TABLE.values():
        paths = row.path.replace("PROVIDER", "*").split(", ") if isinstance(row, Setting) else ()
        if isinstance(row, Setting) and any(fnmatch(path, each) for each in paths):
            return row
    return None


CONFIGURED = deadlines_of_the_configuration()


def test_there_are_deadlines_in_the_configuration() -> None:
    assert {"asterisk.request_timeout", "agents.NAME.pipeline.think_openai.timeout"} <= CONFIGURED.keys()


@pytest.mark.parametrize("path", CONFIGURED)
def test_a_deadline_that_is_configured_is_effective_or_refused(path: str) -> None:
    row, setting = row_of(path), CONFIGURED[path]
    assert row is not None, "it has no row in agentd.deadlines"
    assert not [complaint for check in setting.checks if (complaint := check(setting.default))]
    if not math.isinf(row.most):
        (complaint,) = [found for check in setting.checks if (found := check(row.most + 1))]
        assert complaint == f"must be at most {row.most:g} ({row.beyond})"


def test_every_row_of_a_setting_has_one() -> None:
    known = {row_of(path) for path in CONFIGURED}
    assert not [name for name, row in TABLE.items() if isinstance(row, Setting) and row not in known]


def test_a_message_that_names_a_number_of_the_table_has_the_right_one() -> None:
    assert f" {deadlines.SESSION_STUCK.seconds:g} s " in deadlines.STAGE_TIMEOUT.beyond
    assert f" {deadlines.SPEECH_STOP.seconds:g} s " in deadlines.SPEECH_DRAIN.beyond
    assert deadlines.ARI_TIMEOUT.beyond.endswith(f" {deadlines.LEAVE.seconds:g} s")


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if isinstance(row, UnitSetting)])
def test_what_the_table_says_of_a_unit_is_what_its_file_says(name: str) -> None:
    row = TABLE[name]
    assert isinstance(row, UnitSetting)
    lines = (ROOT / "systemd" / row.unit).read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith(f"{row.key}=")] == [f"{row.key}={row.seconds:g}"]


@pytest.mark.parametrize("unit", ["agentd.service", "agentd-speech.service"])
def test_every_deadline_of_a_unit_has_a_row(unit: str) -> None:
    keys = {row.key for row in TABLE.values() if isinstance(row, UnitSetting) and row.unit == unit}
    assert keys == {"TimeoutStartSec", "TimeoutStopSec", "WatchdogSec"}
