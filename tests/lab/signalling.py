"""The SIP side of one call, over UDP: invite, acknowledge, hang up, and answer the far side's requests."""

import math
from collections.abc import Callable

import attrs
import trio

from .sip_message import Dialog, SipMessage, SipSyntaxError, media_address

# Loopback and local networks: RFC 3261's T1 of 500 ms would only make a loss expensive.
T1_SECONDS = 0.2
BYE_SECONDS = 2.0
CANCEL_SECONDS = 2.0
REFER_SECONDS = 5.0
REINVITE_SECONDS = 5.0


class CallRefused(Exception):
    """The far side answered the INVITE with `status` (3xx to 6xx), or not at all (408)."""

    def __init__(self, uri: str, status: int, reason: str) -> None:
        super().__init__(f"{uri} refused the call: {status} {reason}")
        self.status = status
        self.reason = reason


class Signalling:
    """Requests and answers of one dialog. `socket` is the caller's, bound; `peer` is the PBX."""

    def __init__(self, socket: trio.socket.SocketType, peer: tuple[str, int], dialog: Dialog) -> None:
        self._socket = socket
        self._peer = peer
        self._dialog = dialog
        self._ack: SipMessage | None = None
        self._bye_answered = trio.Event()
        self._referred: int | None = None
        """The final status that a REFER was answered with."""
        self._answered = trio.Event()
        self._renegotiated: int | None = None
        """The final status that a re-INVITE was answered with."""
        self._settled = trio.Event()

    async def invite(self, seconds: float) -> SipMessage:
        """Call, and return the 200 when it is there; it is acknowledged.

        Raises CallRefused, with status 408 after `seconds`. A call that is given up, by the deadline or by
        cancellation, is taken back, so that no half-answered channel stays at the PBX.
        """
        settled = False
        try:
            with trio.move_on_after(seconds):
                answer = await self._final_answer(self._dialog.invite(), math.inf)
                settled = True
                # A 200 without its ACK is a call that only the far side has.
                with trio.move_on_after(T1_SECONDS, shield=True):
                    return await self._settle(answer)
        finally:
            if not settled:
                with trio.move_on_after(CANCEL_SECONDS, shield=True):
                    await self._take_back()
        raise CallRefused(self._dialog.uri, 408, f"no final answer within {seconds:g} s")

    async def _settle(self, answer: SipMessage) -> SipMessage:
        assert answer.status is not None
        if answer.status >= 300:
            await self._send(self._dialog.refused(answer))
            raise CallRefused(self._dialog.uri, answer.status, answer.reason)
        self._ack = self._dialog.accepted(answer)
        await self._send(self._ack)
        return answer

    async def _take_back(self) -> None:
        answer = await self._final_answer(self._dialog.cancel(), math.inf, to_method="INVITE")
        if answer.status is not None and answer.status >= 300:
            await self._send(self._dialog.refused(answer))
            return
        # The 200 crossed the CANCEL: the call is up and has to be hung up.
        await self._send(self._dialog.accepted(answer))
        await self._send(self._dialog.bye())

    async def _final_answer(self, request: SipMessage, patience: float, to_method: str = "") -> SipMessage:
        """The final answer to `request` or to the method named; sent again until one comes (timer A)."""
        method = to_method or request.method
        interval = T1_SECONDS
        heard = False
        await self._send(request)
        while True:
            with trio.move_on_after(patience if heard else interval) as waiting:
                message = await self._receive()
                if message.status is None:
                    await self._send(message.response(200, "OK"))
                elif message.method == method and message.status >= 200:
                    return message
                elif message.method in (method, request.method):
                    heard = True
            if waiting.cancelled_caught and not heard:
                await self._send(request)
                interval = min(2 * interval, 4.0)

    async def serve(self, on_bye: Callable[[], None], sdp: str) -> None:
        """Answer the far side's requests for as long as the call is; never returns."""
        while True:
            message = await self._receive()
            if message.status is not None:
                if message.method == "BYE" and message.status >= 200:
                    self._bye_answered.set()
                elif message.method == "REFER" and message.status >= 200:
                    self._referred = message.status
                    self._answered.set()
                elif message.method == "INVITE" and message.header("cseq").startswith("1 "):
                    if message.status == 200 and self._ack is not None:  # the far side has not had the ACK yet
                        await self._send(self._ack)
                elif message.method == "INVITE" and message.status >= 200:
                    await self._send(self._dialog.acknowledged(message))
                    self._renegotiated = message.status
                    self._settled.set()
            elif message.method == "BYE":
                await self._send(message.response(200, "OK"))
                on_bye()
            elif message.method in ("INVITE", "UPDATE"):
                # A re-INVITE keeps the session as it is.
                headers = (("contact", self._dialog.contact), ("content-type", "application/sdp"))
                await self._send(message.response(200, "OK", *headers, body=sdp))
            elif message.method != "ACK":
                await self._send(message.response(200, "OK"))

    async def hang_up(self) -> None:
        """Say BYE, until it is answered or BYE_SECONDS are over; needs `serve` to run beside it."""
        bye = self._dialog.bye()
        interval = T1_SECONDS
        with trio.move_on_after(BYE_SECONDS, shield=True):
            while not self._bye_answered.is_set():
                await self._send(bye)
                with trio.move_on_after(interval):
                    await self._bye_answered.wait()
                interval *= 2

    async def refer(self, refer_to: str) -> int:
        """Have the far side transfer its own end of the call; gives its final status, 408 where none came in
        REFER_SECONDS. Needs `serve` to run beside it."""
        self._referred, self._answered = None, trio.Event()
        request = self._dialog.refer(refer_to)
        interval = T1_SECONDS
        with trio.move_on_after(REFER_SECONDS):
            while self._referred is None:
                await self._send(request)
                with trio.move_on_after(interval):
                    await self._answered.wait()
                interval *= 2
        return 408 if self._referred is None else self._referred

    async def reinvite(self, sdp: str) -> int:
        """Offer another session within the call; gives the final status, 408 where none came in REINVITE_SECONDS.
        Needs `serve` to run beside it."""
        self._renegotiated, self._settled = None, trio.Event()
        request = self._dialog.reinvite(sdp)
        interval = T1_SECONDS
        with trio.move_on_after(REINVITE_SECONDS):
            while self._renegotiated is None:
                await self._send(request)
                with trio.move_on_after(interval):
                    await self._settled.wait()
                interval *= 2
        return 408 if self._renegotiated is None else self._renegotiated

    @property
    def replaces(self) -> str:
        """See Dialog.replaces."""
        return self._dialog.replaces

    async def accept(self, accepted: SipMessage) -> None:
        """Say that a call is answered until that is acknowledged, or this is cancelled."""
        interval, acknowledged = T1_SECONDS, False
        while not acknowledged:
            await self._send(accepted)
            with trio.move_on_after(interval):
                while not acknowledged:
                    acknowledged = (await self._receive()).method == "ACK"
            interval *= 2

    async def _send(self, message: SipMessage) -> None:
        await self._socket.sendto(message.render(), self._peer)

    async def _receive(self) -> SipMessage:
        message, _ = await _received(self._socket)
        return message


