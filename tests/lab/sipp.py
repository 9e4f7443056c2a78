"""A crowd of callers: SIPp, which places calls and streams a recording into each, whatever it hears.

SIPp (https://sipp.readthedocs.io) is the host's own, or Debian's package sip-tester, unpacked below the cache.
"""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

import attrs
import trio

from .debian import Progress, Wanted, unpacked
from .prefix import LabUnavailable

SIPP: Final = Wanted(
    "SIPp", ("sip-tester",), "sip-tester", "20 MB", "Install SIPp (Debian: sip-tester), so that sipp is on PATH."
)
END_SECONDS: Final = 10.0
"""Within which all calls are to be hung up."""
AGAIN_SECONDS: Final = 0.5
PORTS_PER_CALL: Final = 2
"""RTP and RTCP."""

SCENARIO: Final = """<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="a caller who talks until hung up">
  <send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:1[call_number]@[local_ip]:[local_port]>;tag=[pid]S[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:load@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=ptime:20
]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:1[call_number]@[local_ip]:[local_port]>;tag=[pid]S[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
  <nop><action><exec rtp_stream=@RECORDING@/></action></nop>
  <pause milliseconds="@MILLISECONDS@"/>
</scenario>
"""


@attrs.frozen
class Sipp:
    """A SIPp that can be started. `command` is the argv that runs it."""

    command: tuple[str, ...]


@attrs.frozen
class Crowd:
    """Callers that ring. `pid` is SIPp's, `directory` where it writes what goes wrong."""

    pid: int
    directory: Path

    def complaints(self, most: int = 5) -> list[str]:
        """The last lines of its error logs."""
        logs = sorted(self.directory.glob("*_errors.log"))
        return [line for log in logs for line in log.read_text("utf-8", "replace").splitlines() if line][-most:]


async def find_or_unpack_sipp(progress: Progress) -> Sipp:
    """The host's SIPp, the cached one, else Debian's, fetched now. Raises LabUnavailable."""
    if installed := shutil.which("sipp"):
        return Sipp((installed,))
    root = await unpacked(SIPP, progress)
    loaders = sorted(root.glob("usr/lib/*/ld-linux*.so.*"))
    if not loaders:
        raise LabUnavailable(f"{root}: expected the unpacked dynamic loader ld-linux*.so.*, found none")
    # Through its own dynamic loader, on its own libraries.
    return Sipp((str(loaders[0]), "--library-path", str(loaders[0].parent), str(root / "usr/bin/sipp")))


@asynccontextmanager
async def call_in(
    sipp: Sipp,
    uri_port: int,
    extension: str,
    calls: int,
    *,
    ulaw: bytes,
    a_second: float,
    first_rtp_port: int,
    seconds: float,
    directory: Path,
) -> AsyncIterator[Crowd]:
    """Have so many callers ring `extension` at 127.0.0.1:`uri_port`, `a_second` of them each second, until the block is
    left, for at most `seconds`: then all are hung up. Each says `ulaw` again and again (8 kHz), from the RTP ports
    `first_rtp_port` on, two a call. Nobody rings a second time. SIPp's files are below `directory`. Cancellation hangs
    up too."""
    directory = Path(tempfile.mkdtemp(prefix="sipp-", dir=directory))
    recording, scenario = directory / "said.ulaw", directory / "caller.xml"
    recording.write_bytes(ulaw)
    text = SCENARIO.replace("@RECORDING@", quoteattr(f"{recording.resolve()},-1,0,PCMU/8000"))
    scenario.write_text(text.replace("@MILLISECONDS@", str(round(seconds * 1000))), "ascii")
    arguments = ["-sf", scenario.name, "-s", extension, "-i", "127.0.0.1", "-mi", "127.0.0.1", "-nostdin"]
    arguments += ["-l", str(calls), "-m", str(calls), "-r", f"{a_second:g}", "-timeout", f"{seconds:.0f}", "-trace_err"]
    arguments += ["-min_rtp_port", str(first_rtp_port), "-max_rtp_port", str(first_rtp_port + PORTS_PER_CALL * calls)]
    with (directory / "start_errors.log").open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [*sipp.command, f"127.0.0.1:{uri_port}", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=directory,
        )
    try:
        yield Crowd(process.pid, directory)
    finally:
        with trio.move_on_after(END_SECONDS, shield=True):
            # Once: no more calls; twice: those that are up are hung up (SIPp's "controlling").
            while process.poll() is None:
                process.send_signal(signal.SIGUSR1)
                await trio.sleep(AGAIN_SECONDS)
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
