"""One call's audio, leg after leg: keeps a media leg up, hands on what comes over it, and feeds what goes back."""

import math
from collections.abc import Callable

import attrs
import structlog
import trio

from agentd.audio.diagnostics import InboundDiagnostics, InboundReport
from agentd.audio.formats import AudioFormat, Encoding
from agentd.audio.level import rms_dbfs
from agentd.audio.resample import Resampler
from agentd.conversation import events as happens
from agentd.errors import AriError, MediaTimeout
from agentd.media.codecs import cannot_convert
from agentd.media.leg import FRAME_SECONDS, Lead, LegKind, LineFormat, MediaConnection, MediaSource, NextFrame
from agentd.media.passed import AHEAD, TimePassed
from agentd.metrics import Metrics

log = structlog.get_logger("agentd.media")

FIRST_DELAY = 0.25
"""Seconds before the first fresh leg is tried; doubled with every further try."""
PROVEN_AFTER = 5.0
"""Seconds after which a leg has proven itself: when it is lost then, the tries are counted anew."""
QUIET_DBFS = -50.0
"""The level of a frame in which nobody speaks."""
STALLED_AFTER = 3.0
"""Seconds without a frame from the caller's side, which sends one every 20 ms, that are worth a line in the log."""
ASKED_AGAIN_AFTER = 30.0
"""Seconds after which the PBX is asked once more whether a leg stands over which nothing comes."""


