"""A whole call over every kind of line: AudioSocket, RTP, chan_websocket, and two transports that the tests bring, of
which neither a call nor its playback nor ARI knows. What a caller can tell must not differ, and the history is what the
ear heard.

A line that clocks itself knows to a frame what was heard: at most one frame is heard twice wherever something was taken
back, and none is ever lost.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import attrs
import pytest
import structlog
import trio
import trio.lowlevel
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.agent import Audio
from agentd.ari.events import Channel, DtmfReceived
from agentd.audio.level import ramp, rms_dbfs
from agentd.config.settings import Config
from agentd.conversation.commands import Result
from agentd.media.leg import LONGEST_LEAD
from agentd.media.transport import Transport
from agentd.metrics import Metrics
from agentd.playback.contract import Announcement
from agentd.testing._ari_server import Answer
from agentd.testing._call import CALLER
from agentd.testing._lines import Line, Lines, audio_frame, dtmf_frame
from agentd.testing.sound import RATE, voice
from agentd.transports import TRANSPORTS, Daemon, open_transports, transport_names
from tests.shell.call_scene import GREETING, Scene, frame_numbers, make_scene, running
from tests.shell.front_desk import open_for_callers
from tests.shell.media.chan_websocket_lines import MediaLine, MediaLines
from tests.shell.media.memory_lines import ClockedLine, MemoryTransport, SelfClockedLine
from tests.shell.media.rtp_lines import RtpLines
from tests.shell.steps import Act, play

FRAME = 320
FRAME_SECONDS = 0.02
TWO_FRAMES = 0.04
WORDS = ("One two three four.", "Five six seven eight.")
FULL = rms_dbfs(voice(1.0))


class Ear(Protocol):
    """The caller's end of a leg."""

    @property
    def frames(self) -> list[tuple[float, bytes]]: ...

    def cut(self) -> None: ...

    @property
    def released(self) -> bool: ...


@attrs.define(eq=False)
class Phone:
    """A call over one kind of line, and the caller's end of it."""

    scene: Scene
    legs: Callable[[], Sequence[Any]]
    press: Callable[[str], None]
    speak: Callable[[bytes], None]
    brings_keys: bool = True
    """Keys come with the audio; else by ARI alone."""

    @property
    def leg(self) -> Any:
        return self.legs()[-1]

    def heard(self, since: float = 0.0) -> list[bytes]:
        """What the caller heard from then on, leg after leg; silence that was sent counts, none that was not."""
        return [pcm for leg in self.legs() for at, pcm in leg.frames if at >= since]

    @property
    def clocks_itself(self) -> bool:
        return isinstance(self.leg, SelfClockedLine | MediaLine)

    @property
    def taken_back(self) -> int:
        """How often a line was flushed, or went with what was ahead."""
        if not self.clocks_itself:
            return 0
        return sum(leg.flushes for leg in self.legs()) + len(self.legs()) - 1


def over_audiosocket(**settings: Any) -> Phone:
    scene = make_scene(**settings)

    def line() -> Line:
        return scene.line

    return Phone(
        scene,
        lambda: scene.lines.all,
        press=lambda digit: line().say(dtmf_frame(digit)),
        speak=lambda pcm: line().say(audio_frame(pcm)),
    )


def over(
    media: RtpLines | MediaLines, press: Callable[[Scene, str], None], brings_keys: bool, **settings: Any
) -> Phone:
    """Over a transport whose legs ARI is asked for, and whose lines `media` has."""

    def transport(_lines: Lines) -> Transport:
        return media.transport()

    scene = make_scene(transport=transport, **settings)
    scene.asterisk.on_media = media.asked(scene.asterisk.media_variables)
    return Phone(
        scene, lambda: media.all, partial(press, scene), lambda pcm: media.all[-1].speak(pcm), brings_keys=brings_keys
    )


def over_rtp(**settings: Any) -> Phone:
    return over(
        RtpLines(),
        lambda scene, digit: scene.event(DtmfReceived(Channel(CALLER), digit)),
        brings_keys=False,
        **settings,
    )


def over_chan_websocket(**settings: Any) -> Phone:
    media = MediaLines()
    return over(media, lambda _scene, digit: media.all[-1].press(digit), brings_keys=True, **settings)


