"""One call's audio, leg after leg: what is tried when a leg is lost, and what comes of it."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd.audiosocket.connection import AudioSocketConnection
from agentd.audiosocket.frames import HEADER, Kind
from agentd.conversation import events as happens
from agentd.errors import AriError, AriUnavailable, MediaTimeout
from agentd.media.caller import FIRST_DELAY, PROVEN_AFTER, STALLED_AFTER, CallerMedia
from agentd.media.codecs import cannot_convert
from agentd.media.leg import LegKind, LineFormat, MediaConnection
from agentd.media.passed import BEHIND, PATIENCE
from agentd.metrics import Metrics
from agentd.testing._lines import Line, audio_frame, dtmf_frame, make_line
from agentd.testing.sound import voice

STREAMING, LISTENING = LegKind.STREAMING, LegKind.LISTENING
TRIES = 3


@attrs.define(eq=False)
class Legs:
    """A source whose legs come up, or fail as `failing` says for the n-th attempt (from 0)."""

    failing: Callable[[int, LegKind], Exception | None] = lambda number, kind: None
    lost_means_hang_up: bool = False
    lines: list[Line] = attrs.field(factory=list)
    asked: list[tuple[float, LegKind]] = attrs.field(factory=list)
    silences: list[float] = attrs.field(factory=list)
    stuck: str = ""
    """The codec that the PBX cannot convert."""
    asked_codec: int = 0
    stands: bool | AriError = True
    asked_whether_it_stands: list[float] = attrs.field(factory=list)
    up: int = 0

    @asynccontextmanager
    async def media_leg(self, kind: LegKind) -> AsyncIterator[MediaConnection]:
        await trio.lowlevel.checkpoint()
        number = len(self.asked)
        self.asked.append((trio.current_time(), kind))
        if failure := self.failing(number, kind):
            raise failure
        self.lines.append(make_line(uuid4(), Metrics()))
        self.up += 1
        try:
            yield self.lines[-1].connection
        finally:
            self.up -= 1
            self.lines[-1].connection.release()

    async def carry_silence(self) -> None:
        await trio.lowlevel.checkpoint()
        self.silences.append(trio.current_time())

    async def leg_stands(self) -> bool:
        await trio.lowlevel.checkpoint()
        self.asked_whether_it_stands.append(trio.current_time())
        if isinstance(self.stands, AriError):
            raise self.stands
        return self.stands

    async def unconverted(self) -> str:
        self.asked_codec += 1
        await trio.sleep(0.2)
        return self.stuck

    @property
    def kinds(self) -> list[LegKind]:
        return [kind for _, kind in self.asked]


@attrs.define(eq=False)
class Audio:
    """A call's media and all that it tells."""

    legs: Legs
    kind: LegKind = STREAMING
    has_files: bool = True
    tries: int = TRIES
    line: LineFormat = attrs.field(factory=LineFormat)
    told: list[object] = attrs.field(factory=list)
    heard: list[bytes] = attrs.field(factory=list)
    digits: list[str] = attrs.field(factory=list)
    moves: list[bool] = attrs.field(factory=list)
    ups: int = 0
    fallbacks: int = 0
    frame: bytes | None = None
    media: CallerMedia = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.media = CallerMedia(
            self.legs,
            self.kind,
            self.tries,
            self.line,
            Metrics(),
            tell=self.told.append,
            on_up=self._on_up,
            hear=lambda pcm, at: self.heard.append(pcm),
            press=self.digits.append,
            next_frame=lambda *, ahead=False: self.frame,
            fall_back=self._fall_back,
            line_moves=self.moves.append,
        )

    def _on_up(self) -> None:
        self.ups += 1

    def _fall_back(self) -> bool:
        self.fallbacks += 1
        return self.has_files

    @property
    def kinds_told(self) -> list[type]:
        return [type(event) for event in self.told]

    def sample(self, name: str) -> float:
        return self.media.metrics.registry.get_sample_value(f"agentd_{name}") or 0.0


