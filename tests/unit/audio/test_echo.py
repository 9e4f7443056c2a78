"""The agent's own words coming back, and a caller who speaks."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentd.audio.echo import FLOOR_DBFS, LONGEST_DELAY_MS, MEMORY_MS, EchoGuard
from agentd.audio.g711 import alaw_to_slin, slin_to_alaw, slin_to_ulaw, ulaw_to_slin
from agentd.audio.level import gain, rms_dbfs
from agentd.audio.resample import convert

RATE = 8000
FRAME = 160
LEAD = 20
"""Frames until what is judged and what it is compared with are both full."""
Signal = npt.NDArray[np.float64]
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=30)


def voice(seed: int, seconds: float = 2.0, pitch: float = 120.0) -> Signal:
    """Something like speech: syllables of harmonics under formants that move, with a hiss before each."""
    random = np.random.default_rng(seed)
    syllables: list[Signal] = []
    while sum(map(len, syllables)) < seconds * RATE:
        time = np.arange(round(RATE * random.uniform(0.12, 0.3))) / RATE
        phase = 2 * np.pi * np.cumsum(pitch * random.uniform(0.85, 1.2) * (1 + random.uniform(-0.5, 0.5) * time)) / RATE
        formants = random.uniform((250, 800, 2000), (800, 2200, 3400))
        harmonics = np.arange(1, int(3400 / pitch))
        weights = np.exp(-((harmonics[:, None] * pitch - formants) ** 2) / 2e4).sum(axis=1) + 0.02
        voiced = (
            weights[:, None] * np.sin(harmonics[:, None] * phase + random.uniform(0, 6, (len(harmonics), 1)))
        ).sum(0)
        hiss = np.where(time < 0.04, random.normal(size=time.size), 0.0)
        syllables.append((voiced / np.std(voiced) + hiss) * np.sin(np.pi * np.arange(time.size) / time.size) ** 0.5)
    whole = np.concatenate(syllables)[: int(seconds * RATE)]
    return whole / np.std(whole) * 3000


def delayed(signal: Signal, milliseconds: float) -> Signal:
    return np.concatenate([np.zeros(round(milliseconds * RATE / 1000)), signal])[: signal.size]


def slin(signal: Signal) -> bytes:
    return np.clip(np.rint(signal), -32768, 32767).astype("<i2").tobytes()


def judge(agent: bytes | None, caller: bytes, rate: int = RATE, delay: float = 0.0) -> list[bool]:
    """What is said of each frame that is no silence, once both sides are full of what has come `delay` ms late."""
    guard, size = EchoGuard(rate), FRAME * 2 * rate // RATE
    verdicts = []
    for at in range(0, len(caller) - size + 1, size):
        guard.spoke(None if agent is None else agent[at : at + size])
        verdict = guard.is_echo(frame := caller[at : at + size])
        if at >= (LEAD + int(delay / 20)) * size and rms_dbfs(frame) >= FLOOR_DBFS:
            verdicts.append(verdict)
    assert len(verdicts) > 10 or agent is None or not any(agent)
    return verdicts


@unhurried
@given(st.integers(0, 1000), st.floats(0, LONGEST_DELAY_MS), st.floats(-25, 0))
def test_the_agent_s_own_words_are_an_echo_at_any_delay_and_level(seed: int, delay: float, level: float) -> None:
    agent = voice(seed)
    assert all(judge(slin(agent), slin(delayed(agent, delay) * gain(level)), delay=delay))


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
@pytest.mark.parametrize("level", [0, -12, -24])
def test_an_echo_is_known_through_g711(law: str, level: float) -> None:
    there_and_back = {
        "ulaw": lambda pcm: ulaw_to_slin(slin_to_ulaw(pcm)),
        "alaw": lambda pcm: alaw_to_slin(slin_to_alaw(pcm)),
    }[law]
    agent = voice(1)
    assert all(judge(slin(agent), there_and_back(slin(delayed(agent, 230) * gain(level))), delay=230))


def test_an_echo_is_known_through_a_hybrid() -> None:
    agent = voice(2)
    path = np.array([0.6, -0.3, 0.2, 0.1, -0.1, 0.05])
    echo = np.convolve(delayed(agent, 60), path)[: agent.size] * 0.3
    assert np.mean(judge(slin(agent), slin(echo), delay=60)) > 0.95


def test_an_echo_is_known_on_a_wideband_line() -> None:
    agent = voice(3)
    wide = [convert(slin(signal), RATE, 16000) for signal in (agent, delayed(agent, 150))]
    assert all(judge(*wide, rate=16000, delay=150))


@unhurried
@given(st.integers(0, 1000), st.floats(80, 250))
@example(109, 160.0)
def test_a_caller_who_speaks_while_the_agent_does_is_no_echo(seed: int, pitch: float) -> None:
    """But for one frame by chance: of 56,000 frames of 700 such voices it was one."""
    assert sum(judge(slin(voice(seed)), slin(voice(seed + 1, pitch=pitch)))) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_a_caller_as_loud_as_the_echo_is_heard(seed: int) -> None:
    agent = voice(seed)
    echo = delayed(agent, 120)
    caller = voice(seed + 100, pitch=190)
    loudness = [np.sqrt(np.convolve(signal**2, np.ones(1600) / 1600)[: agent.size] + 1) for signal in (echo, caller)]
    verdicts = judge(slin(agent), slin(echo + caller * loudness[0] / loudness[1]), delay=120)
    assert np.mean(verdicts) < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_a_caller_who_begins_to_speak_over_an_echo_is_heard_soon(seed: int) -> None:
    agent = voice(seed)
    echo = delayed(agent, 120)
    begins = RATE
    caller = np.concatenate([np.zeros(begins), voice(seed + 100, pitch=190)])[: agent.size]
    verdicts = judge(slin(agent), slin(echo * 0.5 + caller))[begins // FRAME - LEAD :]
    assert not all(verdicts[:5]), "within 100 ms"


def test_line_noise_is_no_echo() -> None:
    noise = np.random.default_rng(0).normal(size=2 * RATE) * 1000
    assert not any(judge(slin(voice(1)), slin(noise)))


@unhurried
@given(st.binary(min_size=2 * FRAME * 12, max_size=2 * FRAME * 12), st.booleans())
def test_where_nothing_was_spoken_nothing_is_an_echo(caller: bytes, silent: bool) -> None:
    assert not any(judge(None if silent else bytes(len(caller)), caller))


def test_a_quiet_frame_is_none() -> None:
    agent = voice(1)
    quiet = agent / np.max(np.abs(agent)) * 32768 * gain(FLOOR_DBFS - 3)
    guard = EchoGuard(RATE)
    for at in range(0, 2 * agent.size, 2 * FRAME):
        guard.spoke(slin(agent)[at : at + 2 * FRAME])
        assert not guard.is_echo(slin(quiet)[at : at + 2 * FRAME])


def test_what_was_spoken_long_ago_comes_back_no_more() -> None:
    agent = slin(voice(1, seconds=0.2))
    guard, size = EchoGuard(RATE), 2 * FRAME
    for at in range(0, len(agent), size):
        guard.spoke(agent[at : at + size])
    for _ in range(MEMORY_MS // 20):
        guard.spoke(None)
    assert not any(guard.is_echo(agent[at : at + size]) for at in range(0, len(agent), size))


def test_a_rate_that_is_no_multiple_of_the_line_s_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8000"):
        EchoGuard(11025)
