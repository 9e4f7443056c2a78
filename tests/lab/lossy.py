"""A network between Asterisk and agentd that loses, delays and reorders RTP, on loopback and by a seed.

Nothing of the kernel's is needed: Asterisk is told to send to `ASTERISK_SENDS_TO`, and what it answers over ARI is
changed on the way (`rewrite`), so that agentd takes `AGENTD_SENDS_TO` for Asterisk's own end. The ports stay, so each
end sees one peer that sends from where it receives.
"""

import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from .asterisk import PrivateAsterisk
from .proxy import Proxy

HERE = "127.0.0.1"
ASTERISK_SENDS_TO = "127.0.0.2"
"""With the port of agentd's."""
AGENTD_SENDS_TO = "127.0.0.4"
"""With the port of Asterisk's. It has as many characters as `HERE`: a message stays as long as it was."""
LARGEST = 4096
_VALUE = rb'("\s*[:,]\s*(?:"value"\s*:\s*)?")'
_ADDRESS = re.compile(rb"(UNICASTRTP_LOCAL_ADDRESS" + _VALUE + rb")127\.0\.0\.1(?=\")")
_PORT = re.compile(rb"UNICASTRTP_LOCAL_PORT" + _VALUE + rb"(\d{1,5})\"")


@attrs.frozen
class Weather:
    """What becomes of packets. `loss` is the share that is lost, in bursts of `burst` packets on average; the others
    take up to `jitter` seconds, each as long as it likes, so that they overtake one another."""

    loss: float = 0.0
    burst: float = 1.0
    jitter: float = 0.0

    def __str__(self) -> str:
        return f"{100 * self.loss:g} % lost, {1000 * self.jitter:g} ms jitter"


@attrs.define(eq=False)
class Way:
    """One direction: decides about packets, in their order."""

    weather: Weather
    dice: random.Random
    sent: int = 0
    lost: int = 0
    _losing: bool = False

    def delay(self) -> float | None:
        """Seconds that the next packet takes; None if it is lost (Gilbert's two states)."""
        weather = self.weather
        goes_on = 1 - 1 / weather.burst
        begins = weather.loss * (1 - goes_on) / (1 - weather.loss)
        self._losing = self.dice.random() < (goes_on if self._losing else begins)
        self.sent += 1
        self.lost += self._losing
        return None if self._losing else self.dice.uniform(0.0, weather.jitter)


@attrs.define(eq=False)
class LossyNetwork:
    """`towards_agentd` and `towards_asterisk` are its two ways; their `weather` may be changed at any time."""

    towards_agentd: Way
    towards_asterisk: Way
    _nursery: trio.Nursery
    _agentd_ports: dict[int, trio.socket.SocketType] = attrs.field(factory=dict, init=False)
    """What Asterisk sends to, by agentd's port."""
    _asterisk_ports: dict[int, trio.socket.SocketType] = attrs.field(factory=dict, init=False)
    """What agentd sends to, by Asterisk's port."""

    def set(self, weather: Weather) -> None:
        """Both ways have this weather from now on."""
        self.towards_agentd.weather = self.towards_asterisk.weather = weather

    def open(self, first_port: int, ports: int) -> None:
        """Begin to carry what Asterisk sends to agentd's ports."""
        for port in range(first_port, first_port + ports):
            self._agentd_ports[port] = _bound(ASTERISK_SENDS_TO, port)
            self._nursery.start_soon(
                self._carry, self._agentd_ports[port], self._asterisk_ports, port, self.towards_agentd
            )

    def rewrite(self, data: bytes) -> bytes:
        """What Asterisk tells agentd over ARI, with the network's address in place of its own."""
        for found in _PORT.finditer(data):
            port = int(found[2])
            if port not in self._asterisk_ports:
                self._asterisk_ports[port] = _bound(AGENTD_SENDS_TO, port)
                self._nursery.start_soon(
                    self._carry, self._asterisk_ports[port], self._agentd_ports, port, self.towards_asterisk
                )
        return _ADDRESS.sub(rb"\g<1>" + AGENTD_SENDS_TO.encode(), data)

    async def _carry(
        self, opened: trio.socket.SocketType, others: dict[int, trio.socket.SocketType], to: int, way: Way
    ) -> None:
        """Carry what comes to one socket on to port `to`, from the socket that its sender receives on."""
        with opened:
            while True:
                try:
                    data, source = await opened.recvfrom(LARGEST)
                except ConnectionRefusedError:
                    continue  # what was sent from here before found nobody
                delay = way.delay()
                if delay is not None and (sender := others.get(source[1])) is not None:
                    self._nursery.start_soon(_send, sender, data, to, trio.current_time() + delay)


async def _send(sender: trio.socket.SocketType, data: bytes, port: int, at: float) -> None:
    await trio.sleep_until(at)
    await sender.sendto(data, (HERE, port))


def _bound(host: str, port: int) -> trio.socket.SocketType:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((host, port))
    return trio.socket.from_stdlib_socket(opened)


@asynccontextmanager
async def open_lossy_network(pbx: PrivateAsterisk, seed: int) -> AsyncIterator[tuple[LossyNetwork, str]]:
    """A network between a PBX and agentd's ports, without loss at first, for as long as the block runs; and ARI's URL
    behind it. agentd has to advertise `ASTERISK_SENDS_TO`."""
    towards_agentd, towards_asterisk = (Way(Weather(), random.Random(seed + way)) for way in range(2))
    async with trio.open_nursery() as nursery:
        network = LossyNetwork(towards_agentd, towards_asterisk, nursery)
        network.open(pbx.agent_rtp, pbx.agent_rtp_ports)
        ari = Proxy((HERE, pbx.http_port), rewrite=network.rewrite)
        await nursery.start(ari.serve, 0)
        yield network, f"http://{HERE}:{ari.port}"
        nursery.cancel_scope.cancel()
