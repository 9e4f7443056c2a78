"""Callers whose packets come late, long, or not at all, on a real Asterisk: time passed is audio fed.

What reaches the agent is read off the vendor's fake, which keeps every byte. Sources: wdoekes/asterisk-chan-dongle pull
request 184 (audio over a mobile link comes in bursts), kirklandsig/AIReceptionist issue 11 (comfort noise), RFC 3389
and RFC 3551, section 4.1 (silence suppression).
"""

import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import attrs
import numpy as np
import pytest
import trio

from agentd.testing.sound import voice
from tests.e2e.test_containment import Host, a_host
from tests.lab.daemon import Daemon
from tests.lab.delivery import EVEN, Manner
from tests.lab.hearing import transcribe, words
from tests.lab.measure import speech_spans, turns
from tests.lab.prefix import Prefix
from tests.lab.sip import Call, SipCaller
from tests.lab.speech import Prompt, human_prompts, silence
from tests.lab.vendors.deepgram_agent import Turn

pytestmark = [pytest.mark.e2e, pytest.mark.long]

RATE = 8000
PATIENCE = 30.0
WITHIN = 1.0
"""Seconds by which what was fed may differ from the time since the leg is up."""
LONGEST = 3.3
"""Seconds that three of speech may become."""
LATER = 0.1
"""Seconds by which who suppresses silence may be answered later; a busy host adds `SLACK`."""
SLACK = 0.2
DIALPLAN = """
exten => 7630,1,Gosub(agentd-call,${EXTEN},1(default,external))
"""
SUPPRESSING, COMFORTING = Manner(suppresses_silence=True), Manner(suppresses_silence=True, comfort_noise=True)
MANNERS = {
    "late by 150 ms": Manner(stall=0.15),
    "late by 250 ms": Manner(stall=0.25),
    "late by 400 ms": Manner(stall=0.4),
    "even": EVEN,
    "packets of 120 ms": Manner(packet=0.12),
    "packets of 120 ms, late by 250 ms": Manner(packet=0.12, stall=0.25),
}

THREES = [list(MANNERS)[first : first + 3] for first in range(0, len(MANNERS), 3)]


@attrs.define
class Fed:
    """One call: what the agent was fed, and how that compares with the time since its leg is up, now and then."""

    audio: bytes = b""
    differs: list[float] = attrs.field(factory=list)
    """Seconds that were fed, less those that have passed."""
    said: bytes = b""
    heard: bytes = b""
    lag: float = 0.0
    """Seconds by which the telephone itself was late at worst, on a busy host."""

    @property
    def speech(self) -> float:
        """Seconds from the first sound that was fed to the last."""
        spans = speech_spans(self.audio)
        return spans[-1].end - spans[0].start


async def calls(
    host: Host, daemon: Daemon, manners: Mapping[str, Manner], speak: Callable[[Call], Awaitable[object]]
) -> dict[str, Fed]:
    """A call from a telephone of each manner, all at the same time: what becomes of what they say."""
    results: dict[str, Fed] = {}

    async def call_with(name: str, manner: Manner, *, task_status: trio.TaskStatus[None]) -> None:
        fed = Fed()
        since = len(daemon.lines)
        async with SipCaller(manner=manner, answer_seconds=PATIENCE).call(host.pbx.sip_uri("7630")) as call:
            await daemon.wait_for("media leg bound", start=since, timeout=PATIENCE)
            up = trio.current_time()
            await daemon.wait_for("state", start=since, timeout=PATIENCE, after="live")
            session = host.house.deepgram.session
            task_status.started()
            async with trio.open_nursery() as nursery:

                async def look() -> None:
                    while True:
                        await trio.sleep(0.5)
                        fed.differs.append(len(session.audio) / 2 / RATE - (trio.current_time() - up))

                nursery.start_soon(look)
                await speak(call)
                await trio.sleep(1.5)  # for the last burst, and the last answer
                nursery.cancel_scope.cancel()
            fed.audio, fed.said, fed.heard = bytes(session.audio), call.said, call.heard
            fed.lag = call.line_stats().max_send_lag_ms / 1000
        results[name] = fed

    async with trio.open_nursery() as nursery:
        for name, manner in manners.items():
            await nursery.start(call_with, name, manner)  # one after the other: the newest session is this call's
    await daemon.until_idle()
    return {name: results[name] for name in manners}