def over_memory(kind: type[ClockedLine] | type[SelfClockedLine], **settings: Any) -> Phone:
    transport = MemoryTransport("memory", kind)

    def lines(_lines: Lines) -> Transport:
        return transport

    scene = make_scene(transport=lines, **settings)
    scene.asterisk.on_media = lambda uuid, request: transport.connect(UUID(uuid))
    return Phone(
        scene,
        lambda: transport.all,
        press=lambda digit: transport.all[-1].press(digit),
        speak=lambda pcm: transport.all[-1].speak(pcm),
    )


KINDS: dict[str, Callable[..., Phone]] = {
    "AudioSocket": over_audiosocket,
    "RTP": over_rtp,
    "chan_websocket": over_chan_websocket,
    "clocked by agentd": lambda **settings: over_memory(ClockedLine, **settings),
    "clocks itself": lambda **settings: over_memory(SelfClockedLine, **settings),
}
CLOCKS_ITSELF = ("clocks itself", "chan_websocket")
Make = Callable[..., Phone]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Make:
    return KINDS[request.param]


@asynccontextmanager
async def greeted(phone: Phone) -> AsyncIterator[Scene]:
    """A call whose caller has heard the greeting."""
    async with running(phone.scene):
        await phone.scene.greeted()
        yield phone.scene


def frames_of(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + FRAME] for at in range(0, len(pcm), FRAME)]


def numbers(phone: Phone, spoken: list[bytes], since: float) -> list[int]:
    """Which frames of what was spoken the caller heard, in the order in which they were."""
    known = frame_numbers(spoken)
    return [known[frame] for frame in phone.heard(since) if frame in known]


def silent(frames: Sequence[bytes]) -> bool:
    return not any(map(any, frames))


def assert_all_was_heard(phone: Phone, spoken: list[bytes], since: float, *, lost: int = 0) -> None:
    """In order, nothing lost; and nothing twice but one frame wherever something was taken back."""
    heard = numbers(phone, spoken, since)
    assert heard == sorted(heard)
    assert len(spoken) - len(set(heard)) <= lost
    assert len(heard) - len(set(heard)) <= phone.taken_back


# --- what is said is heard


async def test_what_the_agent_says_is_what_the_caller_hears(make: Make, autojump_clock: MockClock) -> None:
    phone = make()
    async with greeted(phone) as scene:
        since = trio.current_time()
        spoken = await scene.speaking(*WORDS)
        await trio.sleep(2.5)
        assert b"".join(frame for frame in phone.heard(since) if any(frame)) == spoken
        assert scene.session.reports[-1] == (2, 2000, True)
        assert scene.agent_turns == [GREETING, " ".join(WORDS)]
        scene.hang_up()


async def test_an_answer_is_heard_soon_after_it_was_there_and_told_when_it_is(
    make: Make, autojump_clock: MockClock
) -> None:
    phone = make()
    async with greeted(phone) as scene:
        await trio.sleep(1.003)
        asked = trio.current_time()
        spoken = frames_of(await scene.session.utter("One two three."))
        await scene.until(lambda: 2 in scene.session.begun)
        told = trio.current_time()
        await trio.sleep(0.1)
        first = next(at for leg in phone.legs() for at, pcm in leg.frames if pcm == spoken[0])
        assert first - asked <= TWO_FRAMES + 0.01, "silence that was ahead of it is not waited for"
        assert -0.001 <= told - first <= FRAME_SECONDS + 0.01
        scene.hang_up()


async def test_an_utterance_is_over_when_its_last_frame_was_heard(make: Make, autojump_clock: MockClock) -> None:
    phone = make()
    async with greeted(phone) as scene:
        spoken = frames_of(await scene.speaking(*WORDS, seconds=1.0))
        await scene.until(lambda: len(scene.session.reports) == 2)
        over = trio.current_time()
        await trio.sleep(0.1)
        last = next(at for leg in phone.legs() for at, pcm in leg.frames if pcm == spoken[-1])
        assert -0.001 <= over - last <= FRAME_SECONDS + 0.01
        scene.hang_up()


