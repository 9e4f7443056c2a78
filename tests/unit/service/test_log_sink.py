"""Standard error is never waited for: what it does not take is kept for a while, then lost, counted and told."""

import errno
import io
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from prometheus_client import CollectorRegistry, Counter

from agentd.service.log_sink import LONGEST_LINE, ROOM, LogSink, opened

LINE = "x" * 199
LINES = ROOM // 200 * 2
"""More lines than there is room for."""


@attrs.define
class Reader:
    """Where a test's standard error goes."""

    stream: io.TextIOBase
    read: Callable[[], bytes]
    """What can be read now."""


@pytest.fixture(params=["pipe", "pipe without /proc", "socket", "terminal"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    if request.param == "socket":
        ours, theirs = socket.socketpair()
        writing, reading = ours.detach(), theirs.detach()
    elif request.param == "terminal":
        reading, writing = os.openpty()
    else:
        reading, writing = os.pipe()
    if request.param == "pipe without /proc":

        def denied(path: str, flags: int, mode: int = 0o777) -> int:
            raise PermissionError(errno.EACCES, path)

        monkeypatch.setattr("agentd.service.log_sink.os.open", denied)
    os.set_blocking(reading, False)

    def read() -> bytes:
        found = b""
        while True:
            try:
                found += os.read(reading, 65536)
            except (BlockingIOError, OSError):
                return found

    with os.fdopen(writing, "w") as stream:
        yield Reader(stream, read)
    os.close(reading)


@pytest.fixture
def told() -> list[int]:
    return []


def sink_of(stream: object, told: list[int]) -> LogSink:
    return LogSink(opened(stream), told.append)  # type: ignore[arg-type]


def test_a_line_is_with_the_reader_when_the_call_returns(reader: Reader, told: list[int]) -> None:
    sink = sink_of(reader.stream, told)
    sink.write("one")
    sink.write("two \udcff")
    assert reader.read().replace(b"\r\n", b"\n") == b"one\ntwo \\udcff\n"
    assert (sink.lost, told) == (0, [])


def test_24_calls_fell_silent_because_nobody_read_the_log(reader: Reader, told: list[int]) -> None:
    sink = sink_of(reader.stream, told)
    for number in range(LINES):
        sink.write(f"{number:06} {LINE[7:]}")  # the test ends: nothing waits
    assert sink.lost > 0
    read = reader.read()
    while not told:
        sink.write("again")
        read += reader.read()
    kept = (read + reader.read()).replace(b"\r\n", b"\n").splitlines()
    assert told == [sink.lost]
    lines = [line for line in kept if line != b"again"]
    assert [int(line[:6]) for line in lines] == list(range(len(lines))), "whole lines, the first ones, in their order"
    assert all(len(line) == 199 for line in lines)
    assert len(lines) + sink.lost - kept.count(b"again") <= LINES


def test_lost_lines_are_counted_those_from_before_too(reader: Reader, told: list[int]) -> None:
    sink = sink_of(reader.stream, told)
    for _ in range(LINES):
        sink.write(LINE)
    before = sink.lost
    registry = CollectorRegistry()
    counter = Counter("lost", "Lines.", registry=registry)
    sink.count_in(counter)
    assert registry.get_sample_value("lost_total") == before
    sink.write(LINE)
    assert registry.get_sample_value("lost_total") == before + 1


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_reader_that_is_gone_costs_lines_and_nothing_else(kind: str, told: list[int]) -> None:
    if kind == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        ours, theirs = socket.socketpair()
        theirs.close()
        writing = ours.detach()
    with os.fdopen(writing, "w") as stream:
        sink = sink_of(stream, told)
        for _ in range(10):
            sink.write("nobody reads this")
        assert sink.lost == 10
        assert told == []


def test_a_full_disk_costs_lines_and_the_next_one_that_is_written_tells(told: list[int]) -> None:
    full, disk = True, b""

    def put(data: bytes) -> int:
        nonlocal disk
        if full:
            raise OSError(errno.ENOSPC, "no space left on device")
        disk += data
        return len(data)

    sink = LogSink(put, told.append)
    for _ in range(LINES):
        sink.write(LINE)
    assert sink.lost > 0
    assert told == []
    full = False
    sink.write("room again")
    assert told == [sink.lost]
    assert disk.endswith(b"room again\n")
    sink.write("one more")
    assert len(told) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_device_that_is_full_raises_nothing(told: list[int]) -> None:
    with Path("/dev/full").open("w") as stream:
        sink = sink_of(stream, told)
        for _ in range(LINES):
            sink.write(LINE)
        assert sink.lost > 0


def test_a_line_that_was_cut_is_finished_before_the_next_one(told: list[int]) -> None:
    taken, each = b"", 3

    def put(data: bytes) -> int:
        nonlocal taken, each
        if each == 0:
            raise BlockingIOError(errno.EAGAIN, "later")
        piece, each = data[:each], 0
        taken += piece
        return len(piece)

    sink = LogSink(put, told.append)
    for line in ("first", "second", "third"):
        each = 8
        sink.write(line)
    each = 100
    sink.finish(0.0)
    assert taken == b"first\nsecond\nthird\n"


def test_what_waits_at_the_end_is_written_if_somebody_reads(told: list[int]) -> None:
    tries, taken = 0, b""

    def put(data: bytes) -> int:
        nonlocal tries, taken
        tries += 1
        if tries < 4:
            raise BlockingIOError(errno.EAGAIN, "later")
        taken += data
        return len(data)

    sink = LogSink(put, told.append)
    sink.write("last words")
    sink.finish(30.0)
    assert taken == b"last words\n"


def test_the_end_does_not_wait_for_good(told: list[int]) -> None:
    def put(data: bytes) -> int:
        raise BlockingIOError(errno.EAGAIN, "never")

    sink = LogSink(put, told.append)
    sink.write("last words")
    sink.finish(0.05)


def test_one_line_is_no_longer_than_its_limit(told: list[int]) -> None:
    stream = io.StringIO()
    sink_of(stream, told).write("ä" * LONGEST_LINE)
    assert len(stream.getvalue().encode()) < LONGEST_LINE + 100
    assert stream.getvalue().endswith("bytes more]\n")


def test_a_stream_that_is_closed_or_was_never_there_raises_nothing(told: list[int]) -> None:
    stream = io.StringIO()
    sink = sink_of(stream, told)
    stream.close()
    sink.write("x")
    nowhere = sink_of(None, told)
    nowhere.write("x")
    assert (sink.lost, nowhere.lost) == (1, 1)


def test_whoever_shares_standard_error_is_not_made_non_blocking(reader: Reader, told: list[int]) -> None:
    sink_of(reader.stream, told).write("x")
    assert os.get_blocking(reader.stream.fileno())


def test_telling_of_a_loss_may_itself_write(told: list[int]) -> None:
    taken: list[bytes] = []
    gone = True

    def put(data: bytes) -> int:
        if gone:
            raise BrokenPipeError(errno.EPIPE, "gone")
        taken.append(data)
        return len(data)

    sink = LogSink(put, lambda lines: sink.write(f"{lines} lost"))
    sink.write("one")
    gone = False
    sink.write("two")
    assert taken == [b"two\n", b"1 lost\n"]


def test_nothing_is_written_to_a_descriptor_that_is_somebody_else_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was started with its standard error closed opens another file under that number."""
    monkeypatch.setattr(sys, "stderr", None)
    sink = LogSink(opened(sys.stderr), lambda lines: None)
    sink.write("x")
    assert sink.lost == 1
