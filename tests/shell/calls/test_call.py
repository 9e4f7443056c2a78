"""ONE call from StasisStart to its last trace, with files and streaming: how it goes, how it ends, what it leaves."""

from functools import partial

import attrs
import pytest
import structlog
import trio
import trio.testing
from trio.testing import MockClock

from agentd import deadlines
from agentd import session_events as tells
from agentd.ari.events import Channel, DtmfReceived, Hold, PlaybackFinished, StasisEnd
from agentd.calls.inbox import INBOX
from agentd.calls.last_words import ANNOUNCEMENT_DEADLINE
from agentd.conversation import events as happens
from agentd.conversation.commands import Phrase, Result
from agentd.conversation.liveness import LivenessTimes
from agentd.errors import ProviderRejected, ProviderUnavailable
from agentd.serving.keeper import LAST_RESORT_WITHIN
from agentd.testing._ari_server import Answer, Request
from agentd.testing._call import CALLER
from agentd.testing._lines import audio_frame, dtmf_frame
from agentd.testing.sound import voice
from agentd.transports import transport_names
from tests.shell.call_scene import GREETING, HOLD_MESSAGE, Mode, Scene, make_scene, running
from tests.shell.fakes import FakeAgent, failing, stand_still
from tests.shell.steps import Act, play

MODES = list(Mode)


@pytest.fixture(params=MODES)
def scene(request: pytest.FixtureRequest) -> Scene:
    return make_scene(request.param)


# --- how a call goes


