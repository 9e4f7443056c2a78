"""The report on turns at the caller's ear: set by set, line by line, beside silence alone."""

from tests.lab.latency_report import figures, silence_alone, summary, told


def turn(delay: int | None, *, hesitation=False, cut_off=False, of="third", line="clean", speaker="a", **parts):
    return {
        "set": of,
        "speaker": speaker,
        "line": line,
        "delay_ms": delay,
        "hesitation": hesitation,
        "cut_off": cut_off,
        "early": False,
        "parts_ms": parts,
    }


def test_every_turn_that_was_said_is_counted_and_so_is_each_without_an_answer():
    found = figures([turn(500), turn(None, speaker="b"), turn(900, hesitation=True, cut_off=True)])
    assert (found["asked"], found["answered"], found["unanswered"]) == (3, 2, 1)
    assert (found["speakers"], found["hesitations"], found["cut_off"]) == (2, 1, 1)
    assert found["response_delay_ms"]["max"] == 500


def test_each_set_and_each_kind_of_line_has_a_row():
    report = summary([turn(500), turn(700, of="known", line=""), turn(900, line="room")], 0.0, "")
    assert {name: row["asked"] for name, row in report["sets"].items()} == {"third": 2, "known": 1}
    assert {name: row["asked"] for name, row in report["lines"].items()} == {"clean": 1, "room": 1}
    assert "silence alone" in told(report)


def test_silence_alone_takes_longer_by_what_the_turn_was_over_sooner():
    quick = turn(520, pause=100, transcript=100, first_token=100, first_audio=100, endpoint=300)
    assert silence_alone([quick], 1200)["response_delay_ms"]["max"] == 520 + 1200 - 400
    slow = turn(1400, pause=100, endpoint=1300)
    assert silence_alone([slow], 1200)["response_delay_ms"]["max"] == 1400
