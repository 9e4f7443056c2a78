"""Running tests on a busy host, in another order each time."""

from collections.abc import Sequence

import pytest

from tests.lab import busy


def test_the_cores_are_kept_busy_for_as_long_as_the_block_runs() -> None:
    with busy.busy(2) as burners:
        assert [burner.poll() for burner in burners] == [None, None]
    assert all(burner.returncode is not None for burner in burners)


def test_every_run_has_an_order_of_its_own_and_those_that_failed_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[tuple[int, Sequence[str]]] = []

    def run(seed: int, tests: Sequence[str]) -> int:
        ran.append((seed, tests))
        return seed == 6

    monkeypatch.setattr(busy, "run", run)
    monkeypatch.setattr("sys.argv", ["busy", "--runs", "3", "--burners", "0", "--seed", "5", "tests/unit/ari", "-x"])
    assert busy.main() == 1
    assert ran == [(seed, ["tests/unit/ari", "-x"]) for seed in (5, 6, 7)]
    assert "just test-busy --runs 1 --seed 6" in capsys.readouterr().out


def test_what_is_run_without_arguments_is_everything_that_needs_no_engine_and_no_asterisk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[Sequence[str]] = []

    def run(seed: int, tests: Sequence[str]) -> int:
        ran.append(tests)
        return 0

    monkeypatch.setattr(busy, "run", run)
    monkeypatch.setattr("sys.argv", ["busy", "--burners", "0"])
    assert busy.main() == 0
    assert ran == [busy.TESTS] * 10
