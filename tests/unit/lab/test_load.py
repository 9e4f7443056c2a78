"""What a load costs is summed from /proc, the daemon's metrics and what the telephones noted."""

import argparse
from typing import Any

import attrs
import pytest

from agentd.transports import transport_names
from tests.lab import bench_load, load_servers
from tests.lab.load import (
    Reading,
    Step,
    busy_seconds,
    calls_up,
    lateness_ms,
    processor_seconds,
    resident_megabytes,
    row,
    table,
)
from tests.lab.rtp import LineStats
from tests.lab.sipp import SCENARIO
from tests.lab.yardstick import MOST_FRAMES, SILENCE, Echo

STAT = "4711 (a (b) c) S 1 4711 4711 0 -1 4194560 1000 0 0 0 250 150 0 0 20 0 5 0 100 300000000 18000"
METRICS = """\
# TYPE agentd_line_lateness_seconds histogram
agentd_line_lateness_seconds_bucket{{le="0.001"}} {0}
agentd_line_lateness_seconds_bucket{{le="0.003"}} {1}
agentd_line_lateness_seconds_bucket{{le="+Inf"}} {2}
agentd_line_lateness_seconds_count {2}
agentd_line_lateness_seconds_sum 1
# TYPE agentd_line_frames_skipped_total counter
agentd_line_frames_skipped_total {3}
# TYPE agentd_response_seconds histogram
agentd_response_seconds_bucket{{le="+Inf"}} {4}
agentd_response_seconds_count {4}
agentd_response_seconds_sum 1
"""
BEFORE, AFTER = METRICS.format(1000, 1000, 1000, 3, 5), METRICS.format(1090, 1100, 1100, 4, 9)


def heard(**fields: Any) -> LineStats:
    usual = {"packets": 500, "lost": 0, "late": 0, "median_gap_ms": 20.0, "p99_gap_ms": 22.0, "max_gap_ms": 25.0}
    return LineStats(**{**usual, "max_send_lag_ms": 1.0, **fields})


def step(server: float = 5.0, **fields: Any) -> Step:
    """Ten seconds of 100 calls, for which the server had so many seconds of the processor."""
    before = Reading(100.0, 1.0, 50.0, 3.0, 0.5, 1000.0, BEFORE)
    after = Reading(110.0, 1.0 + server, 53.0, 4.0, 1.0, 1012.0, AFTER)
    usual = {"calls": 100, "served": 100, "heard": [heard(), heard(lost=2, late=1, max_gap_ms=48.26)]}
    return Step(**{**usual, "before": before, "after": after, "idle_mb": 70.0, "full_mb": 120.0, **fields})


def test_a_processs_time_is_read_whatever_it_is_called() -> None:
    assert processor_seconds(STAT, 100) == 4.0


def test_a_machine_is_busy_with_what_runs_on_it_not_with_waiting_or_what_its_host_took() -> None:
    assert busy_seconds("cpu  100 20 30 100000 5000 7 3 900 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n", 100) == 1.6


def test_a_call_is_up_from_its_leg_to_its_end_however_many_legs_it_has_had() -> None:
    lines = [{"event": "media leg bound", "call_id": call} for call in "abca"]
    assert calls_up([]) == 0
    assert calls_up([*lines, {"event": "call ended", "call_id": "b"}, {"event": "call ended", "call_id": "d"}]) == 2


def test_memory_is_what_is_resident() -> None:
    assert resident_megabytes("Name:\tagentd\nVmPeak:\t  900000 kB\nVmRSS:\t   73728 kB\n") == 72.0
    with pytest.raises(ValueError, match="has ended"):
        resident_megabytes("Name:\tagentd\nState:\tZ (zombie)\n")


def test_lateness_is_of_the_time_between_two_readings() -> None:
    assert lateness_ms(BEFORE, AFTER) == {"p50": 0.56, "p99": 2.8, "max": 3.0}


def test_lateness_beyond_the_last_bound_and_that_of_no_frames_is_not_known() -> None:
    assert lateness_ms(BEFORE, METRICS.format(1090, 1098, 1100, 4, 9)) == {"p50": 0.56, "p99": None, "max": None}
    assert lateness_ms(BEFORE, BEFORE) == lateness_ms("", "") == {"p50": None, "p99": None, "max": None}