@attrs.define(eq=False)
class Ringing:
    """A call that has come and is not answered yet; made by `ringing`."""

    _socket: trio.socket.SocketType
    _peer: tuple[str, int]
    _invite: SipMessage
    _dialog: Dialog

    @property
    def media(self) -> tuple[str, int]:
        """Where the caller wants its RTP."""
        return media_address(self._invite.body)

    async def answer(self, sdp: str) -> Signalling:
        """Answer it with this session; returns once that is acknowledged."""
        signalling = Signalling(self._socket, self._peer, self._dialog)
        await signalling.accept(self._dialog.answer(self._invite, 200, "OK", sdp))
        return signalling

    async def cancelled(self) -> None:
        """Wait until the caller takes it back."""
        while True:
            message, _ = await _received(self._socket)
            if message.method == "CANCEL":
                await self._say(message.response(200, "OK"))
                await self._say(self._dialog.answer(self._invite, 487, "Request Terminated"))
                return

    async def _say(self, message: SipMessage) -> None:
        await self._socket.sendto(message.render(), self._peer)


async def ringing(socket: trio.socket.SocketType) -> Ringing:
    """Wait for a call on this socket, and say that it rings."""
    while True:
        message, peer = await _received(socket)
        if message.method == "INVITE" and message.status is None:
            call = Ringing(socket, peer, message, Dialog.answering(message, socket.getsockname(), ""))
            await call._say(call._dialog.answer(message, 180, "Ringing"))
            return call


async def _received(socket: trio.socket.SocketType) -> tuple[SipMessage, tuple[str, int]]:
    """The next message, and who sent it."""
    while True:
        datagram, peer = await socket.recvfrom(65535)
        try:
            return SipMessage.parse(datagram), peer
        except SipSyntaxError:
            # RFC 5626 keep-alives, or bytes of a stranger on this port: nobody to answer to.
            continue
