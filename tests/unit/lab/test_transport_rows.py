"""The sums of the bench that sets transports side by side."""

from tests.lab.interruption import Outcome
from tests.lab.lossy import Weather
from tests.lab.transport_rows import Line, Seen, more_ms, row, table, wrong

LOSSY = Line("rtp", Weather(loss=0.01, jitter=0.02))


def seen(steps: int | None = None, **delays: float | None) -> Seen:
    return Seen(dict(delays), dict(delays), steps=steps)


def test_how_much_later_a_response_is_goes_by_the_same_sentences() -> None:
    plain = {"one": 800.0, "two": 1500.0, "three": 900.0, "four": None}
    assert more_ms({"one": 830.0, "two": 1510.0, "three": 990.0, "four": 100.0, "five": 10.0}, plain) == 30
    assert more_ms({"four": 100.0}, plain) is None


def test_a_row_tells_what_was_seen() -> None:
    outcomes = [
        Outcome(stop_ms=500.0, resumed=False, attenuate_ms=100.0, silent_ms=2000.0, lost_ms=0.0),
        Outcome(stop_ms=None, resumed=True, attenuate_ms=100.0, silent_ms=0.0, lost_ms=0.0),
    ]
    found = row(LOSSY, Seen({"one": 840.0}, {"one": 790.0}, outcomes, steps=0), seen(one=800.0))
    assert found["line"] == "rtp, 1 % lost, 20 ms jitter"
    assert (found["answered"], found["response_more_ms"]) == (1, 40)
    assert (found["said_back"], found["said_back_more_ms"], found["said_back_ms"]["p95"]) == (1, -10, 790)
    assert (found["interruptions"], found["stopped"], found["stop_ms"]["p50"]) == (2, 1, 500)
    assert row(Line("external"), seen(one=800.0), None)["response_more_ms"] is None


def test_what_must_not_be_is_told() -> None:
    plain = seen(one=800.0, two=700.0)
    assert wrong([row(LOSSY, seen(steps=0, one=840.0, two=740.0), plain)]) == []
    assert wrong([row(LOSSY, seen(steps=2, one=841.0, two=None), plain)]) == [
        "rtp, 1 % lost, 20 ms jitter: 1 of 2 answered",
        "rtp, 1 % lost, 20 ms jitter: 1 of 2 said back",
        "rtp, 1 % lost, 20 ms jitter: said back 41 ms later than without",
        "rtp, 1 % lost, 20 ms jitter: 2 steps in what an agent hears",
    ]


def test_the_table_leaves_empty_what_is_not_known() -> None:
    *_, last = table([row(Line("external"), Seen({"one": 800.0}, {"one": 750.0}, agentd_cpu=0.4), None)]).splitlines()
    assert last == "| external | 750 ms | 750 ms |  | 800 ms | 800 ms |  |  | 0.4 |  |  |"
