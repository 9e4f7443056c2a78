"""One leg's RTP, both ways: a socket that does not block, read and written on the line's clock."""

import math
import socket
from collections.abc import Callable

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.media.clock import LineClock
from agentd.media.leg import LineFormat, NextFrame
from agentd.metrics import Metrics
from agentd.rtp.arrival import Arrivals
from agentd.rtp.packet import LONGEST, Outgoing, Refusal, parse
from agentd.rtp.payload import DECODERS, Payload

log = structlog.get_logger("agentd.rtp")

MOST_AT_ONCE = 100
"""Datagrams that are read at a tick: two seconds' worth, after a stall. What floods stays with the kernel, whose queue
has a bound."""
UNSENT_DEADLINE = deadlines.LINE_SEND.seconds


@attrs.define(eq=False)
class RtpConnection:
    """A socket that is connected to the address which Asterisk has named; a call serves and releases it.

    Meets agentd.media.leg.MediaConnection. RTP has no connections, and no end: a leg whose port Asterisk has closed is
    told by ICMP with the next packet, and one that nothing at all comes from for `silence_timeout` seconds is doubtful.
    Keys do not come this way but by ARI.
    """

    opened: socket.socket
    peer: str
    payload: Payload
    outgoing: Outgoing
    silence_timeout: float
    metrics: Metrics
    clock: LineClock = attrs.field(default=attrs.Factory(lambda self: LineClock(self.metrics), takes_self=True))
    """The daemon's; without one a clock of its own."""
    _from: tuple[str, int] = attrs.field(init=False)
    _arrivals: Arrivals = attrs.field(init=False)
    _heard_at: float = attrs.field(default=math.inf, init=False)
    _sent_at: float = attrs.field(default=0.0, init=False)
    _warned: set[str] = attrs.field(factory=set, init=False)
    _hanging_up: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._from = self.opened.getpeername()[:2]
        self._arrivals = Arrivals(self.payload.audio.rate)

    @property
    def lead(self) -> None:
        """agentd clocks it, and nothing buffers behind it."""
        return None

    @property
    def doubtful(self) -> bool:
        """See agentd.media.leg.MediaConnection.doubtful. A telephone that is muted may send nothing for as long as it
        likes, and so may one on hold."""
        return trio.current_time() - self._heard_at > self.silence_timeout

    async def serve(
        self,
        line: LineFormat,
        receive: Callable[[bytes, int, float], None],
        press: Callable[[str], None],
        next_frame: NextFrame,
        beat: Callable[[], None],
    ) -> str:
        """See agentd.media.leg.MediaConnection.serve. All of it is done on the line's clock: what has come is received,
        then a frame is sent, then `beat()` is called. What comes is received half-way, too, so that it waits for 10 ms
        at the most.

        Cancelling it leaves nothing half done.
        """
        silence = self.payload.audio.silence_frame
        samples = line.frame_bytes // 2
        self._heard_at = self._sent_at = trio.current_time()

        def tick(number: int, now: float) -> str | None:
            if self._hanging_up:
                return "hung up by agentd"
            self._receive(receive, now)
            pcm = next_frame()
            self._send(silence if pcm is None else self.payload.encode(pcm), number * samples, now)
            beat()
            if now - self._sent_at > UNSENT_DEADLINE:
                return f"no RTP could be sent to {self.peer} for {UNSENT_DEADLINE:g} s"
            return None

        def between(now: float) -> None:
            if not self._hanging_up:
                self._receive(receive, now)

        try:
            return await self.clock.keep(tick, between)
        except ConnectionRefusedError:
            return f"Asterisk has closed its port: {self.peer}"

    def hang_up(self) -> None:
        """Have `serve` return. RTP cannot tell Asterisk: whoever made the leg's channel removes it."""
        self._hanging_up = True

    def release(self) -> None:
        """Give the connection up: its port is free."""
        self._hanging_up = True
        self.opened.close()

    def _receive(self, receive: Callable[[bytes, int, float], None], now: float) -> None:
        """Read what has come. Raises ConnectionRefusedError."""
        rate = self.payload.audio.rate
        for _ in range(MOST_AT_ONCE):
            try:
                datagram, source = self.opened.recvfrom(LONGEST + 1)
            except BlockingIOError:
                break
            except ConnectionRefusedError:
                raise
            except OSError as error:  # of the network, told once by ICMP
                self._warn("RTP is told that the network fails", error=str(error))
                continue
            for pcm in self._taken(datagram, source, now):
                receive(pcm, rate, now)
        for pcm in self._arrivals.due(now):
            receive(pcm, rate, now)
        for fate, count in self._arrivals.fates.items():
            self.metrics.rtp_packets.labels(fate=str(fate)).inc(count)
        self._arrivals.fates.clear()

    def _taken(self, datagram: bytes, source: tuple[str, int], now: float) -> list[bytes]:
        """What can be handed on now that this datagram has come."""
        if source[:2] != self._from:  # it came before the socket was connected
            self._refuse("stranger")
            return []
        packet = parse(datagram)
        if isinstance(packet, Refusal):
            self._refuse(str(packet))
            return []
        self._heard_at = now
        if (decode := DECODERS.get(packet.payload_type)) is None:
            self._refuse("payload_type", payload_type=packet.payload_type, expected=self.payload.payload_type)
            return self._arrivals.push(packet, b"", now)
        return self._arrivals.push(packet, decode(packet.payload), now)

    def _send(self, payload: bytes, samples: int, now: float) -> None:
        """Send a packet, or leave it out where the host or the network does not take it. Raises
        ConnectionRefusedError."""
        try:
            self.opened.send(self.outgoing.packet(payload, samples))
        except ConnectionRefusedError:
            raise
        except OSError as error:
            self.metrics.rtp_unsent.inc()
            self._warn("an RTP packet could not be sent", error=str(error))
        else:
            self._sent_at = now

    def _refuse(self, reason: str, **fields: object) -> None:
        self.metrics.rtp_refused.labels(reason=reason).inc()
        self._warn(f"a datagram on an RTP port was refused: {reason}", **fields)

    def _warn(self, what: str, **fields: object) -> None:
        """Tell of something that may be so with each packet, once a leg."""
        if what not in self._warned:
            self._warned.add(what)
            log.warning(what, peer=self.peer, **fields)
