"""One call's audio from the caller: keeps a media leg up, and hands on what comes over it."""

import math
from collections.abc import Callable
from functools import partial

import attrs
import structlog
import trio

from agentd.ari.channel import CallerChannel
from agentd.audio.diagnostics import InboundDiagnostics, InboundReport
from agentd.audio.formats import AudioFormat, Encoding
from agentd.audio.resample import Resampler
from agentd.audiosocket.connection import LineFormat
from agentd.audiosocket.frames import AudioFrame, DtmfFrame
from agentd.conversation import MediaFailed, MediaLost, MediaRestored
from agentd.dialplan import MediaWay
from agentd.errors import AriError, MediaTimeout
from agentd.metrics import Metrics

log = structlog.get_logger("agentd.media")

FIRST_DELAY = 0.25
"""Seconds before the first fresh leg is tried; doubled with every further try."""
PROVEN_AFTER = 5.0
"""Seconds after which a leg has proven itself: when it is lost then, the tries are counted anew."""


@attrs.define(eq=False)
class CallerMedia:
    """The caller's audio, leg after leg.

    `tell(event)` gets MediaLost, MediaRestored and MediaFailed; `on_up()` is called when the first leg is up.
    `hear(pcm, at)` gets slin at `rate` Hz with its arrival time (monotonic seconds), `press(digit)` every digit of
    the line. `line_moves(moving)` is told True with every frame that is written, False when no leg is up. None of
    them may block.
    """

    channel: CallerChannel
    way: MediaWay
    tries: int
    rate: int
    line: LineFormat
    metrics: Metrics
    tell: Callable[[MediaLost | MediaRestored | MediaFailed], None]
    on_up: Callable[[], None]
    hear: Callable[[bytes, float], None]
    press: Callable[[str], None]
    line_moves: Callable[[bool], None]
    ever_up: bool = attrs.field(default=False, init=False)
    up: bool = attrs.field(default=False, init=False)
    _up_since: float = attrs.field(default=math.inf, init=False)
    _resampler: Resampler | None = attrs.field(default=None, init=False)
    _diagnostics: InboundDiagnostics = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._diagnostics = InboundDiagnostics(AudioFormat(Encoding.SLIN, self.line.rate))

    async def keep(self) -> None:
        """Bring up a leg, and a fresh one whenever it is lost. Returns after `tries` failures in a row, or at once
        when the first leg cannot be had. Cancelling it removes the leg."""
        tried = 0
        try:
            while True:
                self._up_since = math.inf
                reason = await self._serve_one()
                if not self.ever_up:
                    log.warning("media leg failed", error=reason)
                    self.tell(MediaFailed(reason))
                    return
                if trio.current_time() - self._up_since > PROVEN_AFTER:
                    tried = 0
                if tried >= self.tries:
                    self.tell(MediaFailed(reason))
                    return
                log.warning("media leg lost", reason=reason, tries_left=self.tries - tried)
                self.tell(MediaLost(reason))
                await trio.sleep(FIRST_DELAY * 2**tried)
                tried += 1
        finally:
            self._report(self._diagnostics.conclude())

    async def _serve_one(self) -> str:
        """One leg's life; gives the reason of its end."""
        try:
            async with self.channel.media_leg(self.way) as connection:
                self._is_up()
                return await connection.serve(self.line, self._receive, lambda: None, partial(self.line_moves, True))
        except (AriError, MediaTimeout) as error:
            return str(error)
        finally:
            self.up = False
            self.line_moves(False)

    def _is_up(self) -> None:
        self.up = True
        self._up_since = trio.current_time()
        if self.ever_up:
            self.metrics.media_reattached.inc()
            self.tell(MediaRestored())
        else:
            self.ever_up = True
            self.on_up()

    def _receive(self, frame: AudioFrame | DtmfFrame, at: float) -> None:
        if isinstance(frame, DtmfFrame):
            self.press(frame.digit)
            return
        self._diagnostics.feed(frame.payload, at)
        self._report(self._diagnostics.report())
        pcm = frame.payload
        if frame.rate != self.rate:
            if self._resampler is None:
                self._resampler = Resampler(frame.rate, self.rate)
            pcm = self._resampler.feed(pcm)
        self.hear(pcm, at)

    def _report(self, report: InboundReport | None) -> None:
        if report is not None:
            log.info("inbound audio", **report.as_log_fields())
