"""One call's figures: how soon it was answered and fell silent, and where the time went."""

from collections.abc import Mapping

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.calls.figures import CallFigures
from agentd.conversation import commands as do
from agentd.conversation.commands import Command
from agentd.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def figures(metrics: Metrics) -> CallFigures:
    return CallFigures(metrics)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(f"agentd_{name}", labels)
    return 0.0 if found is None else found


def observed(metrics: Metrics, histogram: str, **labels: str) -> tuple[float, float]:
    """How many observations there were, and their sum."""
    return value(metrics, f"{histogram}_count", **labels), value(metrics, f"{histogram}_sum", **labels)


def line(logs: list[Mapping[str, object]], event: str) -> Mapping[str, object]:
    (found,) = [entry for entry in logs if entry["event"] == event]
    return found


async def caller_speaks(figures: CallFigures, seconds: float = 2.0, silence: float = 0.2) -> None:
    """A turn of the caller, that ends with a silence."""
    figures.on_session(tells.CallerSpeechStarted(trio.current_time()))
    await trio.sleep(seconds)
    last = trio.current_time()
    await trio.sleep(silence)
    figures.on_session(tells.CallerSpeechEnded(trio.current_time(), last))


async def barge_in(figures: CallFigures, *commands: tuple[float, Command]) -> None:
    """The caller makes a sound over the agent; commands follow, each after so many seconds."""
    figures.on_session(tells.CallerSpeechStarted(trio.current_time()))
    for seconds, command in commands:
        await trio.sleep(seconds)
        figures.on_command(command, audible=True)


# --- how soon the agent answers


async def test_the_response_delay_counts_from_the_last_speech_to_the_first_sound(
    figures: CallFigures, metrics: Metrics, autojump_clock: MockClock
) -> None:
    await caller_speaks(figures, silence=0.2)
    await trio.sleep(0.3)
    figures.began(1)
    assert observed(metrics, "response_seconds") == (1, pytest.approx(0.5))


async def test_an_answer_is_told_with_where_its_time_went(
    figures: CallFigures, metrics: Metrics, autojump_clock: MockClock
) -> None:
    figures.agent = "sales"
    await caller_speaks(figures, silence=0.2)
    await trio.sleep(0.4)
    stages = {"pause": 0.1, "transcript": 0.15, "first_token": 0.05, "first_audio": 0.2, "held": 0.0, "endpoint": 0.2}
    for stage, seconds in stages.items():
        figures.on_session(tells.StageTiming(stage, seconds))
    with capture_logs() as logs:
        figures.began(7)
    assert line(logs, "answer") == {
        "event": "answer",
        "log_level": "info",
        "agent": "sales",
        "utterance": 7,
        "response_ms": 600,
        "pause_ms": 100,
        "transcript_ms": 150,
        "first_token_ms": 50,
        "first_audio_ms": 200,
        "held_ms": 0,
        "endpoint_ms": 200,
        "line_ms": 100,
    }
    for stage, seconds in (*stages.items(), ("line", 0.1)):
        assert observed(metrics, "stage_seconds", stage=stage) == (1, pytest.approx(seconds))


async def test_stages_that_took_longer_than_the_wait_leave_nothing_to_the_line(
    figures: CallFigures, metrics: Metrics, autojump_clock: MockClock
) -> None:
    await caller_speaks(figures)
    figures.on_session(tells.StageTiming("transcript", 5.0))
    figures.began(1)
    assert observed(metrics, "stage_seconds", stage="line") == (1, 0.0)


async def test_the_stages_of_an_earlier_answer_are_not_told_again(
    figures: CallFigures, autojump_clock: MockClock
) -> None:
    await caller_speaks(figures)
    figures.on_session(tells.StageTiming("transcript", 0.1))
    figures.began(1)
    await caller_speaks(figures)
    with capture_logs() as logs:
        figures.began(2)
    assert not [key for key in line(logs, "answer") if key in ("transcript_ms", "line_ms")]


async def test_a_filler_is_no_answer_and_does_not_end_the_wait(
    figures: CallFigures, metrics: Metrics, autojump_clock: MockClock
) -> None:
    await caller_speaks(figures, silence=0.2)
    figures.on_session(tells.UtteranceStarted(1, aside=True))
    await trio.sleep(2.0)
    figures.began(1)
    assert figures.is_aside(1)
    assert observed(metrics, "response_seconds") == (0, 0.0)
    figures.on_session(tells.UtteranceStarted(2))
    await trio.sleep(1.0)
    figures.began(2)
    assert not figures.is_aside(2)
    assert observed(metrics, "response_seconds") == (1, pytest.approx(3.2))


async def test_what_the_agent_says_unasked_is_no_answer(
    figures: CallFigures, metrics: Metrics, autojump_clock: MockClock
) -> None:
    figures.began(1)
    await caller_speaks(figures)
    figures.began(2)
    figures.began(3)
    assert observed(metrics, "response_seconds")[0] == 1


# --- how soon it falls silent