async def test_the_caller_s_voice_and_digits_reach_the_agent(make: Make, autojump_clock: MockClock) -> None:
    phone = make()
    async with greeted(phone) as scene:
        phone.speak(voice(0.02, seed=3))
        phone.press("5")
        if phone.brings_keys:
            scene.event(DtmfReceived(Channel(CALLER), "5"))
        await trio.sleep(0.1)
        assert scene.fed == [voice(0.02, seed=3)]
        assert scene.session.digits == ["5"], "it came twice, and counts once"
        scene.hang_up()


# --- barge-in


async def test_an_interruption_goes_by_degrees_and_each_is_heard_within_two_frames(
    make: Make, autojump_clock: MockClock
) -> None:
    phone = make()
    async with greeted(phone) as scene:
        since = trio.current_time()
        spoken = frames_of(await scene.speaking(*WORDS, seconds=4.0))
        await trio.sleep(0.513)
        onset = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(onset))
        await trio.sleep(0.2)
        confirmed = trio.current_time()
        scene.session.emit(tells.CallerSpeechConfirmed(onset))
        await trio.sleep(0.2)
        levels = [rms_dbfs(pcm) for at, pcm in phone.leg.frames if onset + TWO_FRAMES <= at < confirmed]
        assert levels == pytest.approx([FULL - 12.0] * len(levels), abs=1.0)
        assert len(levels) >= 7
        assert silent(phone.heard(confirmed + TWO_FRAMES))
        scene.session.emit(tells.CallerTakesTurn(onset))
        await trio.sleep(0.5)
        assert silent(phone.heard(confirmed + TWO_FRAMES))
        utterance, milliseconds, completed = scene.session.reports[-1]
        heard = set(numbers(phone, spoken, since))
        assert (utterance, completed) == (2, False)
        assert milliseconds == pytest.approx(20 * len(heard), abs=20), "to the frame"
        scene.hang_up()


@pytest.mark.parametrize("after", [0.5, 0.507, 0.511, 0.514, 0.519, 1.5])
async def test_who_takes_the_turn_silences_the_agent_within_two_frames_and_the_history_is_what_was_heard(
    make: Make, after: float, autojump_clock: MockClock
) -> None:
    phone = make()
    async with greeted(phone) as scene:
        since = trio.current_time()
        spoken = frames_of(await scene.speaking(*WORDS))
        await trio.sleep(after)
        onset = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(onset), tells.CallerTakesTurn(onset))
        await trio.sleep(0.5)
        assert silent(phone.heard(onset + TWO_FRAMES))
        _, milliseconds, completed = scene.session.reports[-1]
        heard = numbers(phone, spoken, since)
        assert (milliseconds, completed) == (pytest.approx(20 * (max(heard) + 1), abs=20), False)
        words = " ".join(WORDS).split()
        count = len(scene.agent_turns[-1].split())
        assert scene.agent_turns[-1] == " ".join(words[:count])
        assert abs(count - milliseconds / 250) <= 1
        scene.hang_up()


@pytest.mark.parametrize("confirmed", [False, True], ids=["a click", "a cough"])
@pytest.mark.parametrize("after", [0.7, 0.709, 0.713])
async def test_after_a_sound_that_was_nothing_no_word_is_lost(
    make: Make, confirmed: bool, after: float, autojump_clock: MockClock
) -> None:
    phone = make()
    async with greeted(phone) as scene:
        since = trio.current_time()
        spoken = frames_of(await scene.speaking(*WORDS))
        await trio.sleep(after)
        onset = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(onset))
        await trio.sleep(0.1)
        if confirmed:
            scene.session.emit(tells.CallerSpeechConfirmed(onset))
            await trio.sleep(0.3)
        scene.session.emit(tells.CallerSpeechDismissed("a cough"))
        dismissed = trio.current_time()
        await trio.sleep(2.5)
        assert_all_was_heard(phone, spoken, since)
        again = min(at for at, pcm in phone.leg.frames if at >= dismissed and rms_dbfs(pcm) > FULL - 1)
        assert again - dismissed <= TWO_FRAMES + FRAME_SECONDS, "faded in over one frame"
        assert scene.session.reports[-1] == (2, 2000, True)
        assert scene.agent_turns[-1] == " ".join(WORDS)
        scene.hang_up()