async def test_the_caller_is_greeted_once_line_and_agent_are_up(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        assert scene.said == [GREETING]
        scene.hang_up()
    assert scene.result is Result.CALLER_HUNG_UP
    assert scene.left_with is None, "there is nothing to hand back"


@pytest.mark.parametrize("first", ["line", "agent"])
async def test_the_greeting_waits_for_whichever_comes_last(scene: Scene, first: str, autojump_clock: MockClock) -> None:
    if first == "line":
        scene.agent.opening = partial(trio.sleep, 3.0)
    else:
        scene.asterisk.slow("POST /channels/externalMedia", 3.0)
    async with running(scene):
        await scene.live()
        assert trio.current_time() == pytest.approx(3.0, abs=0.1)
        scene.hang_up()


async def test_without_a_greeting_the_agent_waits_for_the_caller(autojump_clock: MockClock) -> None:
    scene = make_scene(phrases={})
    async with running(scene):
        await scene.agent.ready.wait()
        await trio.sleep(5.0)
        assert not scene.said
        scene.hang_up()


async def test_caller_audio_reaches_the_session_as_it_came(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        for n in range(5):
            scene.line.say(audio_frame(bytes([n]) * 320))
        await trio.sleep(0.1)
        assert scene.session.fed == [bytes([n]) * 320 for n in range(5)]
        scene.hang_up()


async def test_audio_of_another_rate_is_resampled_for_the_session(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        fed = sum(map(len, scene.session.fed))
        for _ in range(50):
            scene.line.say(b"\x12\x02\x80" + bytes(640))
            await trio.sleep(0.02)
        assert sum(map(len, scene.session.fed)) - fed == pytest.approx(50 * 320, abs=700)
        scene.hang_up()


async def test_the_line_carries_silence_all_the_while_and_beats_the_watchdog(
    scene: Scene, autojump_clock: MockClock
) -> None:
    async with running(scene):
        await scene.live()
        before = len(scene.line_moves)
        await trio.sleep(1.0)
        assert len(scene.line_moves) - before == pytest.approx(50, abs=2)
        assert all(scene.line_moves)
        scene.hang_up()


async def test_what_was_heard_goes_to_the_history_and_to_the_session(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        assert scene.agent_turns == [""], "nobody knows yet how much will be heard"
        await trio.sleep(2.0)
        assert scene.session.reports == [(1, 1000, True)]
        assert scene.agent_turns == [GREETING]
        scene.hang_up()


async def test_the_caller_s_turn_is_over_the_answer_may_be_heard(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        scene.session.emit(tells.CallerSpeechStarted(2.0), tells.CallerSpeechEnded(3.0, 2.7))
        await scene.until(lambda: scene.session.told == ["answer"])
        scene.hang_up()


async def test_an_answer_is_withheld_while_the_caller_makes_a_sound(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        scene.session.emit(
            tells.CallerSpeechStarted(2.0), tells.CallerSpeechEnded(3.0, 2.7), tells.CallerSpeechStarted(3.1)
        )
        await scene.until(lambda: scene.session.told == ["answer", "withhold"])
        scene.session.emit(tells.CallerSpeechDismissed("a cough"))
        await scene.until(lambda: scene.session.told == ["answer", "withhold", "answer"])
        scene.hang_up()


async def test_a_caller_who_goes_on_before_the_answer_discards_it(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        session = scene.session
        session.emit(tells.CallerSpeechStarted(2.0), tells.CallerSpeechEnded(3.0, 2.7))
        session.emit(tells.CallerSpeechStarted(3.1), tells.CallerTakesTurn(3.4))
        await scene.until(lambda: session.interruptions == 1)
        assert scene.call.playout.generation == 1
        session.emit(tells.CallerSpeechEnded(5.0, 4.7))
        await scene.speaking("The answer")
        scene.hang_up()


async def test_the_answer_s_delay_is_measured_from_the_caller_s_last_speech(
    scene: Scene, autojump_clock: MockClock
) -> None:
    async with running(scene):
        await scene.live()
        await trio.sleep(2.0)
        now = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(now), tells.CallerSpeechEnded(now, now - 0.3))
        await trio.sleep(0.7)
        await scene.session.utter("The answer")
        await trio.sleep(0.1)
        total = scene.call.metrics.registry.get_sample_value("agentd_response_seconds_sum")
        assert total == pytest.approx(1.0, abs=0.02)
        scene.hang_up()


# --- digits


async def test_a_digit_that_arrives_twice_counts_once(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        scene.event(DtmfReceived(Channel(CALLER), "5"))
        scene.line.say(dtmf_frame("5"))
        await trio.sleep(0.5)
        scene.line.say(dtmf_frame("5"))
        await trio.sleep(0.1)
        scene.event(DtmfReceived(Channel(CALLER), "5"))
        await trio.sleep(0.5)
        scene.event(DtmfReceived(Channel(CALLER), "#"))
        await trio.sleep(0.5)
        assert scene.session.digits == ["5", "5", "#"]
        scene.hang_up()


async def test_digits_of_another_channel_are_not_the_caller_s(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        scene.event(DtmfReceived(Channel("agentd-leg-media-1"), "5"))
        await trio.sleep(0.5)
        assert scene.session.digits == []
        scene.hang_up()


async def test_a_session_without_digits_is_not_given_any(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        scene.session.capabilities = attrs.evolve(scene.session.capabilities, takes_digits=False)
        scene.event(DtmfReceived(Channel(CALLER), "5"))
        await trio.sleep(0.5)
        assert scene.session.digits == []
        scene.hang_up()


# --- how a call ends


async def test_the_agent_hangs_up_after_its_last_words_were_heard(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        await scene.session.utter("Goodbye then")
        scene.session.emit(tells.Ended())
    assert (scene.result, scene.left_with) == (Result.COMPLETED, "completed")
    assert scene.agent_turns == [GREETING, "Goodbye then"]


async def test_last_words_that_a_caller_s_sound_has_paused_are_heard_to_their_end(
    scene: Scene, autojump_clock: MockClock
) -> None:
    async with running(scene):
        await scene.greeted()
        await scene.speaking("Goodbye then", seconds=1.0)
        scene.session.emit(tells.CallerSpeechStarted(2.0), tells.CallerSpeechConfirmed(2.2), tells.Ended())
        ended_at = trio.current_time()
    assert scene.left_with == "completed"
    assert scene.agent_turns == [GREETING, "Goodbye then"]
    assert trio.current_time() - ended_at < 2.0


async def test_a_caller_who_hangs_up_during_the_last_words_ends_the_call_at_once(
    scene: Scene, autojump_clock: MockClock
) -> None:
    async with running(scene):
        await scene.live()
        scene.session.emit(tells.Ended())
        await trio.sleep(0.5)
        scene.hang_up()
    assert trio.current_time() < 1.0


@pytest.mark.parametrize("error", [ProviderUnavailable("no route"), ProviderRejected("bad key")])
async def test_an_agent_that_cannot_be_opened_is_announced_and_told(
    scene: Scene, error: Exception, autojump_clock: MockClock
) -> None:
    scene.agent.opening = failing(error, after=0.5)
    async with running(scene):
        pass
    assert (scene.result, scene.left_with) == (Result.FAILED_AGENT, "failed:agent")
    assert scene.file.log[-1] == "announce sound:sorry"


async def test_an_agent_that_never_opens_is_given_up_at_its_deadline(scene: Scene, autojump_clock: MockClock) -> None:
    scene.agent.opening = stand_still
    async with running(scene):
        pass
    assert scene.left_with == "failed:agent"
    assert trio.current_time() == pytest.approx(LAST_RESORT_WITHIN + scene.file.seconds, abs=0.2)


async def test_a_session_may_last_longer_than_its_opening_may(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        await trio.sleep(3 * LAST_RESORT_WITHIN)
        assert scene.agent.closed == 0
        scene.hang_up()


async def test_an_agent_that_fails_in_the_call_is_announced_at_once(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        scene.session.emit(tells.Degraded("slow"))
        scene.agent.break_down("the model is gone")
    assert scene.left_with == "failed:agent"
    assert scene.announced == ["sound:sorry"]
    assert trio.current_time() < 1.5


async def test_the_end_of_the_daemon_is_announced(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        scene.call.shut_down()
    assert (scene.result, scene.left_with) == (Result.SHUTDOWN, "shutdown")
    assert scene.announced == ["sound:goodbye"]


async def test_the_end_of_the_daemon_comes_also_to_a_call_that_is_being_connected(
    scene: Scene, autojump_clock: MockClock
) -> None:
    scene.agent.opening = stand_still
    async with running(scene):
        await trio.sleep(1.0)
        scene.call.shut_down()
    assert scene.left_with == "shutdown"


async def test_files_that_cannot_be_played_end_the_call_with_their_reason(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.FILE)
    scene.file.failure = "Asterisk cannot read the directory"
    async with running(scene):
        pass
    assert scene.left_with == "failed:media"


async def test_an_announcement_that_fails_does_not_keep_the_caller(scene: Scene, autojump_clock: MockClock) -> None:
    scene.file.announcement_failure = "no such sound"
    async with running(scene):
        await scene.live()
        scene.agent.break_down("gone")
    assert scene.left_with == "failed:agent"


async def test_an_announcement_without_end_is_bounded(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.greeted()
        scene.file.seconds = 10_000.0
        scene.agent.break_down("gone")
    assert scene.left_with == "failed:agent"
    assert trio.current_time() == pytest.approx(ANNOUNCEMENT_DEADLINE, abs=2.0)


async def test_the_announcement_of_the_daemon_s_end_is_over_while_there_is_time_to_leave(
    scene: Scene, autojump_clock: MockClock
) -> None:
    async with running(scene):
        await scene.greeted()
        scene.file.seconds, began = 10_000.0, trio.current_time()
        scene.call.shut_down()
    assert scene.left_with == "shutdown"
    assert trio.current_time() - began == pytest.approx(deadlines.SHUTDOWN_WORDS.seconds, abs=2.0)


async def test_words_that_end_a_call_are_cut_short_when_the_daemon_is_being_stopped(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.FILE)
    async with running(scene):
        await scene.greeted()
        scene.file.seconds = 50.0
        await scene.speaking("A long farewell", seconds=50.0)
        scene.session.emit(tells.Ended())
        await trio.sleep(1.0)
        began = trio.current_time()
        scene.call.shut_down()
    assert scene.left_with == "completed"
    assert trio.current_time() - began == pytest.approx(deadlines.SHUTDOWN_WORDS.seconds, abs=2.0)


async def test_a_channel_that_was_taken_away_by_somebody_ends_the_call(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        scene.event(StasisEnd(Channel(CALLER)))
    assert scene.result is Result.CALLER_HUNG_UP
    assert set(scene.asterisk.channels) == {CALLER}


async def test_the_end_of_a_leg_s_channel_is_not_the_caller_s(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        scene.event(StasisEnd(Channel("agentd-leg-snoop-1")))
        await trio.sleep(1.0)
        assert scene.agent.closed == 0
        scene.hang_up()


async def test_playback_events_reach_the_playback(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.FILE)
    async with running(scene):
        await scene.live()
        scene.event(PlaybackFinished("p-1", Channel(CALLER), "done"))
        await trio.sleep(0.1)
        assert scene.file.log[-1] == "PlaybackFinished p-1"
        scene.hang_up()


# --- events that were lost


async def test_after_lost_events_a_caller_who_is_gone_ends_the_call(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        scene.asterisk.gone(CALLER)
        await scene.client.reconciler.look(ours=True)
    assert scene.result is Result.CALLER_HUNG_UP


async def test_after_lost_events_a_caller_who_is_there_goes_on(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        await scene.client.reconciler.look(ours=True)
        await trio.sleep(1.0)
        assert scene.agent.closed == 0
        scene.hang_up()


async def test_a_hang_up_that_finds_the_inbox_full_ends_the_call_all_the_same(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.FILE)
    async with running(scene):
        await scene.live()
        scene.file.stopping = 8.0  # Asterisk does not answer
        scene.session.emit(tells.CallerSpeechStarted(1.0), tells.CallerTakesTurn(2.0))
        scene.session.emit(*[tells.NothingToSay("a chatty vendor")] * 300)
        await trio.sleep(1.0)
        assert scene.call._inbox.waiting == INBOX
        scene.event(StasisEnd(Channel(CALLER)))
        await trio.sleep(20.0)
        ended = scene.result is not None
        scene.event(StasisEnd(Channel(CALLER)))
    assert ended


async def test_a_session_that_ends_without_a_word_ends_the_call(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await scene.live()
        scene.agent.opening = failing(ProviderUnavailable("no route"))
        scene.session.close_events()
        await trio.sleep(30.0)
        ended = scene.result is not None
        scene.hang_up()
    assert ended


# --- the media leg


@pytest.mark.parametrize("way", transport_names())
@pytest.mark.parametrize("mode", MODES)
async def test_a_lost_media_leg_is_replaced_and_the_conversation_goes_on(
    way: str, mode: Mode, autojump_clock: MockClock
) -> None:
    scene = make_scene(mode, media=way)
    async with running(scene):
        await scene.greeted()
        scene.line.cut()
        await scene.until(lambda: len(scene.lines.all) == 2)
        await trio.sleep(0.1)
        scene.line.say(audio_frame(b"\x07" * 320))
        await trio.sleep(0.1)
        assert scene.fed == [b"\x07" * 320]
        assert scene.said == [GREETING], "nobody is greeted twice"
        assert scene.agent.opened == 1
        assert scene.sample("media_reattached_total") == 1
        assert False in scene.line_moves
        scene.hang_up()


async def test_a_leg_that_cannot_be_replaced_is_given_up_after_its_tries_with_back_off(
    autojump_clock: MockClock,
) -> None:
    scene = make_scene(Mode.FILE)
    async with running(scene):
        await scene.greeted()
        attempts: list[float] = []

        async def refuse(_request: Request) -> Answer:
            attempts.append(trio.current_time())
            return Answer.refusal(500, "no")

        scene.asterisk.rule("POST /bridges/*", refuse)
        scene.line.cut()
    assert (scene.result, scene.left_with) == (Result.FAILED_MEDIA, "failed:media")
    assert scene.announced == ["sound:sorry"]
    assert len(attempts) == 3
    assert attempts[2] - attempts[1] == pytest.approx(2 * (attempts[1] - attempts[0]), rel=0.2)


async def test_with_no_tries_configured_a_lost_leg_ends_the_call(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.FILE, reattach_tries=0)
    async with running(scene):
        await scene.greeted()
        scene.line.cut()
    assert scene.left_with == "failed:media"
    assert len(scene.lines.all) == 1


async def test_a_first_leg_that_fails_ends_the_call_at_once(scene: Scene, autojump_clock: MockClock) -> None:
    scene.asterisk.rule("POST /channels/externalMedia", Answer.refusal(500, "no route to host"))
    async with running(scene):
        pass
    assert scene.left_with == "failed:media"
    assert scene.announced == ["sound:sorry"]
    assert trio.current_time() < 1.5


async def test_a_first_leg_whose_connection_never_comes_ends_the_call_at_the_bind_timeout(
    scene: Scene, autojump_clock: MockClock
) -> None:
    """With streaming at the second one: files are tried before the call is given up."""
    scene.asterisk.on_media = lambda uuid, request: None
    timeouts = 1 if scene.stream is None else 2
    async with running(scene):
        pass
    assert scene.left_with == "failed:media"
    assert trio.current_time() == pytest.approx(timeouts * 5.0 + scene.file.seconds, abs=0.1)


async def test_attempts_that_only_run_into_their_deadline_are_counted_however_long_they_take(
    autojump_clock: MockClock,
) -> None:
    scene = make_scene(Mode.FILE)
    async with running(scene):
        await scene.greeted()
        scene.asterisk.on_media = lambda uuid, request: None
        scene.line.cut()
        lost_at = trio.current_time()
    assert scene.left_with == "failed:media"
    assert trio.current_time() - lost_at < 3 * 5.0 + 1.75 + scene.file.seconds + 1.0


async def test_a_leg_that_comes_up_and_is_lost_at_once_again_and_again_is_given_up_too(
    scene: Scene, autojump_clock: MockClock
) -> None:
    async with running(scene):
        await scene.live()
        deadline = trio.current_time() + 20.0
        while scene.result is None and trio.current_time() < deadline:
            if not scene.line.released:
                scene.line.cut()
            await trio.sleep(0.01)
        gave_up = scene.result is not None
        scene.hang_up()
    assert gave_up


async def test_a_call_s_log_tells_each_transition_once(scene: Scene, autojump_clock: MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(scene):
            await scene.live()
            await trio.sleep(2.0)
            scene.session.emit(
                tells.CallerSpeechStarted(3.0), tells.CallerSpeechEnded(4.0, 3.7), tells.NothingToSay("noise")
            )
            await trio.sleep(0.5)
            scene.hang_up()
    states = [(log["region"], log["before"], log["after"]) for log in logs if log["event"] == "state"]
    assert states == [
        ("line", "connecting", "live"),
        ("agent", "idle", "speaking"),
        ("agent", "speaking", "idle"),
        ("caller", "silent", "speaking"),
        ("caller", "speaking", "silent"),
        ("agent", "idle", "preparing"),
        ("agent", "preparing", "idle"),
        ("line", "live", "ended"),
    ]


@pytest.mark.parametrize("wanted", [False, True])
async def test_words_are_logged_only_where_the_configuration_says_so(wanted: bool, autojump_clock: MockClock) -> None:
    scene = make_scene(log_transcripts=wanted)
    with structlog.testing.capture_logs() as logs:
        async with running(scene):
            await scene.live()
            scene.session.emit(tells.CallerText("my secret number"), tells.AgentText(1, "your secret answer"))
            await scene.speaking("Another secret", seconds=1.0)
            scene.session.emit(tells.CallerSpeechStarted(3.0), tells.CallerTakesTurn(3.5))
            await trio.sleep(0.5)
            scene.hang_up()
    assert ("secret" in repr(logs)) is wanted


# --- liveness

TIMES = LivenessTimes(
    check_in_after=5.0, check_ins=2, slow_after=2.0, max_duration=60.0, warn_before=10.0, dead_air_after=20.0
)
PHRASES = {
    Phrase.GREETING: GREETING,
    Phrase.CHECK_IN: "Are you there?",
    Phrase.FILLER: "One moment",
    Phrase.DURATION_WARNING: "We have to end soon",
}


@pytest.fixture(params=MODES)
def watched(request: pytest.FixtureRequest) -> Scene:
    return make_scene(request.param, liveness=TIMES, phrases=PHRASES)


async def test_a_silent_caller_is_asked_and_then_left_politely(watched: Scene, autojump_clock: MockClock) -> None:
    async with running(watched):
        await watched.greeted()
        greeted_at = trio.current_time()
    assert watched.said == [GREETING, "Are you there?", "Are you there?"]
    assert (watched.result, watched.left_with) == (Result.CALLER_SILENT, "caller-silent")
    assert watched.announced == ["sound:nobody"]
    # Three silences, two questions of a second, and the announcement.
    assert trio.current_time() - greeted_at == pytest.approx(3 * 5.0 + 2 * 1.0 + watched.file.seconds, abs=0.2)


async def test_a_caller_who_answers_is_asked_as_often_again(watched: Scene, autojump_clock: MockClock) -> None:
    async with running(watched):
        await watched.until(lambda: watched.agent.sessions and len(watched.said) == 3)
        await trio.sleep(3.0)
        now = trio.current_time()
        watched.session.emit(
            tells.CallerSpeechStarted(now), tells.CallerSpeechEnded(now, now), tells.NothingToSay("a mumble")
        )
    assert watched.said.count("Are you there?") == 4


async def test_without_check_ins_a_silent_caller_is_left_alone(scene: Scene, autojump_clock: MockClock) -> None:
    async with running(scene):
        await trio.sleep(60.0)
        assert scene.said == [GREETING]
        assert scene.result is None
        scene.hang_up()


async def test_an_answer_that_takes_its_time_is_announced_once(watched: Scene, autojump_clock: MockClock) -> None:
    async with running(watched):
        await watched.greeted()
        now = trio.current_time()
        watched.session.emit(tells.CallerSpeechStarted(now), tells.CallerSpeechEnded(now, now - 0.3))
        await trio.sleep(1.9)
        assert watched.said == [GREETING]
        await trio.sleep(8.0)
        assert watched.said == [GREETING, "One moment"]
        assert watched.sample("response_seconds_count") == 0, "a filler is no answer"
        await watched.speaking("The answer")
        assert watched.sample("response_seconds_count") == 1
        watched.hang_up()


async def test_a_call_that_lasts_too_long_is_warned_and_ended(watched: Scene, autojump_clock: MockClock) -> None:
    async with running(watched):
        await watched.greeted()
        while "We have to end soon" not in watched.said:  # the caller keeps talking
            now = trio.current_time()
            watched.session.emit(
                tells.CallerSpeechStarted(now), tells.CallerSpeechEnded(now, now), tells.NothingToSay("a mumble")
            )
            await trio.sleep(1.0)
        assert trio.current_time() == pytest.approx(50.0, abs=1.1)
        watched.session.emit(tells.CallerSpeechStarted(trio.current_time()))
    assert (watched.result, watched.left_with) == (Result.MAX_DURATION, "max-duration")
    assert watched.announced == ["sound:time"]
    assert trio.current_time() == pytest.approx(60.0 + watched.file.seconds, abs=0.1)


# --- dead air

HEEDED = LivenessTimes(
    check_in_after=0.0, check_ins=0, slow_after=0.0, max_duration=0.0, warn_before=0.0, dead_air_after=8.0
)


@pytest.fixture(params=MODES)
def heeded(request: pytest.FixtureRequest) -> Scene:
    return make_scene(request.param, liveness=HEEDED)


async def dead_since(scene: Scene, moment: float) -> None:
    """The call ends for neither side was heard since then."""
    await scene.until(lambda: scene.call.result)
    assert scene.call.result is Result.FAILED_SILENCE
    assert trio.current_time() - moment == pytest.approx(HEEDED.dead_air_after, abs=0.5)


def a_word(scene: Scene) -> None:
    """The caller says something that agentd's own ear hears, half a second long."""
    pcm = voice(0.5, seed=77)
    scene.line.say(*(audio_frame(pcm[start : start + 320]) for start in range(0, len(pcm), 320)))


async def test_a_session_that_hears_nothing_does_not_leave_the_caller_in_silence(
    heeded: Scene, autojump_clock: MockClock
) -> None:
    async with running(heeded):
        await heeded.greeted()
        a_word(heeded)
        await dead_since(heeded, trio.current_time())
    assert heeded.left_with == "failed:silence"
    assert heeded.announced == ["sound:sorry"]


async def test_a_playback_that_is_stuck_does_not_leave_the_caller_in_silence(autojump_clock: MockClock) -> None:
    scene = make_scene(Mode.FILE, liveness=HEEDED)
    async with running(scene):
        await scene.greeted()
        scene.file.seconds, scene.file.unheard = 10_000.0, True
        await scene.speaking("Nobody hears this")
        scene.file.seconds = 1.0
        await dead_since(scene, 1.0)
    assert scene.left_with == "failed:silence"


async def test_a_caller_who_is_believed_to_speak_and_does_not_is_not_waited_for(
    heeded: Scene, autojump_clock: MockClock
) -> None:
    async with running(heeded):
        await heeded.greeted()
        heeded.session.emit(tells.CallerSpeechStarted(trio.current_time()))
        await dead_since(heeded, trio.current_time())


async def test_a_caller_who_holds_is_waited_for(heeded: Scene, autojump_clock: MockClock) -> None:
    async with running(heeded):
        await heeded.greeted()
        a_word(heeded)
        await trio.sleep(2.0)
        heeded.event(Hold(Channel(CALLER), True))
        await trio.sleep(4 * HEEDED.dead_air_after)
        assert heeded.result is None
        heeded.event(Hold(Channel(CALLER), False))
        a_word(heeded)
        await dead_since(heeded, trio.current_time())


# --- on hold

WATCHFUL = attrs.evolve(HEEDED, check_in_after=3.0, check_ins=1, slow_after=1.0)


def hold(scene: Scene, held: bool = True) -> None:
    """The caller's telephone holds, as ARI tells it (asterisk issue 1027, thevoiceguy/siphon-ai issue 402)."""
    scene.event(Hold(Channel(CALLER), held))


@pytest.fixture(params=[(mode, media) for mode in MODES for media in transport_names()], ids=str)
def holding(request: pytest.FixtureRequest) -> Scene:
    mode, media = request.param
    return make_scene(
        mode,
        media=media,
        liveness=WATCHFUL,
        phrases={Phrase.GREETING: GREETING, Phrase.CHECK_IN: "Are you there?", Phrase.FILLER: "One moment"},
    )


async def test_who_holds_is_not_asked_not_heard_and_not_let_go(holding: Scene, autojump_clock: MockClock) -> None:
    async with running(holding):
        await holding.greeted()
        hold(holding)
        await trio.sleep(0.01)
        heard = len(holding.fed)
        for _ in range(12):  # six seconds of music on hold, which a fork hears
            a_word(holding)
            await trio.sleep(0.5)
        assert len(holding.fed) == heard
        assert (holding.said, holding.result) == ([GREETING], None)
        hold(holding, False)
        await trio.sleep(0.01)
        a_word(holding)
        await trio.sleep(0.6)
        assert len(holding.fed) == heard + 25, "what is said afterwards is heard whole"
        await holding.until(lambda: "Are you there?" in holding.said)
        holding.hang_up()
    assert holding.result is Result.CALLER_HUNG_UP


async def test_silence_is_fed_on_hold_for_the_session_s_time_goes_on(holding: Scene, autojump_clock: MockClock) -> None:
    async with running(holding):
        await holding.greeted()
        hold(holding)
        await trio.sleep(0.5)
        fed = sum(map(len, holding.session.fed))
        await trio.sleep(10.0)
        assert (sum(map(len, holding.session.fed)) - fed) / 16_000 == pytest.approx(10.0, abs=0.1)
        holding.hang_up()


async def test_an_agent_that_speaks_when_the_caller_holds_goes_on_where_it_stopped(
    holding: Scene, autojump_clock: MockClock
) -> None:
    async with running(holding):
        await holding.greeted()
        holding.file.seconds = 2.0
        began = trio.current_time()
        await holding.speaking("One two three four five six seven eight", seconds=2.0)
        await trio.sleep(0.6)
        hold(holding)
        await trio.sleep(30.0)
        assert len(holding.session.reports) == 1, "it is not over"
        assert holding.call.playback.heard_at < began + 2.5
        hold(holding, False)
        await holding.until(lambda: len(holding.session.reports) == 2)
        assert trio.current_time() - began == pytest.approx(32.0, abs=0.5)
        assert holding.agent_turns[-1] == "One two three four five six seven eight"
        holding.hang_up()


async def test_an_answer_that_is_ready_on_hold_is_heard_afterwards_and_its_delay_is_nobody_s(
    holding: Scene, autojump_clock: MockClock
) -> None:
    async with running(holding):
        await holding.greeted()
        now = trio.current_time()
        holding.session.emit(tells.CallerSpeechStarted(now), tells.CallerSpeechEnded(now + 0.1, now))
        hold(holding)
        await trio.sleep(1.0)
        await holding.session.utter("The answer")
        await trio.sleep(30.0)
        assert holding.session.begun == [1], "nothing is heard but the greeting"
        hold(holding, False)
        await holding.until(lambda: holding.session.begun == [1, 2])
        assert holding.said == [GREETING], "no filler either"
        await holding.until(lambda: len(holding.session.reports) == 2)
        holding.hang_up()
    assert holding.sample("response_seconds_count") == 0


async def test_a_key_that_is_pressed_on_hold_stops_the_agent_and_begins_nothing(
    holding: Scene, autojump_clock: MockClock
) -> None:
    async with running(holding):
        await holding.greeted()
        await holding.speaking("This is a long story")
        hold(holding)
        await trio.sleep(1.0)
        holding.event(DtmfReceived(Channel(CALLER), "5"))
        await holding.until(lambda: holding.session.digits == ["5"])
        await holding.session.utter("You pressed five")
        await trio.sleep(10.0)
        assert len(holding.session.begun) == 2
        hold(holding, False)
        await holding.until(lambda: len(holding.session.begun) == 3)
        holding.hang_up()


async def test_words_before_the_agent_ends_the_call_wait_for_who_holds(
    holding: Scene, autojump_clock: MockClock
) -> None:
    async with running(holding):
        await holding.greeted()
        hold(holding)
        await trio.sleep(0.1)
        await holding.session.utter("Good bye")
        holding.session.emit(tells.Ended())
        await trio.sleep(60.0)
        assert holding.left_with is None
        hold(holding, False)
    assert holding.left_with == "completed"
    assert holding.agent_turns[-1] == "Good bye"


async def test_who_never_comes_back_from_a_hold_keeps_a_call_that_is_over_for_minutes_only(
    holding: Scene, autojump_clock: MockClock
) -> None:
    async with running(holding):
        await holding.greeted()
        hold(holding)
        await trio.sleep(0.1)
        holding.session.emit(tells.Ended())
    assert holding.left_with == "completed"
    assert trio.current_time() == pytest.approx(deadlines.LAST_WORDS_HOLD.seconds, abs=5.0)


async def test_the_end_of_the_daemon_waits_for_nobody_who_holds(holding: Scene, autojump_clock: MockClock) -> None:
    async with running(holding):
        await holding.greeted()
        hold(holding)
        await trio.sleep(0.1)
        began = trio.current_time()
        holding.call.shut_down()
    assert holding.left_with == "shutdown"
    assert holding.announced == ["sound:goodbye"]
    assert trio.current_time() - began < deadlines.SHUTDOWN_WORDS.seconds + 1


async def test_an_agent_that_fails_on_hold_is_replaced_without_a_word(autojump_clock: MockClock) -> None:
    scene = make_scene(
        agents=(FakeAgent(), FakeAgent()),
        failover=attrs.evolve(make_scene().settings.failover, hold_message=HOLD_MESSAGE),
    )
    async with running(scene):
        await scene.greeted()
        now = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(now), tells.CallerSpeechEnded(now + 0.1, now))
        await trio.sleep(0.1)
        hold(scene)
        await trio.sleep(1.0)
        scene.session.fail(ProviderUnavailable("gone"))
        await scene.until(lambda: len(scene.sessions) == 2)
        await trio.sleep(5.0)
        assert scene.call.playout.empty
        hold(scene, False)
        await scene.session.utter("Where were we")
        await scene.until(lambda: scene.session.begun)
        scene.hang_up()


async def test_a_party_that_takes_the_place_of_one_who_holds_is_heard(
    holding: Scene, autojump_clock: MockClock
) -> None:
    async with running(holding):
        await holding.greeted()
        hold(holding)
        await trio.sleep(1.0)
        holding.call._callers_end._hold_changed(happens.CallerReplaced("PJSIP/sales-2"), False)
        await trio.sleep(0.1)
        a_word(holding)
        await holding.until(lambda: len(holding.fed) == 25)
        await holding.until(lambda: "Are you there?" in holding.said)
        holding.hang_up()


@pytest.mark.parametrize("passed", [tells.CallerSpeechDismissed("a cough"), tells.NothingToSay("a mumble")])
async def test_a_sound_to_which_the_agent_has_nothing_to_say_leaves_the_caller_their_time(
    passed: tells.CallerSpeechDismissed | tells.NothingToSay, autojump_clock: MockClock
) -> None:
    scene = make_scene(liveness=HEEDED)
    async with running(scene):
        await scene.greeted()
        a_word(scene)
        scene.session.emit(tells.CallerSpeechStarted(trio.current_time()))
        if isinstance(passed, tells.NothingToSay):
            scene.session.emit(tells.CallerSpeechEnded(trio.current_time(), trio.current_time()))
        await trio.sleep(0.7)
        scene.session.emit(passed)
        await trio.sleep(4 * HEEDED.dead_air_after)
        assert scene.result is None
        scene.hang_up()


async def test_a_caller_who_is_heard_or_presses_keys_is_there(heeded: Scene, autojump_clock: MockClock) -> None:
    async with running(heeded):
        await heeded.greeted()
        for _ in range(3):
            a_word(heeded)
            await trio.sleep(0.75 * HEEDED.dead_air_after)
            heeded.event(DtmfReceived(Channel(CALLER), "1"))
            await trio.sleep(0.75 * HEEDED.dead_air_after)
        assert heeded.result is None
        heeded.hang_up()


# --- invariant 1: nothing is left, wherever the hang-up comes


async def story(scene: Scene) -> None:
    """A call with a bit of everything: greeting, digits, a discarded answer, a cough, a lost leg, an interruption, the
    agent's end."""
    await scene.live()
    session = scene.session
    scene.line.say(audio_frame(voice(0.02)))
    scene.event(DtmfReceived(Channel(CALLER), "1"))
    await trio.sleep(0.3)
    session.emit(
        tells.CallerSpeechStarted(1.0),
        tells.CallerSpeechEnded(2.0, 1.7),
        tells.CallerSpeechStarted(2.1),
        tells.CallerTakesTurn(2.4),
    )
    session.emit(tells.CallerSpeechEnded(3.5, 3.2))
    await trio.sleep(0.1)
    await session.utter("An answer")
    await trio.sleep(0.2)
    session.emit(tells.CallerSpeechStarted(4.0), tells.CallerSpeechConfirmed(4.2))
    await trio.sleep(0.1)
    session.emit(tells.CallerSpeechDismissed("a cough"))
    await trio.sleep(0.1)
    scene.line.cut()
    await trio.sleep(1.5)
    session.emit(tells.CallerSpeechStarted(6.0), tells.CallerTakesTurn(6.5), tells.CallerSpeechEnded(7.0, 6.7))
    await trio.sleep(0.1)
    await session.utter("Goodbye")
    session.emit(tells.Ended())


@attrs.frozen
class Staging:
    """How the story is put on: the way of its legs, the mode, and whether a lost leg makes it fall back to files."""

    way: str
    mode: Mode
    falls_back: bool = False

    def __str__(self) -> str:
        return f"{self.way}-{self.mode}{'-falls-back' if self.falls_back else ''}"


STAGINGS = [
    Staging("external", Mode.FILE),
    Staging("external", Mode.STREAM),
    Staging("fork", Mode.STREAM),
    Staging("external", Mode.STREAM, falls_back=True),
]
staged = pytest.mark.parametrize("staging", STAGINGS, ids=str)


async def play_story(staging: Staging, act: Act, at: float) -> tuple[Scene, int]:
    tries = 0 if staging.falls_back else 3
    scene = make_scene(staging.mode, media=staging.way, reattach_tries=tries)
    scene.asterisk.slow("*", 0.01)
    return scene, await play(scene, story, act, at)


@staged
async def test_the_story_itself_comes_to_its_end(staging: Staging, autojump_clock: MockClock) -> None:
    scene, situations = await play_story(staging, lambda scene, scope: None, float("inf"))
    assert scene.left_with == "completed"
    assert len(scene.lines.all) == 2
    assert scene.session.digits == ["1"]
    assert scene.session.interruptions >= 2
    assert scene.call.playback.streaming is (staging.mode is Mode.STREAM and not staging.falls_back)
    assert scene.agent_turns[-1] == "Goodbye"
    assert situations > SITUATIONS[-1]


@staged
async def test_a_hang_up_at_any_step_leaves_nothing(staging: Staging, autojump_clock: MockClock) -> None:
    for at in SITUATIONS:
        await play_story(staging, lambda scene, scope: scene.hang_up(), at)


@staged
async def test_a_cancellation_at_any_step_leaves_nothing(staging: Staging, autojump_clock: MockClock) -> None:
    for at in SITUATIONS:
        await play_story(staging, lambda scene, scope: scope.cancel(), at)


SITUATIONS = range(1, 220, 4)
"""A sample of those of the story, from its first to its last."""
