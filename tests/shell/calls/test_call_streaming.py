"""ONE call that streams: what the caller hears, frame by frame, when they interrupt, when their line echoes, and when
streaming fails."""

import numpy as np
import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.agent import Audio
from agentd.ari.events import Channel, DtmfReceived
from agentd.audio.level import gain, ramp, rms_dbfs
from agentd.conversation.commands import Phrase, Result
from agentd.playback.contract import Announcement
from agentd.playback.stream import ATTENUATED
from agentd.testing._ari_server import Answer
from agentd.testing._lines import audio_frame, dtmf_frame
from agentd.testing.sound import RATE, voice
from agentd.transports import transport_names
from tests.shell.call_scene import GREETING, Mode, Scene, frame_numbers, make_scene, running

FRAME = 320
TWO_FRAMES = 0.04
WORDS = ("One two three four.", "Five six seven eight.")


def frames_of(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + FRAME] for at in range(0, len(pcm), FRAME)]


def level(frame: bytes) -> float:
    return rms_dbfs(frame)


FULL = level(voice(1.0))


def silent(frames: list[bytes]) -> bool:
    return not any(map(any, frames))


@pytest.fixture
def scene() -> Scene:
    return make_scene(Mode.STREAM)


async def test_what_the_agent_says_is_what_the_caller_hears(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        since = trio.current_time()
        spoken = await scene.speaking(*WORDS)
        await trio.sleep(2.5)
        assert b"".join(frame for frame in scene.line.since(since) if any(frame)) == spoken
        assert scene.session.reports[-1] == (2, 2000, True)
        scene.hang_up()


async def test_no_file_is_played_in_the_steady_state(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        await scene.speaking(*WORDS)
        await trio.sleep(2.5)
        scene.session.emit(tells.Ended())
    assert scene.left_with == "completed"
    assert not scene.file.log
    assert not scene.asterisk.asked("POST /channels/*/play/*")


# --- barge-in


async def test_an_interruption_goes_by_degrees_and_each_is_heard_within_two_frames(
    scene: Scene, autojump_clock: MockClock
) -> None:
    async with running(scene):
        await scene.greeted()
        await scene.speaking(*WORDS)
        await trio.sleep(0.513)

        onset = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(onset))
        await trio.sleep(0.2)
        confirmed = trio.current_time()
        scene.session.emit(tells.CallerSpeechConfirmed(onset))
        await trio.sleep(0.2)
        quieter = [level(frame) for at, frame in scene.line.frames if onset + TWO_FRAMES <= at < confirmed]
        assert quieter == pytest.approx([FULL - 12.0] * len(quieter), abs=1.0)
        assert len(quieter) > 5
        assert silent(scene.line.since(confirmed + TWO_FRAMES))
        assert scene.session.interruptions == 0, "nothing is lost yet"

        scene.session.emit(tells.CallerTakesTurn(onset))
        await trio.sleep(1.0)
        assert silent(scene.line.since(confirmed + TWO_FRAMES))
        assert scene.session.interruptions == 1
        scene.hang_up()


async def test_a_caller_who_takes_the_turn_silences_the_agent_within_two_frames(
    scene: Scene, autojump_clock: MockClock
) -> None:
    async with running(scene):
        await scene.greeted()
        await scene.speaking(*WORDS)
        await trio.sleep(0.513)
        onset = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(onset), tells.CallerTakesTurn(onset))
        await trio.sleep(0.5)
        assert any(map(any, scene.line.since(onset - 0.1)))
        assert silent(scene.line.since(onset + TWO_FRAMES))
        scene.hang_up()