@asynccontextmanager
async def kept(audio: Audio) -> AsyncIterator[Legs]:
    """Legs are kept up beside the block; after it nothing of them is left."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(audio.media.keep)
        await trio.sleep(0.01)
        yield audio.legs
        nursery.cancel_scope.cancel()
    assert audio.legs.up == 0
    assert not audio.media.up
    assert audio.moves[-1:] in ([False], [])


async def test_the_first_leg_brings_the_call_up_once(autojump_clock: MockClock) -> None:
    audio = Audio(Legs())
    async with kept(audio) as legs:
        legs.lines[0].cut()
        await trio.sleep(1.0)
        assert len(legs.lines) == 2
        assert audio.ups == 1


async def test_a_lost_leg_is_replaced_and_both_are_told(autojump_clock: MockClock) -> None:
    audio = Audio(Legs())
    async with kept(audio) as legs:
        legs.lines[0].cut()
        await trio.sleep(1.0)
        assert audio.kinds_told == [happens.MediaLost, happens.MediaRestored]
        assert legs.kinds == [STREAMING, STREAMING], "a lost socket is no reason yet for files"
        assert (audio.fallbacks, audio.sample("media_reattached_total")) == (0, 1)


async def test_after_the_tries_streaming_gives_way_to_files_once(autojump_clock: MockClock) -> None:
    legs = Legs(failing=lambda number, kind: AriUnavailable("no") if number and kind is STREAMING else None)
    audio = Audio(legs)
    with structlog.testing.capture_logs() as logs:
        async with kept(audio):
            legs.lines[0].cut()
            await trio.sleep(10.0)
            assert legs.kinds == [STREAMING] * (1 + TRIES) + [LISTENING]
            assert audio.kinds_told == [happens.MediaLost, happens.MediaRestored], (
                "the conversation only knows a lost line"
            )
    assert [log["log_level"] for log in logs if "goes on with file playback" in log["event"]] == ["warning"]
    assert audio.sample("stream_fallbacks_total") == 1


async def test_a_first_streaming_leg_that_cannot_be_had_gives_way_at_once(autojump_clock: MockClock) -> None:
    legs = Legs(failing=lambda number, kind: MediaTimeout("none came") if kind is STREAMING else None)
    audio = Audio(legs)
    async with kept(audio):
        assert legs.kinds == [STREAMING, LISTENING]
        assert (audio.ups, audio.told) == (1, [])


@pytest.mark.parametrize("kind", LegKind)
async def test_when_no_leg_is_to_be_had_at_all_the_media_have_failed(kind: LegKind, autojump_clock: MockClock) -> None:
    audio = Audio(Legs(failing=lambda number, kind: AriError("Asterisk says no")), kind)
    await audio.media.keep()
    assert audio.told == [happens.MediaFailed("Asterisk says no")]
    assert audio.legs.kinds == ([STREAMING, LISTENING] if kind is STREAMING else [LISTENING])


async def test_a_call_without_files_fails_where_it_would_fall_back(autojump_clock: MockClock) -> None:
    audio = Audio(Legs(failing=lambda number, kind: AriError("no")), has_files=False)
    await audio.media.keep()
    assert (audio.kinds_told, audio.sample("stream_fallbacks_total")) == ([happens.MediaFailed], 0)


async def test_tries_wait_longer_and_longer(autojump_clock: MockClock) -> None:
    audio = Audio(Legs(failing=lambda number, kind: AriError("no") if number else None), LISTENING)
    async with kept(audio) as legs:
        lost_at = trio.current_time()
        legs.lines[0].cut()
        await trio.sleep(20.0)
        pauses = [at - lost_at for at, _ in legs.asked[1:]]
        assert pauses == pytest.approx([FIRST_DELAY, 3 * FIRST_DELAY, 7 * FIRST_DELAY], abs=0.05)
        assert audio.kinds_told == [happens.MediaLost, happens.MediaFailed]


async def test_a_leg_that_has_proven_itself_is_worth_all_the_tries_again(autojump_clock: MockClock) -> None:
    audio = Audio(Legs(), LISTENING)
    async with kept(audio) as legs:
        for _ in range(3 * TRIES):
            await trio.sleep(PROVEN_AFTER + 1.0)
            legs.lines[-1].cut()
            await trio.sleep(1.0)
        assert happens.MediaFailed not in audio.kinds_told


async def test_a_leg_that_is_lost_again_and_again_is_given_up(autojump_clock: MockClock) -> None:
    audio = Audio(Legs(), LISTENING)
    async with kept(audio) as legs:
        for _ in range(3 * TRIES):
            legs.lines[-1].cut()
            await trio.sleep(PROVEN_AFTER - 1.0)
        assert audio.kinds_told[-1] is happens.MediaFailed
        assert len(legs.lines) == 1 + TRIES


async def test_the_caller_s_line_carries_silence_whenever_a_streaming_leg_has_ended(autojump_clock: MockClock) -> None:
    audio = Audio(Legs())
    async with kept(audio) as legs:
        cut_at = trio.current_time()
        legs.lines[0].cut()
        await trio.sleep(1.0)
        assert legs.silences == pytest.approx([cut_at], abs=0.03), "before anything else is tried"


async def test_a_leg_that_only_listened_left_the_silence_alone(autojump_clock: MockClock) -> None:
    audio = Audio(Legs(), LISTENING)
    async with kept(audio) as legs:
        legs.lines[0].cut()
        await trio.sleep(1.0)
        assert not legs.silences


async def test_where_the_leg_is_the_call_its_end_is_the_hang_up(autojump_clock: MockClock) -> None:
    audio = Audio(Legs(lost_means_hang_up=True))
    async with kept(audio) as legs:
        legs.lines[0].cut()
        await trio.sleep(1.0)
        assert audio.told == [happens.CallerHungUp()]
        assert len(legs.asked) == 1
        assert (audio.fallbacks, legs.silences) == (0, [])


async def test_cancelling_removes_the_leg(autojump_clock: MockClock) -> None:
    audio = Audio(Legs())
    async with kept(audio) as legs:
        assert legs.up == 1
    assert all(line.released for line in legs.lines)


# --- what goes over a leg


async def test_a_streaming_leg_carries_what_the_playback_gives_and_a_listening_one_silence(
    autojump_clock: MockClock,
) -> None:
    word = voice(0.02)
    for kind, carried in ((STREAMING, word), (LISTENING, bytes(320))):
        audio = Audio(Legs(), kind, frame=word)
        async with kept(audio) as legs:
            await trio.sleep(0.1)
            assert {pcm for _, pcm in legs.lines[0].frames} == {carried}


async def test_every_frame_that_is_written_beats_and_a_leg_that_ends_stops_it(autojump_clock: MockClock) -> None:
    audio = Audio(Legs())
    async with kept(audio) as legs:
        await trio.sleep(1.0)
        assert audio.moves.count(True) == pytest.approx(50, abs=2)
        assert False not in audio.moves
        legs.lines[0].cut()
        await trio.sleep(0.1)
        assert audio.moves[-1] is False


async def test_the_caller_s_voice_and_digits_are_handed_on(autojump_clock: MockClock) -> None:
    audio = Audio(Legs())
    async with kept(audio) as legs:
        legs.lines[0].say(audio_frame(voice(0.02)), dtmf_frame("5"), audio_frame(voice(0.02, seed=2)))
        await trio.sleep(0.015)  # what comes is looked at within 10 ms
        assert audio.heard == [voice(0.02), voice(0.02, seed=2)]
        assert audio.digits == ["5"]


@pytest.mark.parametrize(("kind", "rate"), [(Kind.SLIN, 8000), (Kind.SLIN16, 16000)])
async def test_audio_of_another_rate_comes_at_the_line_s(kind: Kind, rate: int, autojump_clock: MockClock) -> None:
    line = LineFormat(24000 - rate)
    audio = Audio(Legs(), line=line)
    frame = bytes(range(1, 161)) * (rate // 4000)
    async with kept(audio) as legs:
        for _ in range(50):
            legs.lines[0].say(HEADER.pack(kind, len(frame)) + frame)
        await trio.sleep(0.015)
        assert sum(map(len, audio.heard)) == pytest.approx(50 * line.frame_bytes, abs=line.frame_bytes)


async def test_silence_stands_in_for_what_does_not_come(autojump_clock: MockClock) -> None:
    audio = Audio(Legs())
    async with kept(audio) as legs:
        legs.lines[0].say(audio_frame(voice(0.02)))
        await trio.sleep(PATIENCE - 0.03)
        assert audio.heard == [voice(0.02)], "jitter is no silence"
        await trio.sleep(1.03)
        up_for = PATIENCE + 1.0 - BEHIND
        assert len(audio.heard) == pytest.approx(up_for / 0.02, abs=2), "the session's time is that of its audio"
        assert not any(map(any, audio.heard[1:]))
        legs.lines[0].say(audio_frame(voice(0.02, seed=2)))
        await trio.sleep(0.015)
        assert audio.heard[-1] == voice(0.02, seed=2)


@pytest.mark.parametrize("stall", [0.15, 0.25, 0.4])
async def test_late_packets_take_the_place_of_silence(stall: float, autojump_clock: MockClock) -> None:
    """wdoekes/asterisk-chan-dongle PR 184: three seconds of speech became up to five."""
    audio = Audio(Legs())
    words = [voice(0.02, seed=number) for number in range(150)]
    async with kept(audio) as legs:
        sent = 0
        for tick in range(1, 151):
            await trio.sleep(0.02)
            if tick * 0.02 % 0.6 >= stall or tick == 150:
                legs.lines[0].say(*map(audio_frame, words[sent:tick]))
                sent = tick
        await trio.sleep(0.01)
        assert [pcm for pcm in audio.heard if any(pcm)] == words
        assert len(audio.heard) * 0.02 == pytest.approx(3.0, abs=0.32)
        await trio.sleep(5.0)
        assert len(audio.heard) * 0.02 == pytest.approx(8.0, abs=0.15)
        assert audio.sample("caller_late_seconds_total") == 0


async def test_a_line_that_catches_up_after_seconds_leaves_out_pauses_and_tells_it(autojump_clock: MockClock) -> None:
    audio = Audio(Legs())
    words = [voice(0.02, seed=number) for number in range(100)]
    async with kept(audio) as legs:
        await trio.sleep(2.0)
        legs.lines[0].say(*map(audio_frame, words))
        await trio.sleep(0.01)
        for _ in range(100):
            legs.lines[0].say(audio_frame())
            await trio.sleep(0.02)
        assert [pcm for pcm in audio.heard if any(pcm)] == words
        assert len(audio.heard) * 0.02 == pytest.approx(4.5, abs=0.1)
        assert audio.sample("caller_late_seconds_total") == pytest.approx(1.4, abs=0.1)


# --- a codec that the PBX cannot convert


async def test_a_line_whose_codec_cannot_be_converted_is_given_up_before_a_word_counts_as_heard(
    autojump_clock: MockClock,
) -> None:
    """chan-sccp/chan-sccp issue 450: silence both ways, and the log said "heard". Files have to be converted, too."""
    audio = Audio(Legs(stuck="g729"), frame=voice(0.02))
    audio.media.doubt()  # the news may come before the answer to the request
    began = trio.current_time()
    await audio.media.keep()
    assert trio.current_time() - began < 1.0
    assert [str(event) for event in audio.told] == [str(happens.MediaFailed(cannot_convert("g729")))]
    assert audio.legs.kinds == [STREAMING], "neither another leg nor files"
    assert audio.fallbacks == 1, "a sound of the PBX's own may be in that codec"
    assert not any(any(pcm) for _, pcm in audio.legs.lines[0].frames)


async def test_what_there_is_to_say_waits_until_it_is_known_that_the_caller_is_there(autojump_clock: MockClock) -> None:
    audio = Audio(Legs(), frame=voice(0.02))
    async with kept(audio) as legs:
        audio.media.doubt()
        begun = len(legs.lines[0].frames)
        await trio.sleep(0.19)
        assert not any(any(pcm) for _, pcm in legs.lines[0].frames[begun:])
        await trio.sleep(0.2)
        assert any(legs.lines[0].frames[-1][1])
        assert (audio.told, legs.up) == ([], 1)


async def test_a_caller_who_was_heard_is_taken_from_the_bridge_by_somebody_else(autojump_clock: MockClock) -> None:
    audio = Audio(Legs(stuck="g729"))
    async with kept(audio) as legs:
        await trio.sleep(0.1)
        legs.lines[0].say(audio_frame(voice(0.02)))
        await trio.sleep(0.02)
        audio.media.doubt()
        await trio.sleep(1.0)
        assert (legs.asked_codec, audio.told) == (0, [])


async def test_a_codec_that_changes_in_mid_call_is_found_out_by_the_silence(autojump_clock: MockClock) -> None:
    audio = Audio(Legs())
    async with kept(audio) as legs:
        for _ in range(50):
            legs.lines[0].say(audio_frame(voice(0.02)))
            await trio.sleep(0.02)
        legs.stuck = "opus"
        await trio.sleep(STALLED_AFTER + 2.0)
        assert audio.told == [happens.MediaFailed(cannot_convert("opus"))]
        assert legs.up == 0


async def test_a_frame_of_half_samples_does_not_end_the_leg(autojump_clock: MockClock) -> None:
    audio = Audio(Legs())
    async with kept(audio) as legs:
        legs.lines[0].say(HEADER.pack(Kind.SLIN, 5) + b"\x01\x02\x03\x04\x05", audio_frame(voice(0.02)))
        await trio.sleep(0.05)
        assert audio.heard[-1] == voice(0.02)
        assert legs.up == 1


async def test_what_a_lost_leg_was_ahead_by_can_be_taken_back_before_anything_is_removed(
    autojump_clock: MockClock,
) -> None:
    class Ahead:
        ahead = 5

        def take_back(self) -> int:
            return 5

    @attrs.define(eq=False)
    class SlowToGo(Legs):
        @asynccontextmanager
        async def media_leg(self, kind: LegKind) -> AsyncIterator[MediaConnection]:
            line = make_line(uuid4(), Metrics())
            self.lines.append(line)
            self.up += 1
            try:
                yield Leading(line.connection)  # type: ignore[misc]
                await trio.sleep(5.0)
            finally:
                self.up -= 1

    @attrs.define(eq=False)
    class Leading:
        connection: MediaConnection
        lead: Ahead = attrs.field(factory=Ahead)

        async def serve(self, *what: Any) -> str:
            return await self.connection.serve(*what)

    audio = Audio(SlowToGo())
    seen: list[tuple[float, object]] = []
    audio.media.line_moves = lambda moving: moving or seen.append((trio.current_time(), audio.media.lead))  # type: ignore[assignment]
    assert audio.media.lead is None
    async with kept(audio) as legs:
        cut_at = trio.current_time()
        legs.lines[0].cut()
        await trio.sleep(1.0)
        ((at, lead),) = seen
        assert isinstance(lead, Ahead)
        assert at == pytest.approx(cut_at, abs=0.03), "the removal takes its time"
        assert audio.media.lead is None


# --- stalls


async def test_a_caller_s_side_that_sends_nothing_at_all_is_told_once_and_when_it_comes_back(
    autojump_clock: MockClock,
) -> None:
    audio = Audio(Legs())
    with structlog.testing.capture_logs() as logs:
        async with kept(audio) as legs:
            await trio.sleep(3 * STALLED_AFTER)
            for _ in range(100):
                legs.lines[0].say(audio_frame())
                await trio.sleep(0.02)
            assert audio.told == [], "it is no lost leg"
    assert [log["event"] for log in logs if "caller's line" in log["event"]] == [
        "no audio from the caller's line",
        "audio from the caller's line again",
    ]
    assert audio.sample("line_stalls_total") == 1


async def test_a_line_from_which_nothing_has_come_yet_is_told_from_one_that_fell_silent(
    autojump_clock: MockClock,
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with kept(Audio(Legs())) as legs:
            await trio.sleep(2 * STALLED_AFTER)
            legs.lines[0].say(audio_frame())
            await trio.sleep(3 * STALLED_AFTER)
    told = [log["ever"] for log in logs if log["event"] == "no audio from the caller's line"]
    assert told == [False, True]


# --- legs whose transport tells no end


@pytest.fixture
def doubtful_after_30_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes for so long, over whichever leg, and its transport tells no end."""

    def doubtful(connection: AudioSocketConnection) -> bool:
        return trio.current_time() - begun.setdefault(connection, trio.current_time()) > 30.0

    begun: dict[AudioSocketConnection, float] = {}
    monkeypatch.setattr(AudioSocketConnection, "doubtful", property(doubtful))


