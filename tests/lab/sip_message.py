"""SIP messages as a caller needs them (RFC 3261): parsing, and the requests of one dialog. Pure."""

import secrets
from collections.abc import Sequence
from typing import Self

import attrs

PCMU = ((0, "PCMU/8000"),)
"""A payload type, and what it is."""

# RFC 3261, section 7.3.3.
_COMPACT = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "l": "content-length",
    "c": "content-type",
}
# What a response takes over from its request (RFC 3261, section 8.2.6.2).
_ECHOED = ("via", "from", "to", "call-id", "cseq")


class SipSyntaxError(ValueError):
    """A datagram is no SIP message."""


@attrs.frozen
class SipMessage:
    """A request or a response; header names in lower case and in full, in the order of the wire."""

    start_line: str
    headers: tuple[tuple[str, str], ...]
    body: str = ""

    @classmethod
    def parse(cls, datagram: bytes) -> Self:
        """Raises SipSyntaxError if `datagram` has no start line of SIP/2.0 or a line that is no header."""
        head, _, body = datagram.decode("utf-8", "replace").partition("\r\n\r\n")
        start_line, *lines = head.split("\r\n")
        words = start_line.split(" ", 2)
        if len(words) < 3 or "SIP/2.0" not in (words[0], words[2]):
            raise SipSyntaxError(f"expected a SIP/2.0 start line, got {start_line[:80]!r}")
        if words[0] == "SIP/2.0" and not (len(words[1]) == 3 and words[1].isascii() and words[1].isdigit()):
            raise SipSyntaxError(f"expected a status of three digits, got {start_line[:80]!r}")
        headers: list[tuple[str, str]] = []
        for line in lines:
            if line[:1] in (" ", "\t") and headers:
                headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
                continue
            name, colon, value = line.partition(":")
            if not colon:
                raise SipSyntaxError(f"expected a header, got {line[:80]!r}")
            name = name.strip().lower()
            headers.append((_COMPACT.get(name, name), value.strip()))
        return cls(start_line, tuple(headers), body)

    @property
    def status(self) -> int | None:
        """The status of a response, None for a request."""
        words = self.start_line.split(" ", 2)
        return int(words[1]) if words[0] == "SIP/2.0" else None

    @property
    def reason(self) -> str:
        return self.start_line.split(" ", 2)[2]

    @property
    def method(self) -> str:
        """The method of a request, or of the request that a response answers."""
        if self.status is None:
            return self.start_line.split(" ", 1)[0]
        return self.header("cseq").rpartition(" ")[2]

    def header(self, name: str) -> str:
        """The first value of a header, empty if there is none."""
        return next((value for key, value in self.headers if key == name), "")

    def render(self) -> bytes:
        """The datagram; it adds Content-Length."""
        body = self.body.encode()
        lines = [
            self.start_line,
            *(f"{name}: {value}" for name, value in self.headers),
            f"content-length: {len(body)}",
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def response(self, status: int, reason: str, *headers: tuple[str, str], body: str = "") -> "SipMessage":
        """The answer to this request."""
        echoed = tuple(pair for pair in self.headers if pair[0] in _ECHOED)
        return SipMessage(f"SIP/2.0 {status} {reason}", (*echoed, *headers), body)


def tag_of(header: str) -> str:
    """The tag parameter of a From or To value, empty if it has none."""
    parameters = header.rpartition(">")[2].split(";")
    return next((word.strip()[4:] for word in parameters if word.strip().lower().startswith("tag=")), "")


def address_of(header: str) -> str:
    """The URI in a From, To or Contact value."""
    start, end = header.find("<"), header.find(">")
    return header[start + 1 : end] if 0 <= start < end else header.split(";")[0].strip()


def _token() -> str:
    return secrets.token_hex(8)


@attrs.define
class Dialog:
    """One call's dialog as its caller keeps it: who is who, and its requests (RFC 3261, section 12)."""

    uri: str
    caller_id: str
    name: str
    local: tuple[str, int]
    sdp: str
    call_id: str = attrs.field(factory=_token)
    tag: str = attrs.field(factory=_token)
    remote_tag: str = ""
    remote_target: str = ""
    _branch: str = attrs.field(factory=_token)
    _sequence: int = 1

    @classmethod
    def answering(cls, invite: SipMessage, local: tuple[str, int], sdp: str) -> Self:
        """The dialog of one who is called, by the far side's INVITE (RFC 3261, section 12.1.1)."""
        caller, called = invite.header("from"), address_of(invite.header("to"))
        number = called.removeprefix("sip:").partition("@")[0]
        dialog = cls(address_of(caller), number, "", local, sdp, invite.header("call-id"))
        dialog.remote_tag, dialog.remote_target = tag_of(caller), address_of(invite.header("contact"))
        return dialog

    @property
    def contact(self) -> str:
        return f"<sip:{self.caller_id}@{self.local[0]}:{self.local[1]}>"

    def answer(self, invite: SipMessage, status: int, reason: str, body: str = "") -> SipMessage:
        """An answer to the INVITE that called us: with a tag of ours, and what the far side needs for the dialog."""
        headers = tuple(
            (name, f"{value};tag={self.tag}" if name == "to" and not tag_of(value) else value)
            for name, value in invite.headers
        )
        told = [("contact", self.contact), *([("content-type", "application/sdp")] if body else [])]
        return SipMessage(invite.start_line, headers).response(status, reason, *told, body=body)

    def invite(self) -> SipMessage:
        """The same each time: sent again, it is a retransmission."""
        return self._request(
            "INVITE",
            self.uri,
            1,
            self._branch,
            ("contact", self.contact),
            ("content-type", "application/sdp"),
            body=self.sdp,
        )

    def cancel(self) -> SipMessage:
        """Takes back an INVITE that has no final answer yet."""
        return self._request("CANCEL", self.uri, 1, self._branch)

    def refused(self, answer: SipMessage) -> SipMessage:
        """The ACK of a final answer that is no success; it belongs to the INVITE's transaction."""
        self.remote_tag = tag_of(answer.header("to"))
        return self._request("ACK", self.uri, 1, self._branch)

    def accepted(self, answer: SipMessage) -> SipMessage:
        """The ACK of a 200: takes over what the answer says about the far side."""
        self.remote_tag = tag_of(answer.header("to"))
        self.remote_target = address_of(answer.header("contact")) or self.uri
        return self._request("ACK", self.remote_target, 1, _token())

    def bye(self) -> SipMessage:
        """A new BYE; keep it to send it again."""
        self._sequence += 1
        return self._request("BYE", self.remote_target, self._sequence, _token())

    def refer(self, refer_to: str) -> SipMessage:
        """A new REFER (RFC 3515): have the far side transfer its own end of this call to `refer_to`."""
        self._sequence += 1
        headers = (("contact", self.contact), ("refer-to", f"<{refer_to}>"), ("referred-by", self.contact))
        return self._request("REFER", self.remote_target, self._sequence, _token(), *headers)

    def reinvite(self, sdp: str) -> SipMessage:
        """A new INVITE within the call, which offers `sdp`; keep it to send it again."""
        self._sequence += 1
        headers = (("contact", self.contact), ("content-type", "application/sdp"))
        return self._request("INVITE", self.remote_target, self._sequence, _token(), *headers, body=sdp)

    def acknowledged(self, answer: SipMessage) -> SipMessage:
        """The ACK of a 200 to a `reinvite`."""
        return self._request("ACK", self.remote_target, int(answer.header("cseq").split()[0]), _token())

    @property
    def replaces(self) -> str:
        """This dialog as the far side is to name it in a Replaces header (RFC 3891)."""
        return f"{self.call_id};to-tag={self.remote_tag};from-tag={self.tag}"

    def _request(
        self, method: str, target: str, sequence: int, branch: str, *headers: tuple[str, str], body: str = ""
    ) -> SipMessage:
        host, port = self.local
        shown = f'"{self.name}" ' if self.name else ""
        to_tag = f";tag={self.remote_tag}" if self.remote_tag else ""
        return SipMessage(
            f"{method} {target} SIP/2.0",
            (
                ("via", f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK{branch};rport"),
                ("max-forwards", "70"),
                ("from", f"{shown}<sip:{self.caller_id}@{host}>;tag={self.tag}"),
                ("to", f"<{self.uri}>{to_tag}"),
                ("call-id", self.call_id),
                ("cseq", f"{sequence} {method}"),
                *headers,
            ),
            body,
        )


def offer(
    host: str, rtp_port: int, version: int = 1, direction: str = "sendrecv", codecs: Sequence[tuple[int, str]] = PCMU
) -> str:
    """The session description of a caller with `codecs` (u-law) and RFC 4733 digits, in frames of 20 ms (RFC 8866); a
    caller who holds is "sendonly" (RFC 3264, section 8.4). Each change has a `version` of its own."""
    lines = (
        "v=0",
        f"o=- 1 {version} IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {rtp_port} RTP/AVP {' '.join(str(kind) for kind, _ in codecs)} 101",
        *(f"a=rtpmap:{kind} {name}" for kind, name in codecs),
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        f"a={direction}",
    )
    return "".join(f"{line}\r\n" for line in lines)


def media_address(sdp: str) -> tuple[str, int]:
    """Where the far side wants its RTP. Raises SipSyntaxError if the description does not say."""
    host = port = ""
    for line in sdp.splitlines():
        if line.startswith("c=IN IP4 "):
            host = line[9:].strip()
        elif line.startswith("m=audio "):
            port = line.split()[1]
    if not host or not port.isascii() or not port.isdigit():
        raise SipSyntaxError(f"expected c=IN IP4 and m=audio lines, got {sdp[:200]!r}")
    return host, int(port)