async def test_a_digit_interrupts(make: Make, autojump_clock: MockClock) -> None:
    phone = make()
    async with greeted(phone) as scene:
        await scene.speaking(*WORDS)
        pressed = trio.current_time()
        phone.press("5")
        await trio.sleep(0.5)
        assert silent(phone.heard(pressed + TWO_FRAMES))
        scene.hang_up()


@pytest.mark.parametrize("after", [0.0, 0.002, 0.006, 0.012, 0.018, 0.03])
async def test_an_answer_that_the_caller_went_on_over_is_in_the_history_just_if_any_of_it_was_heard(
    make: Make, after: float, autojump_clock: MockClock
) -> None:
    phone = make()
    async with greeted(phone) as scene:
        scene.session.emit(tells.CallerSpeechStarted(2.0), tells.CallerSpeechEnded(3.0, 2.7))
        await trio.sleep(0.1)
        since = trio.current_time()
        spoken = frames_of(await scene.session.utter("An answer to half a question"))
        await trio.sleep(after)
        scene.session.emit(tells.CallerSpeechStarted(3.1), tells.CallerTakesTurn(3.2))
        await trio.sleep(2.0)
        heard = numbers(phone, spoken, since)
        told = sum(milliseconds for utterance, milliseconds, _ in scene.session.reports if utterance == 2)
        assert told == pytest.approx(20 * len(set(heard)), abs=20)
        assert (2 in scene.session.begun) is (told > 0)
        assert silent(phone.heard(since + after + TWO_FRAMES))
        assert scene.agent_turns == [GREETING], "no word of it"
        scene.hang_up()


async def test_the_agent_s_own_words_that_come_back_are_not_fed_to_it(make: Make, autojump_clock: MockClock) -> None:
    phone = make()
    async with greeted(phone) as scene:
        await trio.sleep(1.0)
        await scene.speaking(*WORDS)
        fed, heard = len(scene.session.fed), len(phone.leg.frames)
        for number in range(100):
            await scene.until(lambda: len(phone.leg.frames) > heard + number)  # noqa: B023 - awaited before the next
            phone.speak(ramp(phone.leg.frames[heard + number - 5][1], 0.25, 0.25))
        assert silent(scene.session.fed[fed:])
        assert scene.sample("echoes_suppressed_seconds_total") == pytest.approx(1.9, abs=0.15)
        scene.hang_up()


# --- when the leg is lost


@pytest.mark.parametrize("after", [0.5, 0.508, 0.515])
async def test_an_utterance_goes_on_over_a_fresh_leg(make: Make, after: float, autojump_clock: MockClock) -> None:
    phone = make()
    async with greeted(phone) as scene:
        since = trio.current_time()
        spoken = frames_of(await scene.speaking(*WORDS))
        await trio.sleep(after)
        phone.leg.cut()
        await trio.sleep(3.0)
        assert len(phone.legs()) == 2
        assert_all_was_heard(phone, spoken, since, lost=1)  # the frame that met the broken line
        assert scene.session.reports[-1] == (2, 2000, True)
        assert scene.agent_turns[-1] == " ".join(WORDS)
        assert not scene.file.log
        scene.hang_up()


async def test_streaming_that_cannot_be_had_again_leaves_the_rest_of_the_utterance_to_files(
    make: Make, autojump_clock: MockClock
) -> None:
    phone = make(reattach_tries=0)
    async with greeted(phone) as scene:
        await scene.speaking(*WORDS)
        await trio.sleep(1.5)
        phone.leg.cut()
        await trio.sleep(3.0)
        assert scene.file.log == ["play seven eight."]
        assert scene.agent_turns[-1] == " ".join(WORDS)
        assert scene.session.begun == [1, 2], "it began once"
        phone.speak(voice(0.02))
        await trio.sleep(0.1)
        assert scene.session.fed[-1] == voice(0.02), "the agent goes on hearing the caller"
        scene.hang_up()