@attrs.define(eq=False)
class CallerMedia:
    """The call's audio, leg after leg.

    `tell(event)` gets MediaLost, MediaRestored and MediaFailed (or CallerHungUp); `on_up()` is called when the first
    leg is up. `hear(pcm, at)` gets slin at `line.rate` Hz with its arrival time (monotonic seconds), `press(digit)`
    every digit of the line. `next_frame()` is asked for what a streaming leg carries, slin at that rate.
    `fall_back()` is asked, once, when streaming legs cannot be had: true if the call goes on with files.
    `line_moves(moving)` is told True with every beat of the line, and False when a leg has ended: then what that one
    was ahead by can still be taken back. None may block.
    """

    source: MediaSource
    kind: LegKind
    tries: int
    line: LineFormat
    metrics: Metrics
    tell: Callable[[happens.MediaLost | happens.MediaRestored | happens.MediaFailed | happens.CallerHungUp], None]
    on_up: Callable[[], None]
    hear: Callable[[bytes, float], None]
    press: Callable[[str], None]
    next_frame: NextFrame
    fall_back: Callable[[], bool]
    line_moves: Callable[[bool], None]
    lost: bool = False
    """The call had a leg before this was made, with an agentd that has ended."""
    stuck: str = attrs.field(default="", init=False)
    """The codec of the caller's line that the PBX cannot convert: no leg carries anything."""
    ever_up: bool = attrs.field(default=False, init=False)
    up: bool = attrs.field(default=False, init=False)
    _connection: MediaConnection | None = attrs.field(default=None, init=False)
    _up_since: float = attrs.field(default=math.inf, init=False)
    _heard_at: float = attrs.field(default=math.inf, init=False)
    _passed: TimePassed = attrs.field(factory=lambda: TimePassed(math.inf), init=False)
    """Of the leg of now."""
    _lost: bool = attrs.field(default=False, init=False)
    _doubted: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set while it is not sure that what the leg is given reaches the caller."""
    _renewed: bool = attrs.field(default=False, init=False)
    """There was a fresh leg in place of one that stood, and over which nothing came."""
    _given_up: str = attrs.field(default="", init=False)
    """Why the leg of now was given up, though its connection had not ended."""
    _resampler: Resampler | None = attrs.field(default=None, init=False)
    _diagnostics: InboundDiagnostics = attrs.field(init=False)
    _measured: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.ever_up = self._lost = self.lost
        self._diagnostics = InboundDiagnostics(AudioFormat(Encoding.SLIN, self.line.rate))

    async def keep(self) -> None:
        """Bring up a leg, and a fresh one whenever it is lost. Returns after `tries` failures in a row, or at once
        when the first leg cannot be had; a streaming call is then tried once more with files. Returns at once, too,
        where no leg carries what the caller's line has. Cancelling it removes the leg."""
        tried = 0
        try:
            while True:
                self._up_since = math.inf
                reason = await self._serve_one()
                if self.source.lost_means_hang_up:
                    log.info("the connection that was the call has ended", reason=reason)
                    self.tell(happens.CallerHungUp())
                    return
                if self.stuck:
                    self._tell_stuck()
                    return
                if trio.current_time() - self._up_since > PROVEN_AFTER:
                    tried = 0
                if not self.ever_up or tried >= self.tries:
                    if not self._falls_back(reason):
                        log.warning("media leg failed", error=reason)
                        self.tell(happens.MediaFailed(reason))
                        return
                    tried = self.tries  # the caller has waited for long enough: files are tried once
                    await self.source.carry_silence()
                    continue
                log.warning("media leg lost", reason=reason, tries_left=self.tries - tried)
                if not self._lost:
                    self._lost = True
                    self.tell(happens.MediaLost(reason))
                if self.kind is LegKind.STREAMING:
                    await self.source.carry_silence()
                await trio.sleep(FIRST_DELAY * 2**tried)
                tried += 1
        finally:
            self._report(self._diagnostics.conclude())

    def _falls_back(self, reason: str) -> bool:
        if self.kind is not LegKind.STREAMING or not self.fall_back():
            return False
        self.kind = LegKind.LISTENING
        self.metrics.stream_fallbacks.inc()
        log.warning("streaming failed: the call goes on with file playback", reason=reason)
        return True

    def _tell_stuck(self) -> None:
        """Files have to be converted like a leg's audio: they are no way out, but a sound of the PBX's own may be."""
        self.fall_back()
        self.tell(happens.MediaFailed(cannot_convert(self.stuck)))

    def doubt(self) -> None:
        """The caller's channel is out of the leg's bridge. Does not block. Where nothing has been heard of it yet, the
        PBX may not be able to convert its codec: until that is known, what there is to say waits."""
        self._doubted.set()

    async def _serve_one(self) -> str:
        """One leg's life; gives the reason of its end."""
        try:
            async with self.source.media_leg(self.kind) as connection:
                self._is_up(connection)
                try:
                    return await self._carry(connection)
                finally:
                    self._is_down()  # now: while the leg is being removed, time goes on
        except (AriError, MediaTimeout) as error:
            return str(error)

    async def _carry(self, connection: MediaConnection) -> str:
        reason = self._given_up = ""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_for_stalls, nursery.cancel_scope)
            nursery.start_soon(self._watch_bridge, nursery.cancel_scope)
            nursery.start_soon(self._watch_doubtful, connection, nursery.cancel_scope)
            next_frame = self._next_frame if self.kind is LegKind.STREAMING else _silence
            reason = await connection.serve(self.line, self._receive, self.press, next_frame, self._beat)
            nursery.cancel_scope.cancel()
        return reason or self._given_up

    @property
    def lead(self) -> Lead | None:
        """How far the leg of now is ahead of the caller's ear; None where there is none that could be."""
        return None if self._connection is None else self._connection.lead

    def _is_down(self) -> None:
        self.up = False
        self.line_moves(False)
        self._connection = None

    def _is_up(self, connection: MediaConnection) -> None:
        self.up, self._connection = True, connection
        self._up_since = self._heard_at = trio.current_time()
        self._passed = TimePassed(self._up_since)
        if not self.ever_up:
            self.ever_up = True
            self.on_up()
            return
        if self._lost:
            self._lost = False
            self.metrics.media_reattached.inc()
            self.tell(happens.MediaRestored())

    def _beat(self) -> None:
        """Every 20 ms. A telephone that suppresses silence, or a channel that waits, sends nothing at all:
        the session's time is that of the audio it hears, so it is given the silence that did not come."""
        self.line_moves(True)
        now = trio.current_time()
        if not (missing := self._passed.missing(FRAME_SECONDS, now)):
            return
        self.metrics.caller_gap_seconds.inc(missing * FRAME_SECONDS)
        for _ in range(missing):
            self.hear(bytes(self.line.frame_bytes), now)

    def _next_frame(self, *, ahead: bool = False) -> bytes | None:
        return None if self._doubted.is_set() else self.next_frame(ahead=ahead)

    async def _watch_bridge(self, leg: trio.CancelScope) -> None:
        """Find out about each doubt; end the leg where it is justified."""
        while True:
            await self._doubted.wait()
            if not self._heard_anything:
                await self._ask_codec(leg)
            self._doubted = trio.Event()

    async def _ask_codec(self, leg: trio.CancelScope) -> None:
        self.stuck = await self.source.unconverted()
        if self.stuck:
            leg.cancel(reason="the PBX cannot convert the codec of the caller's line")

    async def _watch_doubtful(self, connection: MediaConnection, leg: trio.CancelScope) -> None:
        """Have the PBX asked about a leg over which nothing comes: whether it is lost, or the caller's telephone sends
        nothing. One that stands is replaced once in a call, in case that only its way is gone; from then on it is kept.
        """
        kept = False
        while True:
            await trio.sleep(STALLED_AFTER / 3)
            if not connection.doubtful:
                continue
            try:
                stands = await self.source.leg_stands()
            except AriError as error:
                self._give_up(leg, f"nothing comes from {connection.peer}, and the PBX does not say why: {error}")
                return
            if not stands:
                self._give_up(leg, f"nothing comes from {connection.peer}: the PBX has the leg no more")
                return
            if not self._renewed:
                self._renewed = True
                self._give_up(leg, f"nothing comes from {connection.peer}, though the leg stands")
                return
            if not kept:
                kept = True
                log.warning(
                    "the caller's side sends nothing: the leg is kept, for the PBX has it", peer=connection.peer
                )
            await trio.sleep(ASKED_AGAIN_AFTER)

    def _give_up(self, leg: trio.CancelScope, reason: str) -> None:
        self._given_up = reason
        leg.cancel(reason=reason)

    @property
    def _heard_anything(self) -> bool:
        """Over the leg of now."""
        return self._heard_at != self._up_since

    async def _watch_for_stalls(self, leg: trio.CancelScope) -> None:
        """Tell when the caller's side falls silent altogether: not even silence comes. (A telephone on hold may.)"""
        stalled = False
        while True:
            await trio.sleep(STALLED_AFTER / 3)
            silent_for = trio.current_time() - self._heard_at
            if silent_for >= STALLED_AFTER and not stalled:
                self.metrics.line_stalls.inc()
                await self._ask_codec(leg)
                log.warning("no audio from the caller's line", seconds=round(silent_for, 1), ever=self._heard_anything)
            elif silent_for < STALLED_AFTER and stalled:
                log.info("audio from the caller's line again")
            stalled = silent_for >= STALLED_AFTER

    def _receive(self, pcm: bytes, rate: int, at: float) -> None:
        self._heard_at = at
        if not self._measured:
            self._diagnostics.feed(pcm, at)
            self._report(self._diagnostics.report())
        seconds = len(pcm) / 2 / rate
        quiet = self._passed.ahead(at) >= AHEAD and rms_dbfs(pcm) < QUIET_DBFS
        if not self._passed.takes(seconds, at, quiet=quiet):
            self.metrics.caller_late_seconds.inc(seconds)
            return
        if rate != self.line.rate:
            if self._resampler is None or self._resampler.source_hz != rate:
                self._resampler = Resampler(rate, self.line.rate)
            pcm = self._resampler.feed(pcm)
        self.hear(pcm, at)

    def _report(self, report: InboundReport | None) -> None:
        if report is not None:
            self._measured = True
            log.info("inbound audio", **report.as_log_fields())


def _silence(*, ahead: bool = False) -> None:
    return None
