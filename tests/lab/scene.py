"""A caller's part in a call: listen until the agent has finished, speak, wait for the answer."""

import attrs
import trio

from .hearing import transcribe
from .measure import speech_spans
from .sip import Call

POLL = 0.1
RATE = 8000


class NothingHeard(Exception):
    """The agent did not speak, or did not stop, in time."""


@attrs.frozen
class Answer:
    """What came back after the caller spoke: the recording's part, and the seconds from the caller's last sound
    to the answer's first."""

    pcm: bytes = attrs.field(repr=False)
    start: float
    end: float
    delay: float


async def listen(call: Call, since: float, timeout: float = 20.0, quiet: float = 1.2) -> tuple[float, float]:
    """Wait until the agent has spoken after second `since`, and been quiet for `quiet` seconds since.

    Gives start and end of what was heard, on the call's axis. Raises NothingHeard.
    """
    with trio.move_on_after(timeout):
        while not call.ended.is_set():
            await trio.sleep(POLL)
            spans = speech_spans(call.heard[int(since * RATE) * 2 :], join_seconds=quiet)
            if spans and call.now - since - spans[-1].end >= quiet:
                return since + spans[0].start, since + spans[-1].end
    raise NothingHeard(f"the agent was not heard to speak and finish within {timeout} s of second {since:.1f}")


async def silence_after(call: Call, since: float, seconds: float, timeout: float = 15.0) -> float:
    """Wait for a silence of `seconds` that begins after second `since`, and give the second at which it began.

    Raises NothingHeard where sound goes on all the time.
    """
    with trio.move_on_after(timeout):
        while True:
            await trio.sleep(POLL)
            spans = [span for span in speech_spans(call.heard, join_seconds=seconds) if span.end > since]
            last = spans[0].end if spans else since
            if call.now - last > seconds + 0.2:
                return last
    raise NothingHeard(f"no silence was heard within {timeout} s of second {since:.1f}")


async def ask(call: Call, pcm: bytes, timeout: float = 20.0) -> Answer:
    """Say something and wait for the whole answer. Raises NothingHeard."""
    sent = await call.play(pcm)
    spoken = speech_spans(pcm, join_seconds=2.0)
    last_sound = sent.start + spoken[-1].end
    start, end = await listen(call, last_sound, timeout)
    heard = call.heard[int((start - 0.2) * RATE) * 2 : int((end + 0.3) * RATE) * 2]
    return Answer(heard, start, end, start - last_sound)


async def words_heard(call: Call, start: float, end: float) -> str:
    """The words of a part of what the caller heard."""
    return await transcribe(call.heard[max(int((start - 0.2) * RATE), 0) * 2 : int((end + 0.3) * RATE) * 2])