@pytest.mark.parametrize(
    ("stands", "reason"),
    [(False, "the PBX has the leg no more"), (AriUnavailable("no answer"), "the PBX does not say why: no answer")],
    ids=["its channel is gone", "the PBX does not answer"],
)
@pytest.mark.usefixtures("doubtful_after_30_s")
async def test_a_silent_leg_that_the_pbx_does_not_have_is_lost(
    stands: bool | AriError, reason: str, autojump_clock: MockClock
) -> None:
    audio = Audio(Legs(stands=stands))
    async with kept(audio) as legs:
        await trio.sleep(29)
        assert (len(legs.lines), legs.asked_whether_it_stands) == (1, [])
        await trio.sleep(35)
        assert len(legs.lines) == 2
        assert audio.kinds_told[:2] == [happens.MediaLost, happens.MediaRestored]
        assert reason in audio.told[0].reason


@pytest.mark.usefixtures("doubtful_after_30_s")
async def test_a_caller_whose_telephone_sends_nothing_at_all_gets_one_fresh_leg_and_keeps_it(
    autojump_clock: MockClock,
) -> None:
    """A fresh leg every 30 s cut into what such a caller, muted or behind a NAT of one way, heard."""
    audio = Audio(Legs())
    with structlog.testing.capture_logs() as logs:
        async with kept(audio) as legs:
            await trio.sleep(600)
            assert len(legs.lines) == 2
            assert legs.up == 1
            assert 15 < len(legs.asked_whether_it_stands) < 22, "whether it still stands is asked now and then"
            legs.stands = False
            await trio.sleep(32)
            assert len(legs.lines) == 3, "and acted upon"
    assert len([log for log in logs if "the leg is kept" in log["event"]]) == 1


async def test_a_line_that_carries_silence_is_no_stall(autojump_clock: MockClock) -> None:
    audio = Audio(Legs())
    async with kept(audio) as legs:
        for _ in range(500):
            legs.lines[0].say(audio_frame())
            await trio.sleep(0.02)
        assert audio.sample("line_stalls_total") == 0


async def test_a_source_that_never_gives_a_leg_is_cancelled_with_the_call(autojump_clock: MockClock) -> None:
    class Waiting(Legs):
        @asynccontextmanager
        async def media_leg(self, kind: LegKind) -> AsyncIterator[MediaConnection]:
            await trio.sleep(math.inf)
            yield make_line(uuid4(), Metrics()).connection

    audio = Audio(Waiting())
    with trio.move_on_after(100.0) as patience:
        await audio.media.keep()
    assert patience.cancelled_caught
    assert (audio.ups, audio.told) == (0, [])
