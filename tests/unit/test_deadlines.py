"""Every deadline is in the table, and what lies in one fits into it."""

import ast

import pytest

from agentd import deadlines
from agentd.deadlines import TABLE, Deadline, Row, Setting, misfits
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
    assert list(misfits({}, table)) == [("OUTER", "8 s is less than 9 s: INNER 3 + INNER 3 + INNER 3")]


def test_a_deadline_holds_whatever_may_be_configured() -> None:
    inner = Setting("asterisk.some_timeout", "A request.", most=10.0)
    table: dict[str, Row] = {"INNER": inner, "OUTER": Deadline(8.0, "One of them.", holds=((inner,),))}
    assert list(misfits({inner: 5.0}, table)) == [("OUTER", "8 s is less than 10 s: asterisk.some_timeout 10")]


def test_a_setting_holds_what_is_configured() -> None:
    inner = Setting("a.inner", "A request.")
    outer = Setting("a.outer", "A leg.", holds=((inner,),))
    table: dict[str, Row] = {"INNER": inner, "OUTER": outer}
    assert not list(misfits({}, table))
    assert not list(misfits({inner: 5.0, outer: 5.0}, table))
    assert list(misfits({inner: 6.0, outer: 5.0}, table)) == [("OUTER", "5 s is less than 6 s: a.inner 6")]


def test_the_deadline_of_a_job_follows_its_work() -> None:
    job = Deadline(2.0, "A job.", per_second=0.5, longest_work=10.0)
    assert (job.of(0.0), job.of(4.0), job.most) == (2.0, 4.0, 7.0)