async def test_after_an_interruption_the_history_holds_what_was_heard(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        since = trio.current_time()
        spoken = frames_of(await scene.speaking(*WORDS))
        await trio.sleep(1.5)
        scene.session.emit(tells.CallerSpeechStarted(9.0), tells.CallerTakesTurn(9.0))
        await trio.sleep(0.5)
        utterance, milliseconds, completed = scene.session.reports[-1]
        known = frame_numbers(spoken)
        heard = [frame for frame in scene.line.since(since) if frame in known]
        assert (utterance, completed) == (2, False)
        assert milliseconds == pytest.approx(20 * len(heard), abs=20)
        assert scene.agent_turns == [GREETING, "One two three four. Five six"]
        assert scene.call.history.turns[-1].generated == " ".join(WORDS)
        scene.hang_up()


async def test_an_answer_of_which_nothing_was_heard_leaves_no_trace(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        scene.session.emit(tells.CallerSpeechStarted(2.0), tells.CallerSpeechEnded(3.0, 2.7))
        await trio.sleep(0.1)
        scene.session.emit(tells.CallerSpeechStarted(3.1), tells.CallerTakesTurn(3.2))
        await scene.session.utter("An answer to half a question")
        await trio.sleep(2.0)
        assert scene.agent_turns == [GREETING]
        scene.hang_up()


@pytest.mark.parametrize("confirmed", [False, True], ids=["a click", "a cough"])
async def test_after_a_sound_that_was_nothing_no_word_is_lost(
    scene: Scene, confirmed: bool, autojump_clock: MockClock
) -> None:
    async with running(scene):
        await scene.greeted()
        since = trio.current_time()
        spoken = frames_of(await scene.speaking(*WORDS))
        await trio.sleep(0.7)
        onset = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(onset))
        await trio.sleep(0.1)
        if confirmed:
            scene.session.emit(tells.CallerSpeechConfirmed(onset))
            await trio.sleep(0.3)
        dismissed = trio.current_time()
        scene.session.emit(tells.CallerSpeechDismissed("a cough"))
        await trio.sleep(2.5)
        frames = scene.line.since(since)
        known = frame_numbers(spoken)
        numbers = [known[frame] for frame in frames if frame in known]
        assert numbers == list(range(len(spoken))), "all of it at an even level, in order, nothing twice"
        first_again = min(at for at, frame in scene.line.frames if at >= dismissed and level(frame) > FULL - 1)
        assert first_again - dismissed <= TWO_FRAMES + 0.02, "faded in over one frame"
        assert scene.session.reports[-1] == (2, 2000, True)
        assert scene.agent_turns[-1] == " ".join(WORDS)
        assert scene.sample("false_interruptions_total") == confirmed
        scene.hang_up()


async def test_a_change_of_level_does_not_click(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        spoken = frames_of(await scene.speaking(*WORDS))
        await trio.sleep(0.5)
        onset = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(onset))
        await trio.sleep(0.1)
        changing = scene.line.since(onset)[0]
        assert any(changing == ramp(frame, 1.0, ATTENUATED) for frame in spoken)
        assert pytest.approx(gain(-12.0)) == ATTENUATED
        scene.hang_up()


async def test_how_soon_the_agent_fell_silent_is_measured(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        await scene.speaking(*WORDS)
        onset = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(onset))
        await trio.sleep(0.2)
        scene.session.emit(tells.CallerSpeechConfirmed(onset))
        await trio.sleep(0.3)
        scene.session.emit(tells.CallerTakesTurn(onset))
        await trio.sleep(0.1)
        assert scene.sample("barge_in_seconds_count") == 1
        assert scene.sample("barge_in_seconds_sum") == pytest.approx(0.2, abs=0.01)
        scene.hang_up()


async def test_in_file_mode_a_caller_s_sound_pauses_and_its_words_stop(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.FILE)
    scene.file.seconds = 2.0
    async with running(scene):
        await scene.greeted()
        await scene.speaking(*WORDS)
        await trio.sleep(0.5)
        scene.session.emit(tells.CallerSpeechStarted(4.0), tells.CallerSpeechConfirmed(4.2))
        await trio.sleep(1.0)
        scene.session.emit(tells.CallerSpeechDismissed("a cough"))
        await trio.sleep(0.5)
        scene.session.emit(tells.CallerSpeechStarted(6.0), tells.CallerTakesTurn(6.5))
        await trio.sleep(0.5)
        assert [entry for entry in scene.file.log if not entry.startswith("play")] == ["pause", "restore", "stop"]
        assert scene.session.reports[-1] == (2, pytest.approx(1000, abs=20), False)
        assert scene.agent_turns[-1] == "One two three four."
        scene.hang_up()


async def test_what_must_be_heard_is_heard_to_its_end(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.STREAM, uninterruptible=("This call is recorded.",))
    async with running(scene):
        await scene.greeted()
        since = trio.current_time()
        spoken = await scene.speaking("This call is recorded.", seconds=1.0)
        scene.session.emit(tells.CallerSpeechStarted(2.0), tells.CallerSpeechConfirmed(2.2), tells.CallerTakesTurn(2.4))
        scene.session.emit(tells.CallerSpeechEnded(3.0, 2.7))
        await trio.sleep(1.5)
        assert b"".join(frame for frame in scene.line.since(since) if any(frame)) == spoken
        assert (scene.session.interruptions, scene.session.told) == (0, ["answer"]), "and the question is answered"
        scene.hang_up()


async def test_a_digit_interrupts(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        await scene.speaking(*WORDS)
        pressed = trio.current_time()
        scene.line.say(dtmf_frame("5"))
        scene.event(DtmfReceived(Channel("1700000000.1"), "5"))
        await trio.sleep(0.5)
        assert silent(scene.line.since(pressed + TWO_FRAMES))
        assert scene.session.digits == ["5"]
        scene.hang_up()


# --- echo


async def echoing(scene: Scene, seconds: float, callers_own: bytes = b"") -> list[bytes]:
    """The line gives back what it carries, 100 ms late and 12 dB softer; gives what the session was fed meanwhile."""
    before, own = len(scene.session.fed), frames_of(callers_own)
    written = len(scene.line.frames)
    for number in range(round(seconds / 0.02)):
        await scene.until(lambda: len(scene.line.frames) > written + number)  # noqa: B023 - awaited before the next
        echo = ramp(scene.line.frames[written + number - 5][1], 0.25, 0.25)
        if number < len(own):
            samples = np.frombuffer(echo, "<i2") + np.frombuffer(own[number], "<i2")
            echo = samples.astype("<i2").tobytes()
        scene.line.say(audio_frame(echo))
    return scene.session.fed[before:]


async def test_the_agent_s_own_words_that_come_back_are_not_fed_to_it(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        await trio.sleep(1.0)
        await scene.speaking(*WORDS)
        fed = await echoing(scene, 2.5)
        assert silent(fed)
        assert len(fed) == pytest.approx(125, abs=2), "but the session keeps its time by the audio"
        assert scene.sample("echoes_suppressed_seconds_total") == pytest.approx(2.0, abs=0.1)
        scene.hang_up()


async def test_a_caller_who_speaks_over_the_echo_is_heard(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        await trio.sleep(1.0)
        await scene.speaking(*WORDS)
        await echoing(scene, 0.5)
        fed = await echoing(scene, 1.0, callers_own=voice(1.0, seed=77))
        assert any(map(any, fed[:6])), "within 120 ms"
        assert all(map(any, fed[10:]))
        scene.hang_up()


async def test_a_caller_is_heard_as_they_are_while_the_agent_is_silent(scene: Scene, autojump_clock: MockClock) -> None:
    spoken = voice(0.5, seed=5)
    async with running(scene):
        await scene.greeted()
        await trio.sleep(1.0)
        scene.line.say(*map(audio_frame, frames_of(spoken)))
        await trio.sleep(0.1)
        assert b"".join(scene.fed) == spoken
        scene.hang_up()


# --- when streaming fails


@pytest.mark.parametrize("way", transport_names())
async def test_an_utterance_goes_on_over_a_fresh_leg(way: str, autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.STREAM, media=way)
    async with running(scene):
        await scene.greeted()
        since = trio.current_time()
        spoken = frames_of(await scene.speaking(*WORDS))
        await trio.sleep(0.5)
        scene.line.cut()
        await trio.sleep(3.0)
        heard = [frame for line in scene.lines.all for frame in line.since(since) if any(frame)]
        numbers = list(map(frame_numbers(spoken).get, heard))
        assert numbers == pytest.approx(range(len(spoken)), abs=1), "but for the frame that met the broken line"
        assert scene.agent_turns[-1] == " ".join(WORDS)
        assert not scene.file.log
        scene.hang_up()


async def test_streaming_that_cannot_be_had_again_leaves_the_rest_of_the_utterance_to_files(
    autojump_clock: MockClock,
) -> None:
    scene = make_scene(Mode.STREAM, reattach_tries=0)
    with structlog.testing.capture_logs() as logs:
        async with running(scene):
            await scene.greeted()
            await scene.speaking(*WORDS)
            await trio.sleep(1.5)
            scene.line.cut()
            await trio.sleep(3.0)
            assert scene.file.log[0] == "play seven eight."
            assert scene.agent_turns[-1] == " ".join(WORDS)
            assert scene.session.begun == [1, 2], "it began once"

            scene.line.say(audio_frame(voice(0.02)))
            await trio.sleep(0.1)
            assert scene.session.fed[-1] == voice(0.02), "the agent goes on hearing the caller"
            await scene.speaking("Goodbye")
            assert scene.file.log[-1] == "play Goodbye"
            scene.hang_up()
    assert [log["kind"] for log in logs if log["event"] == "media leg bound"] == ["streaming", "listening"]
    assert [log["event"] for log in logs].count("streaming failed: the call goes on with file playback") == 1
    assert scene.sample("stream_fallbacks_total") == 1


async def test_an_answer_that_waits_for_a_lost_line_is_heard_from_a_file(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.STREAM, reattach_tries=1)
    async with running(scene):
        await scene.greeted()
        scene.asterisk.rule("POST /channels/externalMedia", Answer.refusal(500, "no"), times=1)
        scene.line.cut()
        await trio.sleep(0.1)
        await scene.session.utter("The answer")
        await trio.sleep(3.0)
        assert scene.file.log == ["play The answer"]
        assert scene.session.begun == [1, 2]
        assert scene.agent_turns[-1] == "The answer"
        scene.hang_up()


async def test_what_must_be_heard_is_protected_also_when_its_rest_comes_from_a_file(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.STREAM, uninterruptible=("This call is recorded for training.",), reattach_tries=0)
    async with running(scene):
        await scene.greeted()
        await scene.speaking("This call is recorded for training.", seconds=2.0)
        await trio.sleep(1.0)
        scene.line.cut()
        await trio.sleep(0.3)
        scene.session.emit(tells.CallerSpeechStarted(4.0), tells.CallerSpeechConfirmed(4.2), tells.CallerTakesTurn(4.4))
        await trio.sleep(2.0)
        assert scene.file.log == ["play for training."]
        assert scene.agent_turns[-1] == "This call is recorded for training."
        scene.hang_up()


async def test_a_first_streaming_leg_that_cannot_be_had_makes_a_call_with_files(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.STREAM)
    scene.asterisk.rule("POST /channels/externalMedia", Answer.refusal(500, "no"), times=1)
    async with running(scene):
        await scene.greeted()
        assert scene.file.log == [f"play {GREETING}"]
        scene.hang_up()
    assert scene.sample("stream_fallbacks_total") == 1


async def test_after_falling_back_a_lost_leg_is_replaced_as_in_file_mode_until_the_tries_are_over(
    autojump_clock: MockClock,
) -> None:
    scene = make_scene(Mode.STREAM, reattach_tries=1)
    async with running(scene):
        await scene.greeted()
        scene.asterisk.rule("POST /channels/externalMedia", Answer.refusal(500, "no"), times=1)
        scene.line.cut()
        await scene.until(lambda: len(scene.lines.all) == 2)
        await trio.sleep(6.0)
        scene.line.cut()
        await scene.until(lambda: len(scene.lines.all) == 3)
        scene.asterisk.rule("POST /channels/externalMedia", Answer.refusal(500, "no"))
        scene.line.cut()
    assert (scene.result, scene.left_with) == (Result.FAILED_MEDIA, "failed:media")
    assert scene.announced == ["sound:sorry"]
    assert scene.sample("stream_fallbacks_total") == 1


async def test_the_line_carries_silence_while_there_is_no_streaming_leg(
    scene: Scene, autojump_clock: MockClock
) -> None:
    async with running(scene):
        await scene.greeted()
        scene.asterisk.requests.clear()
        scene.line.cut()
        await scene.until(lambda: len(scene.lines.all) == 2)
        silence = scene.asterisk.asked("* /channels/1700000000.1/silence")
        assert silence[:2] == [
            "POST /channels/1700000000.1/silence",
            "DELETE /channels/1700000000.1/silence",
        ]
        scene.hang_up()


# --- announcements


async def test_an_announcement_of_one_s_own_voice_is_streamed(autojump_clock: MockClock) -> None:
    sorry = voice(0.5, seed=99)
    announcement = Announcement(audio=(Audio(0, 0, sorry, RATE),))
    scene = make_scene(Mode.STREAM, announcements={Result.FAILED_AGENT: announcement})
    async with running(scene):
        await scene.greeted()
        since = trio.current_time()
        scene.agent.break_down("the model is gone")
    assert b"".join(frame for frame in scene.line.since(since) if any(frame)) == sorry
    assert scene.left_with == "failed:agent"
    assert not scene.file.log


async def test_an_announcement_is_heard_also_when_its_line_falls_back_under_it(autojump_clock: MockClock) -> None:
    announcement = Announcement(audio=(Audio(0, 0, voice(0.5), RATE),))
    scene = make_scene(Mode.STREAM, announcements={Result.FAILED_AGENT: announcement}, reattach_tries=0)
    async with running(scene):
        await scene.greeted()
        since = trio.current_time()
        scene.agent.break_down("the model is gone")
        await trio.sleep(0.1)
        scene.line.cut()
    assert scene.left_with == "failed:agent"
    assert scene.announced == ["1"]
    assert trio.current_time() - since < 5.0


async def test_greetings_and_fillers_are_no_answers(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.STREAM, phrases={Phrase.GREETING: GREETING})
    async with running(scene):
        await scene.greeted()
        scene.hang_up()
    assert scene.sample("response_seconds_count") == 0
