"""What the doctor says of the time that engines take."""

from pathlib import Path

import pytest

from agentd.doctor.delay import NOTICED, Processor, judge_delay
from agentd.doctor.findings import State
from agentd_providers.rehearsal import Rehearsal

QUICK = Rehearsal(0.21, 0.11, 0.2)
WIDE = Processor(2, 0.1, ("AVX-512", "AVX2"))


def test_a_host_that_is_quick_enough_is_told_its_delay_and_where_it_comes_from() -> None:
    finding = judge_delay("delay main", QUICK, WIDE)
    assert (finding.state, finding.advice) == (State.OK, ())
    assert "waits 0.7 s" in finding.found
    assert "210 ms for the words, 110 ms for the reply to begin, 200 ms for its first sound" in finding.found
    assert finding.found.endswith("2 cores with AVX-512")


@pytest.mark.parametrize(
    ("slow", "advice"),
    [
        (Rehearsal(0.9, 0.1, 0.1), "speech to text"),
        (Rehearsal(0.1, 0.9, 0.1), "the language model"),
        (Rehearsal(0.1, 0.1, 0.9), "the voice"),
    ],
)
def test_a_slow_host_is_advised_on_what_takes_the_longest(slow: Rehearsal, advice: str) -> None:
    finding = judge_delay("delay main", slow, WIDE)
    assert slow.total > NOTICED
    assert finding.state is State.WARN
    assert len(finding.advice) == 1
    assert finding.advice[0].startswith(advice)


def test_a_busy_host_and_one_that_hides_its_processor_are_told_so_first() -> None:
    finding = judge_delay("delay main", Rehearsal(2, 1, 1), Processor(2, 1.5, ()))
    busy, hidden, _longest = finding.advice
    assert "load 1.5" in busy
    assert "CPU type `host`" in hidden
    assert finding.found.endswith("2 cores with no AVX2")


@pytest.mark.parametrize(
    ("cpuinfo", "instructions", "words"),
    [
        ("flags\t\t: fpu avx2 avx512f\n", ("AVX-512", "AVX2"), "with AVX-512"),
        ("flags\t\t: fpu avx2x avx2\n", ("AVX2",), "with AVX2"),
        ("flags\t\t: fpu sse\n", (), "with no AVX2"),
        ("Features\t: fp asimd\n", None, "s"),
    ],
)
def test_what_the_processor_reckons_with_is_read(
    cpuinfo: str, instructions: tuple[str, ...] | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{cpuinfo}")
    processor = Processor.of_this_host(path)
    assert processor.instructions == instructions
    assert str(Processor(2, 0.0, instructions)).endswith(words)


def test_a_host_that_tells_nothing_of_its_processor_has_cores_all_the_same(tmp_path: Path) -> None:
    processor = Processor.of_this_host(tmp_path / "none")
    assert processor.instructions is None
    assert processor.cores >= 1
