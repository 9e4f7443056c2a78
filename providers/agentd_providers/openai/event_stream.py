"""The server-sent events of a chat server's stream, as its bytes come. Pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. Beside the fields that it has,
servers tell of a failure in one of their own, `error` (llama.cpp, tools/server, until late in 2025).
"""

import attrs

ERROR = "error"


@attrs.frozen
class ServerEvent:
    """`name` is `ERROR` where the data tells of a failure; else it is of no use to us."""

    data: str
    name: str = ""


@attrs.define
class EventReader:
    """Reads the events of one stream, whose lines may end in any of the ways that the standard allows."""

    _line: bytearray = attrs.field(factory=bytearray, init=False)
    _ended_by_cr: bool = attrs.field(default=False, init=False)
    _data: list[str] = attrs.field(factory=list, init=False)
    _name: str = attrs.field(default="", init=False)

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Take more of the stream; gives the events that are complete."""
        if self._ended_by_cr and data.startswith(b"\n"):
            data = data[1:]
            self._ended_by_cr = False
        if data:
            self._ended_by_cr = data.endswith(b"\r")
        first, *others = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line += first
        events: list[ServerEvent] = []
        for rest in others:
            self._take(bytes(self._line), events)
            self._line = bytearray(rest)
        return events

    def end(self) -> list[ServerEvent]:
        """The stream has ended. Its last event may lack the empty line, which the standard has it forgotten for, and
        which some servers leave out."""
        events: list[ServerEvent] = []
        self._take(bytes(self._line), events)
        self._take(b"", events)
        self._line = bytearray()
        return events

    def _take(self, line: bytes, events: list[ServerEvent]) -> None:
        if not line:
            if self._data:
                events.append(ServerEvent("\n".join(self._data), self._name))
            self._data, self._name = [], ""
            return
        field, _, value = line.decode(errors="replace").removeprefix("\ufeff").partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                self._data.append(value)
            case "event":
                self._name = value
            case "error":
                events.append(ServerEvent(value, ERROR))