async def test_an_interruption_while_the_leg_is_lost_leaves_what_was_heard(
    make: Make, autojump_clock: MockClock
) -> None:
    phone = make()
    async with greeted(phone) as scene:
        since = trio.current_time()
        spoken = frames_of(await scene.speaking(*WORDS))
        await trio.sleep(0.9)
        phone.leg.cut()
        await trio.sleep(0.1)
        scene.session.emit(tells.CallerSpeechStarted(9.0), tells.CallerTakesTurn(9.0))
        await trio.sleep(2.0)
        heard = numbers(phone, spoken, since)
        assert scene.session.reports[-1] == (2, pytest.approx(20 * (max(heard) + 1), abs=20), False)
        scene.hang_up()


# --- the end


@pytest.mark.parametrize("after", [0.0, 0.013, 0.5, 2.2])
async def test_a_caller_who_hangs_up_leaves_nothing(make: Make, after: float, autojump_clock: MockClock) -> None:
    phone = make()
    async with greeted(phone) as scene:
        await scene.speaking(*WORDS)
        await trio.sleep(after)
        scene.hang_up()
    assert scene.result is Result.CALLER_HUNG_UP
    assert all(leg.released for leg in phone.legs())


async def test_the_last_words_and_an_announcement_are_heard_before_the_call_leaves(
    make: Make, autojump_clock: MockClock
) -> None:
    sorry = voice(0.5, seed=99)
    phone = make(announcements={Result.FAILED_AGENT: Announcement(audio=(Audio(0, 0, sorry, RATE),))})
    async with greeted(phone) as scene:
        since = trio.current_time()
        scene.agent.break_down("the model is gone")
    heard = b"".join(frame for frame in phone.heard(since) if any(frame))
    assert heard == sorry
    assert scene.left_with == "failed:agent"


async def test_the_agent_s_goodbye_is_heard_to_its_last_frame(make: Make, autojump_clock: MockClock) -> None:
    phone = make()
    async with greeted(phone) as scene:
        since = trio.current_time()
        spoken = await scene.speaking("Goodbye", seconds=1.0)
        scene.session.emit(tells.Ended())
    assert b"".join(frame for frame in phone.heard(since) if any(frame)) == spoken
    assert scene.left_with == "completed"


async def story(scene: Scene, phone: Phone) -> None:
    """A bit of everything that takes back what is ahead: a cough, a digit, a lost leg, an interruption, last words."""
    await scene.live()
    await trio.sleep(0.3)
    scene.session.emit(tells.CallerSpeechStarted(1.0), tells.CallerSpeechConfirmed(1.2))
    await trio.sleep(0.1)
    scene.session.emit(tells.CallerSpeechDismissed("a cough"))
    await trio.sleep(0.2)
    phone.leg.cut()
    await trio.sleep(0.6)
    phone.press("1")
    await trio.sleep(0.1)
    await scene.session.utter(*WORDS)
    await trio.sleep(0.3)
    scene.session.emit(tells.CallerSpeechStarted(6.0), tells.CallerTakesTurn(6.5), tells.CallerSpeechEnded(7.0, 6.7))
    await trio.sleep(0.1)
    await scene.session.utter("Goodbye", seconds=0.3)
    scene.session.emit(tells.Ended())


SITUATIONS = range(1, 260, 5)
"""A sample of those of the story, from its first to its last."""


@pytest.mark.parametrize("way", ["hangs up", "is cancelled"])
@pytest.mark.parametrize("kind", CLOCKS_ITSELF)
async def test_nothing_is_left_of_a_line_that_clocks_itself_at_whatever_step_the_call(
    kind: str, way: str, autojump_clock: MockClock
) -> None:
    async def told(at: float, act: Act) -> tuple[Phone, int]:
        phone = KINDS[kind]()
        return phone, await play(phone.scene, lambda scene: story(scene, phone), act, at)

    whole, situations = await told(float("inf"), lambda scene, scope: None)
    assert whole.scene.left_with == "completed"
    assert whole.scene.agent_turns[-1] == "Goodbye"
    assert len(whole.legs()) == 2
    assert situations > SITUATIONS[-1]
    for at in SITUATIONS:
        phone, _ = await told(at, lambda scene, scope: scene.hang_up() if way == "hangs up" else scope.cancel())
        assert all(leg.released for leg in phone.legs())


# --- a line that clocks itself


