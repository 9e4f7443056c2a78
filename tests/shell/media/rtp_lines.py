"""ExternalMedia RTP without a network: a socket in memory, and the far end that Asterisk would have."""

import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import trio

from agentd.addresses import split_host_port
from agentd.config.settings import Config, Rtp, RtpCodec
from agentd.metrics import Metrics
from agentd.rtp.packet import Outgoing, Refusal, parse
from agentd.rtp.payload import PAYLOADS, Payload
from agentd.rtp.transport import ADDRESS_VARIABLE, PORT_VARIABLE, RtpTransport

FAR = ("127.0.0.1", 12000)
"""Where Asterisk sends from."""


@attrs.define(eq=False)
class RtpLine:
    """One leg's socket, as agentd uses it, and the caller's end behind it."""

    port: int
    payload: Payload
    frames: list[tuple[float, bytes]] = attrs.field(factory=list)
    """When each frame was sent, and its slin."""
    released: bool = False
    gone: bool = False
    family: int = socket.AF_INET
    _inbox: deque[tuple[bytes, tuple[str, int]]] = attrs.field(factory=deque)
    _peer: tuple[str, int] = ("", 0)
    _refusal_due: bool = False
    _outgoing: Outgoing = attrs.field(init=False)
    _spoken: int = 0

    def __attrs_post_init__(self) -> None:
        self._outgoing = Outgoing(self.payload.payload_type, 77, 65530, 0)

    # --- the caller's end

    def speak(self, pcm: bytes) -> None:
        self._inbox.append((self._outgoing.packet(self.payload.encode(pcm), self._spoken), FAR))
        self._spoken += len(pcm) // 2

    def cut(self) -> None:
        """Asterisk closes its port: what is sent then is answered by ICMP, which the next call of the socket tells."""
        self.gone = True

    # --- agentd's

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def getpeername(self) -> tuple[str, int]:
        return self._peer

    def connect(self, address: tuple[str, int]) -> None:
        self._peer = address

    def recvfrom(self, most: int) -> tuple[bytes, tuple[str, int]]:
        self._tell_refusal()
        if not self._inbox:
            raise BlockingIOError
        datagram, source = self._inbox.popleft()
        return datagram[:most], source

    def send(self, datagram: bytes) -> int:
        self._tell_refusal()
        if self.gone:
            self._refusal_due = True
            return len(datagram)
        packet = parse(datagram)
        assert not isinstance(packet, Refusal)
        assert packet.payload_type == self.payload.payload_type
        self.frames.append((trio.current_time(), self.payload.decode(packet.payload)))
        return len(datagram)

    def close(self) -> None:
        self.released = True

    def _tell_refusal(self) -> None:
        if self._refusal_due:
            self._refusal_due = False
            raise ConnectionRefusedError


@attrs.define(eq=False)
class RtpLines:
    """The real transport over sockets in memory, and Asterisk's answers about them."""

    codec: RtpCodec = RtpCodec.SLIN
    metrics: Metrics = attrs.field(factory=Metrics)
    config: Config = attrs.field(init=False)
    all: list[RtpLine] = attrs.field(factory=list)
    opened: list[RtpLine] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.config = Config(rtp=Rtp(codec=self.codec))

    def transport(self) -> RtpTransport:
        return RtpTransport(lambda: self.config, self.metrics, self._open)  # type: ignore[arg-type] - as much of one as is used

    def asked(self, variables: dict[str, str]) -> Callable[[str, Any], None]:
        """What Asterisk does when it is asked for a leg: the answer has its own end."""

        def on_media(_data: str, request: Any) -> None:
            _, port = split_host_port(request.params["external_host"])
            line = next(each for each in self.opened if each.port == port)
            line.payload = PAYLOADS[request.params["format"]]
            line._outgoing.payload_type = line.payload.payload_type
            self.all.append(line)
            variables.update({ADDRESS_VARIABLE: FAR[0], PORT_VARIABLE: str(FAR[1])})

        return on_media

    def _open(self, settings: Rtp) -> RtpLine:
        line = RtpLine(settings.first_port + len(self.opened), PAYLOADS[str(self.codec)])
        self.opened.append(line)
        return line