def test_a_row_has_the_costs_and_what_was_heard() -> None:
    found = row("audiosocket", "external", step(), step(2.0, heard=[heard(max_gap_ms=23.0)]))
    assert found.items() >= {
        "transport": "audiosocket", "calls": 100, "served": 100,
        "agentd_cpu": 50.0, "yardstick_cpu": 20.0, "ratio": 2.5, "asterisk_cpu": 30.0, "crowd_cpu": 10.0,
        "frames_skipped": 1, "answers": 4, "packets": 1000, "packets_expected": 1000, "lost": 2, "late": 1,
        "largest_gap_ms": 48.3, "yardstick_largest_gap_ms": 23.0, "rss_mb": 120.0, "rss_idle_mb": 70.0,
        "kb_per_call": 512,
    }.items()  # fmt: skip


def test_a_daemon_too_busy_to_tell_its_metrics_has_a_row_all_the_same() -> None:
    mute = attrs.evolve(step().before, metrics="")
    found = row("audiosocket", "external", step(before=mute), None)
    assert found["agentd_cpu"] == 50.0
    assert found["frames_skipped"] is found["answers"] is found["lateness_ms"]["max"] is None


def test_what_others_used_is_what_the_machine_did_beside_the_measuring() -> None:
    assert step().others_percent == 25.0
    assert step(11.9).others_percent == 0.0


def test_what_cannot_be_divided_is_not_known() -> None:
    found = row("rtp", "rtp", step(served=0), step(0.0))
    assert found["ratio"] is None and found["kb_per_call"] is None
    assert row("rtp", "rtp", step(), None)["yardstick_cpu"] is None


def test_the_table_has_a_line_a_row_with_a_dash_for_what_is_not_known() -> None:
    found = table([row("audiosocket", "external", step(), step(2.0)), row("rtp", "rtp", step(), None)])
    titles, audiosocket, rtp = found.splitlines()
    assert titles.split()[:3] == ["transport", "media", "calls"]
    assert audiosocket.split()[:7] == ["audiosocket", "external", "100", "100", "50.0", "20.0", "2.5"]
    assert rtp.split()[:7] == ["rtp", "rtp", "100", "100", "50.0", "-", "-"]


def test_every_transport_has_an_extension_of_its_own_in_the_dialplan() -> None:
    to = load_servers.extensions(transport_names())
    text = load_servers.dialplan(transport_names(), 12345)
    assert len({*to.values(), load_servers.YARDSTICK_EXTENSION}) == len(transport_names()) + 1
    for media, extension in to.items():
        assert f"exten => {extension},1,Set(AGENTD_FALLBACK=${{CONTEXT}},{extension},again)\n" in text
        assert f"Gosub(agentd-call,${{EXTEN}},1(default,{media}))\n" in text
    assert "AudioSocket(${UUID()},127.0.0.1:12345)\n" in text


def test_steps_are_numbers_of_calls_and_transports_are_those_that_there_are() -> None:
    assert bench_load.numbers("1,20,50") == [1, 20, 50]
    assert bench_load.names("external") == ["external"]
    for wrong in ("0", "1,,2", "a", "-3", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="from 1 on"):
            bench_load.numbers(wrong)
    with pytest.raises(argparse.ArgumentTypeError, match=r"agentd has external, fork.*; got pigeon"):
        bench_load.names("external,pigeon")


def test_the_crowds_scenario_has_sipps_keywords_and_two_places_to_fill() -> None:
    assert SCENARIO.count("@RECORDING@") == SCENARIO.count("@MILLISECONDS@") == 1
    assert "[rtpstream_audio_port]" in SCENARIO


def test_the_yardstick_sends_whole_frames_back_however_they_are_cut_and_drops_the_oldest() -> None:
    echo = Echo()
    uuid = b"\x01\x00\x10" + bytes(16)
    frames = [b"\x10\x00\x02" + bytes([number, 0]) for number in range(MOST_FRAMES + 1)]
    data = uuid + frames[0] + frames[1]
    for at in range(len(data)):
        echo.data_received(data[at : at + 1])
    assert list(echo.heard) == frames[:2]
    echo.data_received(b"".join(frames[2:]))
    assert list(echo.heard) == frames[1:]
    assert len(SILENCE) == 323