@pytest.mark.parametrize("kind", CLOCKS_ITSELF)
async def test_a_peer_that_says_stop_is_no_dead_line(kind: str, autojump_clock: MockClock) -> None:
    phone = KINDS[kind]()
    scene = phone.scene
    with structlog.testing.capture_logs() as logs:
        async with running(scene):
            await scene.greeted()
            since = trio.current_time()
            spoken = frames_of(await scene.speaking(*WORDS))
            await trio.sleep(0.5)
            phone.leg.say_stop(True)
            beats = len(scene.line_moves)
            for _ in range(200):  # the longest that a queue takes which is full
                phone.speak(bytes(FRAME))
                await trio.sleep(FRAME_SECONDS)
            assert len(scene.line_moves) - beats == pytest.approx(200, abs=3), "the watchdog's clock goes on"
            assert all(scene.line_moves)
            waiting = len(numbers(phone, spoken, since))
            assert waiting <= 25 + LONGEST_LEAD + 2
            phone.leg.say_stop(False)
            await trio.sleep(2.0)
            assert_all_was_heard(phone, spoken, since)
            assert scene.session.reports[-1] == (2, 2000, True)
            scene.hang_up()
    assert not [log for log in logs if "lost" in log["event"] or "no audio" in log["event"]]


@pytest.mark.parametrize("kind", CLOCKS_ITSELF)
async def test_frames_are_taken_ahead_up_to_the_longest_lead(kind: str, autojump_clock: MockClock) -> None:
    phone = KINDS[kind]()
    async with greeted(phone) as scene:
        await scene.speaking(*WORDS)
        ahead = []
        for _ in range(80):
            ahead.append(phone.leg.ahead)
            await trio.sleep(0.017)
        assert max(ahead) == LONGEST_LEAD
        assert min(ahead) >= LONGEST_LEAD - 2
        scene.hang_up()


# --- by a row of the table


@pytest.mark.parametrize("kind", [ClockedLine, SelfClockedLine])
async def test_a_transport_is_a_row_and_the_dialplan_names_it(
    kind: type[ClockedLine] | type[SelfClockedLine], tmp_path: Path, autojump_clock: MockClock
) -> None:
    transport = MemoryTransport("memory", kind)
    table = (*TRANSPORTS, transport.row)
    assert transport_names(table)[-1] == "memory"
    async with open_for_callers(tmp_path) as desk, trio.open_nursery() as nursery:
        daemon = Daemon(lambda: Config(), Metrics(), lambda uuid, connection: False, nursery.start, nursery)
        async with open_transports(daemon, table[-1:]) as opened:
            desk.reception.transports = {transport.name: transport for transport in opened.transports}
            desk.asterisk.on_media = lambda uuid, request: transport.connect(UUID(uuid))
            desk.call("media=memory")
            await desk.until(lambda: desk.agent.sessions and desk.session.reports)
            (line,) = transport.all
            assert b"".join(pcm for _, pcm in line.frames if any(pcm)) == voice(1.0)
            (asked,) = [request for request in desk.asterisk.requests if str(request) == "POST /channels/externalMedia"]
            assert (asked.params["encapsulation"], asked.params["external_host"]) == ("memory", "here")
            desk.hang_up()
            await desk.over()
    assert line.released
    assert not transport.expected


async def test_a_name_that_no_row_has_is_refused_with_those_that_there_are(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        with structlog.testing.capture_logs() as logs:
            desk.call("media=memory")
            await desk.over()
        assert desk.left_with() == "refused:arguments"
    (refusal,) = [log for log in logs if "handed back" in log["event"]]
    assert refusal["detail"] == "Stasis argument media='memory' should be one of external, fork, rtp, websocket"


async def test_a_leg_whose_peer_never_comes_fails_in_the_words_of_its_transport(autojump_clock: MockClock) -> None:
    phone = KINDS["clocks itself"](reattach_tries=0)
    scene = phone.scene
    scene.asterisk.on_media = lambda uuid, request: None
    scene.asterisk.rule("POST /channels/*/snoop/*", Answer.refusal(500, "no"))
    with structlog.testing.capture_logs() as logs:
        async with running(scene):
            pass
    assert scene.result is Result.FAILED_MEDIA
    told = [log.get("reason", "") for log in logs]
    assert any("no audio leg (memory) within 5 s: nobody has to connect" in reason for reason in told)