@pytest.mark.parametrize("three", THREES, ids=["late", "long"])
async def test_what_is_fed_is_the_time_that_passes_and_three_seconds_stay_three(
    three: Sequence[str], pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """Three at a time: a busy host takes no more callers."""

    def speak(call: Call) -> Awaitable[object]:
        return call.play(silence(2.0) + voice(3.0) + silence(2.0))

    async with a_host(pbx_prefix, tmp_path, dialplan=DIALPLAN) as host, host.daemon() as daemon:
        host.house.deepgram.script = (Turn(says=()),)
        fed = await calls(host, daemon, {name: MANNERS[name] for name in three}, speak)
    for name, one in fed.items():
        worst = max(one.differs, key=abs)
        print(f"{name}: fed less passed {worst:+.2f} s at worst, speech {one.speech:.2f} s, own lag {one.lag:.2f} s")
    for name, one in fed.items():
        assert len(one.differs) > 10
        assert max(map(abs, one.differs)) <= WITHIN + one.lag, name
        assert 2.95 <= one.speech <= LONGEST + one.lag + 0.05, name
        loud = np.count_nonzero(np.abs(np.frombuffer(one.audio, "<i2").astype(np.int32)) > 100)
        assert loud == pytest.approx(3.0 * RATE, rel=0.03), f"{name}: each word once"


async def test_who_suppresses_silence_is_answered_hardly_later(pbx_prefix: Prefix, tmp_path: Path) -> None:
    manners = {"even": EVEN, "no packets in silence": SUPPRESSING, "comfort noise in silence": COMFORTING}

    def speak(call: Call) -> Awaitable[object]:
        return call.play(silence(2.0) + 5 * (voice(1.2) + silence(3.0)))

    async with a_host(pbx_prefix, tmp_path, dialplan=DIALPLAN) as host, host.daemon() as daemon:
        fed = await calls(host, daemon, manners, speak)
    delays = {name: [turn.delay for turn in turns(one.said, one.heard) if turn.delay] for name, one in fed.items()}
    middle = {name: median(each) for name, each in delays.items()}
    for name in manners:
        each = ", ".join(f"{1000 * delay:.0f}" for delay in delays[name])
        later = 1000 * (middle[name] - middle["even"])
        print(f"{name}: answered after {1000 * middle[name]:.0f} ms ({each}), {later:+.0f} ms")
    assert min(map(len, delays.values())) >= 4
    for name in manners:
        assert middle[name] <= middle["even"] + LATER + SLACK, name


def sentences(prefix: Prefix, seconds: float) -> list[Prompt]:
    """Recorded sentences of several words, of so many seconds all in all."""
    chosen, length = [], 0.0
    for prompt in human_prompts(prefix):
        lasts = len(prompt.pcm()) / 2 / RATE
        if 2.0 < lasts < 5.0 and len(prompt.text.split()) > 5 and length < seconds:
            chosen.append(prompt)
            length += lasts
    return chosen


async def transcripts(audio: bytes) -> list[str]:
    """The words of all that is said in a recording, in order."""
    spans, parts = speech_spans(audio, join_seconds=0.8), []
    for span in spans:
        first, last = round((span.start - 0.3) * RATE) * 2, round((span.end + 0.3) * RATE) * 2
        parts += words(await transcribe(audio[max(first, 0) : last]))
    return parts


def lost(before: Sequence[str], after: Sequence[str]) -> int:
    """How many words of the one are not in the other, in their order."""
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return len(before) - sum(block.size for block in blocks)


@pytest.mark.engines
async def test_a_minute_of_sentences_keeps_its_words(pbx_prefix: Prefix, tmp_path: Path) -> None:
    """Through the real recogniser: as many words are understood of what was held up as of what was not."""
    manners = {name: MANNERS[name] for name in ("even", "late by 150 ms", "late by 250 ms", "late by 400 ms")}
    spoken = sentences(pbx_prefix, 45.0)
    told = words(" ".join(prompt.text for prompt in spoken))
    pcm = silence(2.0) + b"".join(prompt.pcm() + silence(1.2) for prompt in spoken)

    async with a_host(pbx_prefix, tmp_path, dialplan=DIALPLAN) as host, host.daemon() as daemon:
        host.house.deepgram.script = (Turn(seconds=0.2),)
        fed = await calls(host, daemon, manners, lambda call: call.play(pcm))
    understood = {name: await transcripts(one.audio) for name, one in fed.items()}
    missed = {name: lost(told, each) for name, each in understood.items()}
    print(f"{len(pcm) / 2 / RATE:.0f} s, {len(told)} words; not understood: {missed}")
    worst: dict[str, float] = {name: max(one.differs, key=abs) for name, one in fed.items()}
    print("fed less passed, s:", {name: round(differs, 2) for name, differs in worst.items()})
    print("lengths:", {name: round(one.speech, 1) for name, one in fed.items()})
    assert len(pcm) / 2 / RATE > 55
    assert missed["even"] < 0.25 * len(told), "else nothing is compared"
    for name in manners:
        assert missed[name] <= missed["even"] + 0.05 * len(told), name


def test_words_are_missed_in_their_order() -> None:
    assert [lost(["a", "b", "c"], each) for each in (["a", "b", "c"], ["a", "c"], [], ["x", *"abc"])] == [0, 1, 3, 0]
