"""One call's connection to Deepgram's live speech to text, and the caller's turns on it.

https://developers.deepgram.com/docs/live-streaming-audio, docs/finalize and docs/audio-keep-alive. A connection is kept
alive between turns, and replaced when it dies; what was not understood of a turn by then is sent again.
"""

from collections.abc import Callable, Sequence

import attrs
import structlog
import trio

from agentd.errors import ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable, WebSocketError
from agentd_providers.deepgram.listen_messages import (
    FINALIZE,
    KEEP_ALIVE,
    TOLERANCE,
    VENDOR,
    Finalizes,
    TurnWords,
    parse,
)
from agentd_providers.pipeline.stages import Transcript
from agentd_providers.vendor.access import VendorAccess
from agentd_providers.vendor.socket import VendorSocket, open_vendor_socket

log = structlog.get_logger("agentd_providers.deepgram")

KEEP_ALIVE_SECONDS = 4.0
"""Deepgram hangs up after 10 s without audio or message, and asks for one every 3 to 5 s."""
OPENING_SILENCE = 0.1
"""Seconds of audio that open a connection: messages alone do not keep one alive."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0
"""Seconds between attempts to connect, each twice the one before. The first comes at once, and one for a turn."""
STEADY = 5.0
"""Seconds that a connection has lasted when the next one is opened without a pause."""
REPEATED_SECONDS = 60
"""Audio of a turn that is kept to be sent again: what is not understood yet."""
PIECE_SECONDS = 0.25
"""Audio that is sent again goes in pieces of this length."""
MOST_UNHEARD = 0.5
"""Seconds of a turn about which nothing may have come when its words are given all the same."""


@attrs.define(eq=False)
class DeepgramLine:
    """One call's connection, and its Transcriber. One turn at a time is fed: the one that was begun last.

    `connect_timeout` and `timeout` in seconds: of an attempt to connect, and of the words at a pause. `on_unknown` is
    called for a message that we do not know.
    """

    url: str
    headers: Sequence[tuple[str, str]] = attrs.field(repr=False)
    rate: int
    connect_timeout: float
    timeout: float
    access: VendorAccess
    on_unknown: Callable[[], None]
    failure: ProviderError | None = attrs.field(default=None, init=False)
    """Why there is no connection, while none is being tried for."""
    _socket: VendorSocket | None = attrs.field(default=None, init=False)
    _attempts: int = attrs.field(default=0, init=False)
    """Counts the attempts to connect."""
    _connection: int = attrs.field(default=0, init=False)
    """Counts the connections."""
    _sent: int = attrs.field(default=0, init=False)
    """Samples that the connection was given."""
    _sent_at: float = attrs.field(default=0.0, init=False)
    """Second of the monotonic clock when something was sent last."""
    _finalizes: Finalizes = attrs.field(factory=Finalizes, init=False)
    _turns: list["_DeepgramTranscript"] = attrs.field(factory=list, init=False)
    """Those that are not closed, the oldest first."""
    _lost: ProviderUnavailable | None = attrs.field(default=None, init=False)
    """Why we gave the connection up."""
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    """Of the connection's reader."""
    _hurry: trio.Event = attrs.field(factory=trio.Event, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    # --- the call's side

    def begin(self) -> Transcript:
        """See agentd_providers.pipeline.stages.Transcriber.begin."""
        if self._turns:
            self._turns[-1].words_so_far.end = self._second
        self._hurry.set()
        turn = _DeepgramTranscript(self, TurnWords(self._second), self._sent)
        self._turns.append(turn)
        return turn

    def hears(self, turn: "_DeepgramTranscript") -> bool:
        """Whether the turn is the one that is fed."""
        return bool(self._turns) and self._turns[-1] is turn

    def send(self, pcm: bytes) -> None:
        """Send audio, of the turn that is fed; never waits."""
        if self._socket is None:
            return
        dropped = self._socket.dropped_audio
        self._socket.send_audio(pcm)
        if self._socket.dropped_audio > dropped:
            self.give_up("it takes no audio any more")
            return
        self._sent += len(pcm) // 2
        self._sent_at = trio.current_time()

    def forget(self, turn: "_DeepgramTranscript") -> None:
        """The turn is closed. The rest of its audio is finished, so that it does not run into the next turn's."""
        self._turns.remove(turn)
        if turn.words_so_far.settled_to < turn.second - TOLERANCE:
            self._finalize(turn.second)

    async def finished(self, turn: "_DeepgramTranscript") -> None:
        """Wait until Deepgram has finished what the turn has been fed by now; on another connection if this one dies.

        Raises ProviderError when there is no connection to be had: after an attempt that was made since this was asked.
        """
        connection, second, attempts = 0, 0.0, self._attempts
        while True:
            if self.failure is not None:
                if self._attempts > attempts or isinstance(self.failure, ProviderRejected):
                    raise type(self.failure)(str(self.failure)) from self.failure
                self._hurry.set()
            if self._socket is not None:
                if connection != self._connection:
                    connection, second = self._connection, turn.second
                    if turn.words_so_far.settled_to < second - TOLERANCE:
                        self._finalize(second)
                if turn.words_so_far.settled_to >= second - TOLERANCE or self._finalizes.is_answered(second):
                    return
            self._changed = trio.Event() if self._changed.is_set() else self._changed
            await self._changed.wait()

    def give_up(self, why: str) -> ProviderUnavailable:
        """The connection is of no use any more: open another one. Gives the error that tells so."""
        error = ProviderUnavailable(f"{VENDOR}: {why}")
        if self._socket is not None:
            self._lost = error
            self._socket = None
            self._scope.cancel()
        return error

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    @property
    def _second(self) -> float:
        return self._sent / self.rate

    def _finalize(self, second: float) -> None:
        if self._socket is None or not self._finalizes.ask(second):
            return
        try:
            self._socket.send(FINALIZE)
        except ProviderUnavailable:
            self.give_up("it takes no messages any more")

    # --- the connection

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 - _connect does
        """Have a connection, until cancelled or refused. `started` is called once there is the first one; where there
        is none, ProviderError is raised."""
        opened, pause = False, 0.0
        while True:
            self.failure, began = None, trio.current_time()
            self._attempts += 1
            try:
                failure: ProviderError = await self._connect(task_status)
                opened = True
                log.warning("the connection to Deepgram is lost", error=str(failure))
                if not pause or trio.current_time() - began > STEADY:
                    pause = FIRST_PAUSE
                    continue
            except ProviderError as error:
                self._note_refusal(error)
                if not opened:
                    raise
                failure = error
            self.failure = failure
            self._changed.set()
            if isinstance(failure, ProviderRejected):
                return
            self._hurry = trio.Event()
            with trio.move_on_after(pause):
                await self._hurry.wait()
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _connect(self, task_status: trio.TaskStatus[None]) -> ProviderUnavailable:
        """Have one connection; gives why it ended. Raises ProviderError where there was none."""
        async with open_vendor_socket(VENDOR, self.url, self.headers, connect_deadline=self.connect_timeout) as socket:
            self.access.granted()
            try:
                with trio.CancelScope() as self._scope:
                    self._begin(socket)
                    if self._connection == 1:
                        task_status.started()
                    return await self._read(socket)
            finally:
                self._socket = None
        assert self._lost is not None
        return self._lost

    def _begin(self, socket: VendorSocket) -> None:
        """Begin with a connection: what is not understood of the turns is sent again."""
        self._socket, self._lost, self._sent, self._finalizes = socket, None, 0, Finalizes()
        self._connection += 1
        self.send(bytes(round(OPENING_SILENCE * self.rate) * 2))
        step = round(PIECE_SECONDS * self.rate) * 2
        for turn in self._turns:
            turn.move(self._sent)
            for begin in range(0, len(turn.pcm), step):
                self.send(bytes(turn.pcm[begin : begin + step]))
            if turn is not self._turns[-1]:
                turn.words_so_far.end = self._second
        self._changed.set()

    async def _read(self, socket: VendorSocket) -> ProviderUnavailable:
        """Take what Deepgram says, and keep the connection alive, until it is gone; gives why."""
        while True:
            with trio.move_on_at(self._sent_at + KEEP_ALIVE_SECONDS):
                try:
                    self._take(await socket.receive())
                except ProviderUnavailable as error:
                    return error
            if trio.current_time() >= self._sent_at + KEEP_ALIVE_SECONDS:
                self._sent_at = trio.current_time()
                try:
                    socket.send(KEEP_ALIVE)
                except ProviderUnavailable as error:
                    return error

    def _take(self, message: str | bytes) -> None:
        try:
            results = parse(message)
        except ProviderProtocolError as error:
            log.debug("Deepgram said what we do not know", error=str(error))
            self.on_unknown()
            return
        if results is not None:
            self._finalizes.take(results)
            for turn in self._turns:
                turn.words_so_far.take(results)
                turn.settle()
            self._changed.set()

    def _note_refusal(self, error: ProviderError) -> None:
        if isinstance(error.__cause__, WebSocketError) and error.__cause__.status in (401, 403):
            self.access.refused(str(error))


@attrs.define(eq=False)
class _DeepgramTranscript:
    _line: DeepgramLine
    words_so_far: TurnWords
    _begin: int
    """Sample of the connection's audio that `pcm` begins at."""
    pcm: bytearray = attrs.field(factory=bytearray, init=False)
    """The audio that Deepgram has not finished yet."""
    _fed: int = attrs.field(default=0, init=False)
    """Samples of the turn so far."""
    _closed: bool = attrs.field(default=False, init=False)

    @property
    def second(self) -> float:
        """Second of the connection's audio that the turn has reached."""
        return (self._begin + len(self.pcm) // 2) / self._line.rate

    def feed(self, pcm: bytes) -> None:
        if not pcm or not self._line.hears(self):  # an empty message would end the connection
            return
        self.pcm += pcm
        self._fed += len(pcm) // 2
        self._drop(len(self.pcm) // 2 - REPEATED_SECONDS * self._line.rate)
        self._line.send(pcm)

    async def words(self) -> str:
        line, timeout, fed = self._line, self._line.timeout, self._fed
        with trio.move_on_after(timeout):
            await line.finished(self)
            return self.words_so_far.text
        if not line.is_connected:
            raise ProviderUnavailable(f"{VENDOR}: no connection within {timeout:g} s")
        unheard = self.second - (self._fed - fed) / line.rate - self.words_so_far.heard_to
        if unheard > MOST_UNHEARD:
            raise line.give_up(f"nothing about the last {unheard:.1f} s of a turn within {timeout:g} s")
        return self.words_so_far.text

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._line.forget(self)
            self.pcm.clear()

    def settle(self) -> None:
        """Final words need not be sent again."""
        self._drop(round(self.words_so_far.settled_to * self._line.rate) - self._begin)

    def move(self, begin: int) -> None:
        """The rest begins at this sample of another connection."""
        self._begin = begin
        self.words_so_far.move(begin / self._line.rate)

    def _drop(self, samples: int) -> None:
        samples = min(samples, len(self.pcm) // 2)
        if samples > 0:
            del self.pcm[: samples * 2]
            self._begin += samples
