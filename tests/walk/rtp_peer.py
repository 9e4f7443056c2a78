"""Asterisk's end of a media leg that comes by RTP.

The facts are those of Asterisk 22: channels/chan_rtp.c (a port of its own, told by two variables, and no news of the
other end), res/res_rtp_asterisk.c (strict RTP takes packets of the address that it was told alone; a packet is sent
when there is a frame, and none else; what its own telephone lost is passed on).
"""

import random
from collections.abc import Callable
from itertools import count

import attrs
import trio

from agentd.rtp.packet import Outgoing, Packet, parse
from agentd.rtp.payload import PAYLOADS, swapped
from tests.walk.datagrams import Datagrams, DatagramSocket
from tests.walk.faults import HANGS_SECONDS, UNHARMED, How, Mishap
from tests.walk.phone import FRAME, Caller, speech

SLIN = 10
"""The payload type that Asterisk sends slin with."""
SAMPLES = 160
HELD = 1.0
"""Seconds for which a burst is held up."""
FOREIGN_VOICE = 250
"""The number of a phrase that no agent knows."""
LARGEST = 4096


@attrs.define(eq=False)
class RtpPeer:
    """One leg's end. `mouth` is the caller whose voice it sends, asked every 20 ms, and `ear` the one who hears what
    comes; `hang_up` ends its channel. What is said and heard is 8 kHz slin, in frames of 20 ms."""

    datagrams: Datagrams
    mouth: Callable[[], Caller | None]
    ear: Callable[[], Caller | None]
    hang_up: Callable[[], None]
    mishap: Mishap = UNHARMED
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    port: int = 0
    """Its own, once it runs."""
    _stream: Outgoing = attrs.field(factory=lambda: Outgoing(SLIN, *map(random.getrandbits, (32, 16, 32))))
    _strangers: Outgoing = attrs.field(factory=lambda: Outgoing(SLIN, 7, 0, 0))
    _held: list[bytes] = attrs.field(factory=list)

    async def run(self, host: str, port: int, *, task_status: trio.TaskStatus[None]) -> None:
        """Carry audio to and from this address until `scope` is cancelled, which closes the port."""
        target = (host, port)
        with self.scope:
            end, stranger = self.datagrams.bind(), self.datagrams.bind()
            self.port = end.getsockname()[1]
            try:
                task_status.started()
                start = trio.current_time()
                for tick in count(1):
                    self._tick(end, stranger, target, tick)
                    await trio.sleep_until(start + tick * FRAME)
            finally:
                end.close()
                stranger.close()

    def _tick(self, end: DatagramSocket, stranger: DatagramSocket, target: tuple[str, int], tick: int) -> None:
        """Both ways by one clock, as tests.walk.phone.AudioSocketPeer does it."""
        age, due = (tick - 1) * FRAME, self.mishap.due
        if due(How.DIES, age):
            self.hang_up()
            return
        if due(How.STRANGER, age):
            stranger.sendto(self._strangers.packet(swapped(speech(FOREIGN_VOICE)), tick * SAMPLES), target)
        if due(How.RENUMBERED, age) and not due(How.RENUMBERED, age - FRAME):
            self._stream = Outgoing(SLIN, *map(random.getrandbits, (32, 16, 32)))
        if due(How.HANGS, age) and age < self.mishap.after + HANGS_SECONDS:
            return
        self._listen(end, target)
        if (caller := self.mouth()) is not None:
            self._say(end, target, self._stream.packet(swapped(caller.next_frame()), tick * SAMPLES), age)

    def _say(self, end: DatagramSocket, target: tuple[str, int], packet: bytes, age: float) -> None:
        if self.mishap.due(How.SILENT, age):
            return
        self._held.append(packet)
        if self.mishap.due(How.BURST, age) and age < self.mishap.after + HELD:
            return
        for each in self._held:
            end.sendto(each, target)
        self._held.clear()

    def _listen(self, end: DatagramSocket, target: tuple[str, int]) -> None:
        while True:
            try:
                datagram, source = end.recvfrom(LARGEST)
            except BlockingIOError:
                return
            packet, caller = parse(datagram), self.ear()
            if source != target or caller is None:
                continue
            if isinstance(packet, Packet) and packet.payload_type == _TAKEN.payload_type:
                caller.hear(_TAKEN.decode(packet.payload))


_TAKEN = PAYLOADS["slin"]