async def test_the_barge_in_delay_counts_from_the_onset_to_the_pause(
    figures: CallFigures, metrics: Metrics, autojump_clock: MockClock
) -> None:
    with capture_logs() as logs:
        await barge_in(figures, (0.02, do.Attenuate()), (0.14, do.Pause()), (0.5, do.Interrupt()))
    assert observed(metrics, "barge_in_seconds") == (1, pytest.approx(0.16))
    assert line(logs, "interrupted")["barge_in_ms"] == 160


async def test_without_a_pause_it_counts_to_the_interruption(
    figures: CallFigures, metrics: Metrics, autojump_clock: MockClock
) -> None:
    await barge_in(figures, (0.02, do.Attenuate()), (0.2, do.Interrupt()))
    assert observed(metrics, "barge_in_seconds") == (1, pytest.approx(0.22))


async def test_an_agent_that_goes_on_after_a_pause_was_falsely_interrupted(
    figures: CallFigures, metrics: Metrics, autojump_clock: MockClock
) -> None:
    await barge_in(figures, (0.02, do.Attenuate()), (0.14, do.Pause()), (0.3, do.Restore()))
    assert value(metrics, "false_interruptions_total") == 1
    assert observed(metrics, "barge_in_seconds")[0] == 0


async def test_an_agent_that_was_only_attenuated_was_not_interrupted_at_all(
    figures: CallFigures, metrics: Metrics, autojump_clock: MockClock
) -> None:
    await barge_in(figures, (0.02, do.Attenuate()), (0.2, do.Restore()))
    assert value(metrics, "false_interruptions_total") == 0
    assert observed(metrics, "barge_in_seconds")[0] == 0


async def test_an_answer_that_nobody_heard_cannot_be_interrupted(
    figures: CallFigures, metrics: Metrics, autojump_clock: MockClock
) -> None:
    await caller_speaks(figures)
    figures.on_session(tells.CallerSpeechStarted(trio.current_time()))
    for command in (do.Withhold(), do.Pause(), do.Interrupt(), do.Answer()):
        figures.on_command(command, audible=False)
    assert observed(metrics, "barge_in_seconds")[0] == 0


async def test_every_interruption_is_measured_from_its_own_onset(
    figures: CallFigures, metrics: Metrics, autojump_clock: MockClock
) -> None:
    await barge_in(figures, (0.14, do.Pause()), (0.3, do.Restore()))
    await trio.sleep(5.0)
    await barge_in(figures, (0.1, do.Pause()), (0.3, do.Interrupt()))
    assert observed(metrics, "barge_in_seconds") == (1, pytest.approx(0.1))


@pytest.mark.parametrize("before", ["a question", "a cough"])
async def test_a_digit_that_interrupts_has_no_onset_to_measure_from(
    figures: CallFigures, metrics: Metrics, before: str, autojump_clock: MockClock
) -> None:
    if before == "a question":
        await caller_speaks(figures)
        figures.began(1)
    else:
        figures.began(1)
        await barge_in(figures, (0.02, do.Attenuate()))
        figures.on_session(tells.CallerSpeechDismissed("no words were recognised"))
        figures.on_command(do.Restore(), audible=True)
    await trio.sleep(10.0)
    figures.on_command(do.Interrupt(), audible=True)
    assert observed(metrics, "barge_in_seconds")[0] == 0
    with capture_logs() as logs:
        figures.conclude()
    assert line(logs, "call figures")["interruptions"] == 1


# --- the whole call


async def test_at_the_end_the_call_s_figures_are_one_line(figures: CallFigures, autojump_clock: MockClock) -> None:
    for utterance, delay in enumerate((0.3, 0.5, 0.9), 1):
        await caller_speaks(figures, silence=delay)
        figures.began(utterance)
    await barge_in(figures, (0.14, do.Pause()), (0.3, do.Restore()))
    await barge_in(figures, (0.14, do.Pause()), (0.3, do.Interrupt()))
    with capture_logs() as logs:
        figures.conclude()
    assert logs == [
        {
            "event": "call figures",
            "log_level": "info",
            "answers": 3,
            "response_p50_ms": 500,
            "response_max_ms": 900,
            "interruptions": 1,
            "false_interruptions": 1,
        }
    ]


async def test_a_call_without_an_answer_has_no_response_delay(figures: CallFigures, autojump_clock: MockClock) -> None:
    with capture_logs() as logs:
        figures.conclude()
    summary = line(logs, "call figures")
    assert (summary["answers"], summary["response_p50_ms"], summary["response_max_ms"]) == (0, None, None)


def test_words_that_do_not_count_are_counted_by_their_cause(figures: CallFigures, metrics: Metrics) -> None:
    with capture_logs() as logs:
        for cause in ("tag", "unsure", "unsure"):
            figures.on_session(tells.CallerWordsDropped(cause, {"sure_ms": 32}))
    assert [(line["cause"], line["sure_ms"]) for line in logs] == [("tag", 32), ("unsure", 32), ("unsure", 32)]
    assert metrics.registry.get_sample_value("agentd_caller_words_dropped_total", {"cause": "unsure"}) == 2
    assert metrics.registry.get_sample_value("agentd_caller_words_dropped_total", {"cause": "tag"}) == 1
