"""A leg over chan_websocket, against a channel as strict as Asterisk's, in virtual time: its traps, and the rest.

Whole calls over it are in tests/shell/media/test_any_line.py.
"""

import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd.chan_websocket.commands import FLUSH_MEDIA, HANG_UP, REPORT_QUEUE_DRAINED
from agentd.chan_websocket.connection import EARLY, MARGIN, ChanWebSocketConnection
from agentd.errors import MediaProtocolError
from agentd.media.leg import FRAME_SECONDS, LONGEST_LEAD, LineFormat
from agentd.metrics import Metrics
from tests.shell.media.chan_websocket_lines import Channel, MediaLine

FRAME = 320
SILENCE = bytes(FRAME)


def frame(number: int) -> bytes:
    return number.to_bytes(2, "little") * (FRAME // 2)


@attrs.define(eq=False)
class Leg:
    """A connection that is served, what Asterisk has behind it, and what agentd takes from it."""

    connection: ChanWebSocketConnection
    line: MediaLine
    speech: list[bytes] = attrs.field(factory=list)
    """What there is to say; what is taken back goes back there."""
    received: list[bytes] = attrs.field(factory=list)
    digits: list[str] = attrs.field(factory=list)
    beats: int = 0
    reason: str = ""
    taken: list[bytes | None] = attrs.field(factory=list)
    ended: trio.Event = attrs.field(factory=trio.Event)

    def next_frame(self, *, ahead: bool = False) -> bytes | None:
        if ahead and not self.speech:
            return None
        self.taken.append(self.speech.pop(0) if self.speech else None)
        return self.taken[-1]

    def take_back(self) -> None:
        count = self.connection.take_back()
        self.speech[:0] = [each for each in self.taken[len(self.taken) - count :] if each]
        del self.taken[len(self.taken) - count :]

    def beat(self) -> None:
        self.beats += 1

    @property
    def metrics(self) -> Callable[[str], float | None]:
        return lambda name: self.connection.metrics.registry.get_sample_value(f"agentd_chan_websocket_{name}")

    @property
    def said(self) -> list[str]:
        """The commands that were sent, without those of marks."""
        texts = [each for each in self.line.sent if isinstance(each, str)]
        return [each for each in texts if "MARK_MEDIA" not in each]

    @property
    def heard(self) -> list[int]:
        """The numbers of the frames that were heard, without silence."""
        return [int.from_bytes(pcm[:2], "little") for _, pcm in self.line.frames if pcm != SILENCE]

    async def over(self) -> str:
        with trio.fail_after(60):
            await self.ended.wait()
        return self.reason


@asynccontextmanager
async def served(line: MediaLine | None = None) -> AsyncIterator[Leg]:
    line = line or MediaLine()
    leg = Leg(ChanWebSocketConnection(line, "asterisk", LineFormat(), Metrics()), line)  # type: ignore[arg-type]

    async def serve() -> None:
        leg.reason = await leg.connection.serve(
            LineFormat(),
            lambda pcm, rate, at: leg.received.append(pcm),
            leg.digits.append,
            leg.next_frame,
            leg.beat,
        )
        leg.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield leg
        nursery.cancel_scope.cancel()
    assert line.channel.warnings == [], "Asterisk would drop it, and say so in its log alone"


# --- its beginning


def opened(*messages: str | bytes) -> ChanWebSocketConnection:
    line = MediaLine()
    for message in messages:
        line.tell(message)
    return ChanWebSocketConnection(line, "asterisk", LineFormat(), Metrics())  # type: ignore[arg-type]


def start(**fields: Any) -> str:
    return json.dumps({"event": "MEDIA_START", "format": "slin", "optimal_frame_size": FRAME, "ptime": 20} | fields)


async def test_audio_may_come_before_media_start_and_is_not_lost(autojump_clock: MockClock) -> None:
    connection = opened(*(frame(number) for number in range(EARLY + 10)), start())
    await connection.begin()
    received: list[bytes] = []
    with trio.move_on_after(1.0):
        await connection.serve(
            LineFormat(),
            lambda pcm, rate, at: received.append(pcm),
            lambda digit: None,
            lambda *, ahead=False: None,
            lambda: None,
        )
    assert received == [frame(number) for number in range(10, EARLY + 10)], "the last second of it"


@pytest.mark.parametrize(
    "message, complaint",
    [
        (
            start(format="opus", optimal_frame_size=0),
            "Asterisk carries opus, 0 bytes in 20 ms, where 320 were asked for",
        ),
        (start(format="slin16", optimal_frame_size=640), "Asterisk carries slin16, 640 bytes"),
        ("MEDIA_START connection_id:a format:slin", "plain text, not JSON"),
        ('{"event":"ERROR","error_text":"no"}', "Asterisk begins with an error: no"),
        ("{}", "event of an event"),
    ],
    ids=["passed through unframed", "another rate", "a release without JSON", "an error", "no event"],
)
async def test_a_channel_that_carries_something_else_is_refused_with_the_reason(
    message: str, complaint: str, autojump_clock: MockClock
) -> None:
    with pytest.raises(MediaProtocolError, match=complaint):
        await opened(message).begin()


# --- silence and sound


async def test_an_empty_queue_would_mean_no_rtp_so_there_is_always_silence_in_it(autojump_clock: MockClock) -> None:
    """From 22.9 on: some telephones hang up."""
    async with served() as leg:
        await trio.sleep(10)
        assert len(leg.line.holes) <= 1, "before the first message has come"
        assert {pcm for _, pcm in leg.line.frames} == {SILENCE}
        assert leg.line.channel.length <= MARGIN
        assert leg.beats == pytest.approx(500, abs=2)


async def test_sound_is_sent_ahead_as_far_as_a_late_loop_needs_and_no_further(autojump_clock: MockClock) -> None:
    async with served() as leg:
        await trio.sleep(0.5)
        leg.speech = [frame(number) for number in range(1, 201)]
        lengths = []
        for _ in range(150):
            await trio.sleep(0.013)
            lengths.append(leg.line.channel.length)
        assert max(lengths) <= LONGEST_LEAD
        assert min(lengths[5:]) >= LONGEST_LEAD - 2, "180 ms without agentd are not heard"
        await trio.sleep(5)
        assert leg.heard == [*range(1, 201)]


async def test_marks_are_of_a_lead_and_not_of_a_frame(autojump_clock: MockClock) -> None:
    async with served() as leg:
        leg.speech = [frame(number) for number in range(1, 101)]
        await trio.sleep(2)
        marks = [each for each in leg.line.channel.commands if each["command"] == "MARK_MEDIA"]
        assert len(marks) == pytest.approx(10, abs=3)


async def test_frames_that_follow_one_another_go_in_one_message(autojump_clock: MockClock) -> None:
    async with served() as leg:
        leg.speech = [frame(number) for number in range(1, 9)]
        await trio.sleep(0.001)
        messages = [each for each in leg.line.sent if isinstance(each, bytes)]
        assert sum(map(len, messages)) == 8 * FRAME
        assert len(messages) <= 2
        assert all(len(each) % FRAME == 0 for each in messages), "Asterisk drops a remainder smaller than a frame"


# --- what is taken back


async def test_what_is_taken_back_is_flushed_and_said_again_from_where_the_ear_is(autojump_clock: MockClock) -> None:
    async with served() as leg:
        leg.speech = [frame(number) for number in range(1, 101)]
        for after in (0.3, 0.207, 0.113, 0.001, 0.5):
            await trio.sleep(after)
            leg.take_back()
        await trio.sleep(5)
        heard = leg.heard
        assert heard == sorted(heard)
        assert {*heard} == {*range(1, 101)}, "no frame is lost"
        assert len(heard) - 100 <= leg.line.flushes, "and one at most is heard twice"
        assert leg.metrics("flushes_total") == leg.line.flushes


async def test_a_stop_is_heard_within_two_frames(autojump_clock: MockClock) -> None:
    async with served() as leg:
        leg.speech = [frame(number) for number in range(1, 101)]
        await trio.sleep(0.517)
        stopped = trio.current_time()
        leg.take_back()
        leg.speech.clear()
        await trio.sleep(1)
        assert not [pcm for at, pcm in leg.line.frames if at > stopped + 2 * FRAME_SECONDS and pcm != SILENCE]
        assert len(leg.line.holes) <= 2, "the flush leaves no hole in the line"


async def test_what_was_not_sent_yet_is_not_sent_when_it_is_taken_back(autojump_clock: MockClock) -> None:
    async with served() as leg:
        await trio.sleep(0.1)
        leg.line.clogged = trio.Event()
        leg.speech = [frame(number) for number in range(1, 30)]
        await trio.sleep(0.1)
        before = len(leg.line.sent)
        leg.take_back()
        leg.speech.clear()
        leg.line.clogged.set()
        await trio.sleep(0.001)
        assert leg.line.sent[before + 1] == FLUSH_MEDIA, "behind the one message that was on its way"


async def test_a_flush_is_confirmed_by_the_report_of_a_drained_queue(autojump_clock: MockClock) -> None:
    async with served() as leg:
        await trio.sleep(0.2)
        assert leg.said == [REPORT_QUEUE_DRAINED]
        leg.line.channel.receive(FLUSH_MEDIA)
        await trio.sleep(0.5)
        drained = int(leg.metrics("drained_total") or 0)
        assert 1 <= drained <= 3
        assert leg.said == [REPORT_QUEUE_DRAINED] * (drained + 1), "asked for again after each report"


async def test_a_queue_whose_marks_were_lost_is_filled_again(autojump_clock: MockClock) -> None:
    """Whatever has become of them in Asterisk: without their reports it was taken for full, for ever."""
    async with served() as leg:
        leg.speech = [frame(number) for number in range(1, 101)]
        await trio.sleep(0.5)
        leg.line.channel.receive(FLUSH_MEDIA)
        await trio.sleep(3)
        assert leg.heard[-1] == 100
        assert len(leg.heard) >= 100 - LONGEST_LEAD
        assert len(leg.line.holes) <= 4


async def test_the_queue_is_never_paused_for_a_flush_does_not_end_a_pause(autojump_clock: MockClock) -> None:
    async with served() as leg:
        leg.speech = [frame(number) for number in range(1, 60)]
        for _ in range(8):
            await trio.sleep(0.1)
            leg.take_back()
        await trio.sleep(1)
        assert not leg.line.channel.paused
        assert not [each for each in leg.said if "PAUSE" in each]


# --- what Asterisk tells


async def test_where_asterisk_says_stop_nothing_is_sent_and_the_line_goes_on_beating(autojump_clock: MockClock) -> None:
    async with served() as leg:
        leg.speech = [frame(number) for number in range(1, 101)]
        await trio.sleep(0.2)
        leg.line.say_stop(True)
        await trio.sleep(0.05)
        sent, beats = len(leg.line.sent), leg.beats
        await trio.sleep(2)
        assert len(leg.line.sent) == sent
        assert leg.beats - beats == pytest.approx(100, abs=2)
        leg.line.say_stop(False)
        await trio.sleep(4)
        assert leg.heard == [*range(1, 101)]
        assert leg.metrics("stops_total") == 1


async def test_a_stop_that_no_go_on_follows_does_not_leave_the_caller_in_silence(autojump_clock: MockClock) -> None:
    async with served() as leg:
        await trio.sleep(0.2)
        leg.line.say_stop(True)
        await trio.sleep(4)  # a full queue takes no longer
        leg.line.say_stop(True)
        assert not leg.reason
        assert await leg.over() == "Asterisk has said stop, and not go on, for 5 s"
        assert trio.current_time() < 6


async def test_an_asterisk_that_plays_nothing_does_not_leave_the_caller_in_silence_until_a_ping_fails(
    autojump_clock: MockClock,
) -> None:
    async with served() as leg:
        await trio.sleep(0.2)
        leg.line.late += math.inf
        assert await leg.over() == "Asterisk has played nothing for 5 s"
        assert trio.current_time() < 6


async def test_where_asterisk_s_clock_stands_still_the_queue_does_not_grow(autojump_clock: MockClock) -> None:
    async with served() as leg:
        leg.speech = [frame(number) for number in range(1, 201)]
        await trio.sleep(0.3)
        leg.line.late += 3.0
        await trio.sleep(2)
        assert leg.line.channel.length <= 2 * LONGEST_LEAD
        await trio.sleep(6)
        assert leg.heard == [*range(1, 201)]


async def test_keys_and_audio_are_handed_on_and_half_a_sample_is_not(autojump_clock: MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with served() as leg:
            leg.line.speak(frame(7))
            leg.line.speak(b"\x01\x02\x03")
            leg.line.speak(b"")
            leg.line.speak(b"\x01")
            leg.line.press("#")
            await trio.sleep(0.1)
            assert leg.received == [frame(7), b"\x01\x02"]
            assert leg.digits == ["#"]
    assert len(logs) == 1, "told once"


@pytest.mark.parametrize(
    "message, reason",
    [
        (
            '{"event":"ERROR","error_text":"MARK_MEDIA not supported in passthrough mode"}',
            "does not do what it is told",
        ),
        (start(), "a second MEDIA_START"),
        ("[]", "protocol error: an event should be a JSON object"),
        ("MEDIA_XON", "protocol error: control messages are plain text"),
    ],
)
async def test_what_must_not_come_ends_the_leg_with_the_reason(
    message: str, reason: str, autojump_clock: MockClock
) -> None:
    async with served() as leg:
        leg.line.tell(message)
        assert reason in await leg.over()


async def test_an_event_that_is_not_known_is_passed_over_and_told_once(autojump_clock: MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with served() as leg:
            for _ in range(3):
                leg.line.channel.tell_event("OF_A_LATER_ASTERISK")
            await trio.sleep(0.1)
            assert not leg.reason
    assert [log["name"] for log in logs] == ["OF_A_LATER_ASTERISK"]


async def test_messages_that_were_dropped_for_want_of_room_end_the_leg_for_a_mark_may_be_among_them(
    autojump_clock: MockClock,
) -> None:
    line = MediaLine(dropped=3)  # before it was served: audio of the time until then
    async with served(line) as leg:
        leg.line.speak(frame(1))
        await trio.sleep(0.1)
        assert not leg.reason
        leg.line.dropped += 1
        leg.line.speak(frame(2))
        assert "too late to read" in await leg.over()


# --- its end


async def test_asterisk_s_close_ends_the_leg_and_what_is_ahead_holds_still(autojump_clock: MockClock) -> None:
    async with served() as leg:
        leg.speech = [frame(number) for number in range(1, 101)]
        await trio.sleep(0.5)
        leg.line.cut()
        assert "closed by the peer" in await leg.over()
        ahead = leg.connection.ahead
        assert ahead >= LONGEST_LEAD - 2
        await trio.sleep(1)
        assert leg.connection.ahead == ahead
        assert leg.connection.take_back() == ahead
        assert FLUSH_MEDIA not in leg.line.sent


async def test_a_hang_up_is_sent_behind_what_was_taken_and_nothing_comes_after_it(autojump_clock: MockClock) -> None:
    async with served(MediaLine(Channel())) as leg:
        leg.speech = [frame(number) for number in range(1, 4)]
        await trio.sleep(0.1)
        leg.connection.hang_up()
        assert await leg.over() == "hung up by agentd"
        assert leg.line.sent[-1] == HANG_UP
        leg.connection.release()
        leg.connection.release()
        assert leg.connection.released.is_set()
