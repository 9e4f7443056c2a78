"""What takes no turn, and what does: 35 noises of a line, 80 sounds of a throat, 40 times a lone "you" or "thank you".

Noises are made here, but for the tones and the music on hold, which are Asterisk's. The words are recorded where
Debian's prompts have them by themselves, and spoken by Piper otherwise, one voice only: at several speeds, pitches and
levels. All is 8 kHz slin. Deterministic but for Piper, which never speaks twice alike.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
import trio
from scipy.signal import butter, lfilter, resample_poly

from agentd.audio.g711 import slin_to_ulaw, ulaw_to_slin
from agentd_providers.local import piper
from agentd_providers.local.models import catalogue

from . import distractors
from .debian import Wanted, unpacked
from .prefix import LabUnavailable
from .speech import Prompt, read_wav

RATE = 8000
VOICE = "en_US-joe-medium"
MUSIC = Wanted(
    "music on hold",
    ("asterisk-moh-opsound-wav",),
    "pbx/moh",
    "14 MB",
    "Without it chords that are made stand in for it.",
)
PIECES = (
    ("macroform-cold_day", 20),
    ("macroform-robot_dity", 12),
    ("macroform-the_simplicity", 30),
    ("manolo_camp-morning_coffee", 8),
    ("reno_project-system", 40),
)
"""Music, and the second from which on 4 s of it are heard."""
RECORDED_TONES = ("beep", "beeperr", "ascending-2tone", "tt-monkeys")
DTMF = {"1": (697, 1209), "5": (770, 1336), "9": (852, 1477), "#": (941, 1477)}
RECORDED_WORDS = {
    "auth-thankyou": "thank you", "privacy-thankyou": "thank you", "goodbye": "goodbye", "vm-goodbye": "goodbye",
}  # fmt: skip
"""Prompts in which nothing else is said."""
SPOKEN = (
    *(("You.", speed, pitch, level) for speed, pitch, level in
      ((1.0, 1.0, -20), (1.3, 1.0, -26), (0.85, 1.15, -20), (1.1, 1.25, -23), (1.0, 0.9, -32), (1.2, 1.1, -23),
       (0.9, 1.0, -17), (1.0, 1.2, -26), (1.4, 0.95, -20))),
    *(("Thank you.", speed, pitch, level) for speed, pitch, level in
      ((1.0, 1.0, -20), (1.3, 1.0, -26), (0.85, 1.15, -20), (1.1, 1.25, -23), (1.0, 0.9, -32), (0.8, 1.0, -23),
       (1.0, 1.2, -26), (1.2, 0.95, -17))),
    *(("Bye-bye.", speed, pitch, level) for speed, pitch, level in
      ((1.0, 1.0, -20), (1.3, 1.0, -26), (0.85, 1.15, -20), (1.1, 1.25, -23), (1.0, 0.9, -32), (0.8, 1.0, -23),
       (1.0, 1.2, -26), (1.2, 0.95, -17), (1.1, 1.1, -20), (0.9, 1.05, -29))),
    *(("Goodbye.", speed, pitch, level) for speed, pitch, level in
      ((1.0, 1.0, -20), (1.3, 1.0, -26), (0.85, 1.15, -20), (1.1, 1.25, -23), (1.0, 0.9, -32), (0.8, 1.0, -23),
       (1.0, 1.2, -26), (1.2, 0.95, -17), (0.9, 1.05, -29))),
)  # fmt: skip
"""What Piper says, how long it takes for it against its usual, how high its voice is, at how many dBFS."""

SHORT, LONGEST = 3, 2.0
"""Words, and seconds, of a prompt that is short."""

Samples = npt.NDArray[np.float64]


@attrs.frozen
class Sound:
    """One thing that is heard of a caller's side; `words` is empty where it is no speech."""

    kind: str
    name: str
    pcm: bytes = attrs.field(repr=False)
    words: str = ""
    hiss: float = 12.0
    """RMS of the line's own noise, in 16-bit steps: usually -69 dBFS."""


def through_the_line(pcm: bytes) -> bytes:
    """As u-law carries it."""
    return ulaw_to_slin(slin_to_ulaw(pcm))


def throats(first_seed: int) -> list[Sound]:
    """80 coughs, throats that are cleared, breaths and clicks: 20 of each, from that seed on."""
    kinds: dict[str, Callable[[int], bytes]] = {
        "cough": distractors.cough,
        "throat": distractors.throat_clearing,
        "breath": distractors.breath,
        "clicks": distractors.clicks,
    }
    return [
        Sound("throat", f"{kind} {seed}", make(seed))
        for kind, make in kinds.items()
        for seed in range(first_seed, first_seed + 20)
    ]


async def noises(prompts: Sequence[Prompt], progress: Callable[[str], None]) -> list[Sound]:
    """35 noises of a line and of a room. `progress` hears what is fetched for them."""
    made: dict[str, bytes] = {
        "hiss, faint": _hiss(1, -52.0),
        "hiss, loud": _hiss(3, -28.0),
        "hiss, pink": _level(_coloured(4, 3.0, 0.9), -30.0),
        "rumble of a car": _level(_coloured(5, 3.0, 0.99), -26.0),
        "mains hum, 60 Hz": _hum(60.0),
        "hiss and hum, sudden": distractors.line_noise(1),
        "fan": _fan(6),
        "vacuum cleaner": _fan(7, blades=210.0, dbfs=-18.0),
        "street": _street(8),
        "wind": _wind(9),
        "rain": _rain(10),
        "crackle": _crackle(11),
        "keyboard": _keys(12),
        "knock on the table": _knocks(13),
        "door": _knocks(14, hertz=70.0, count=1),
        "ring tone, America": _tones([(440, 480)], 2.0, 3.0),
        "ring tone, Europe": _tones([(425,)], 1.0, 3.0),
        "busy": _tones([(480, 620)], 0.5, 3.0, pause=0.5),
        "fax": _tones([(1100,)], 0.5, 3.5, pause=1.0),
        "modem": _modem(15),
        "siren": _siren(),
        "birds": _birds(16),
        **{f"DTMF {key}": _tones([pair], 0.2, 1.2, pause=0.3, dbfs=-12.0) for key, pair in DTMF.items()},
    }
    recorded = await _recorded(prompts, progress)
    return [Sound("noise", name, pcm) for name, pcm in (made | recorded).items()]


def spoken(prompts: Sequence[Prompt]) -> list[Sound]:
    """40 times a lone "you", "thank you", "bye-bye" or "goodbye". Blocks: Piper speaks 36 of them."""
    by_name = {prompt.name: prompt for prompt in prompts}
    found = [
        Sound("spoken", f"{words}, recorded ({name})", by_name[name].pcm(), words)
        for name, words in RECORDED_WORDS.items()
    ]
    voice = str(catalogue.locate(VOICE))
    for text, slower, pitch, dbfs in SPOKEN:
        pcm = piper.synthesise(voice, 2, slower * pitch, text, RATE)
        raised = resample_poly(np.frombuffer(pcm, "<i2").astype(np.float64), 20, round(20 * pitch))
        name = f"{text} Piper x{slower:g}, pitch {pitch:g}, {dbfs} dBFS"
        found.append(Sound("spoken", name, _level(np.asarray(raised), dbfs), text.lower().strip(".")))
    return found


def short_words(prompts: Sequence[Prompt]) -> list[Sound]:
    """The recorded prompts of one to three words: digits, letters, months. Who drops them drops callers."""
    found = [prompt for prompt in prompts if len(prompt.text.split()) <= SHORT and "<" not in prompt.text]
    lasting = [(prompt, prompt.pcm()) for prompt in found]
    return [Sound("short", prompt.name, pcm, prompt.text) for prompt, pcm in lasting if len(pcm) < LONGEST * RATE * 2]


def in_noise(sound: Sound, decibels: float) -> Sound:
    """The same on a line whose hiss is so much weaker."""
    samples = np.frombuffer(sound.pcm, "<i2").astype(np.float64)
    loud = samples[np.abs(samples) > 0.05 * np.max(np.abs(samples))]
    return attrs.evolve(sound, hiss=float(np.sqrt(np.mean(loud**2))) * 10 ** (-decibels / 20))


async def _recorded(prompts: Sequence[Prompt], progress: Callable[[str], None]) -> dict[str, bytes]:
    """Asterisk's own tones, and music on hold."""
    sounds = prompts[0].path.parent
    while not (sounds / "beep.wav").is_file():
        sounds = sounds.parent
    found = {name: read_wav(sounds / f"{name}.wav")[: 4 * RATE * 2] for name in RECORDED_TONES}
    try:
        folder: Path | None = await unpacked(MUSIC, progress) / "usr/share/asterisk/moh"
    except LabUnavailable as error:
        progress(str(error))
        folder = None
    for number, (name, second) in enumerate(PIECES):
        if folder is None:
            found[f"music {number}"] = _chords(number)
        else:
            pcm = await trio.to_thread.run_sync(partial(read_wav, folder / f"{name}.wav"))
            found[f"music: {name}"] = pcm[second * RATE * 2 : (second + 4) * RATE * 2]
    return found


def _time(seconds: float) -> Samples:
    return np.arange(round(seconds * RATE)) / RATE


def _noise(seed: int, seconds: float) -> Samples:
    return np.random.default_rng(seed).normal(0, 1, round(seconds * RATE))


def _coloured(seed: int, seconds: float, pole: float) -> Samples:
    return np.asarray(lfilter([1.0], [1.0, -pole], _noise(seed, seconds)))


def _band(samples: Samples, low: float, high: float) -> Samples:
    numerator, denominator = butter(2, [low, high], "bandpass", fs=RATE)
    return np.asarray(lfilter(numerator, denominator, samples))


def _hiss(seed: int, dbfs: float) -> bytes:
    return _level(_noise(seed, 3.0), dbfs)


def _hum(hertz: float) -> bytes:
    time = _time(3.0)
    return _level(sum((np.sin(2 * np.pi * hertz * n * time) / n for n in range(1, 8)), np.zeros(len(time))), -24.0)


def _fan(seed: int, blades: float = 90.0, dbfs: float = -30.0) -> bytes:
    time = _time(3.0)
    turning = 1 + 0.4 * np.sin(2 * np.pi * blades / 6 * time)
    tone = sum((np.sin(2 * np.pi * blades * n * time) / n for n in (1, 2, 3)), np.zeros(len(time)))
    return _level((_coloured(seed, 3.0, 0.8) + tone) * turning, dbfs)


def _street(seed: int) -> bytes:
    """Two cars pass over a rumble, and one hoots."""
    time = _time(4.0)
    passing = sum((np.exp(-(((time - at) / 0.5) ** 2)) for at in (1.0, 3.0)), np.zeros(len(time)))
    hoot = (np.abs(time - 2.2) < 0.2) * (np.sin(2 * np.pi * 420 * time) + np.sin(2 * np.pi * 530 * time))
    noise = _band(_noise(seed, 4.0), 80, 1200)
    return _level(_coloured(seed + 1, 4.0, 0.97) / 4 + 3 * noise * passing + 0.5 * hoot, -26.0)


def _wind(seed: int) -> bytes:
    """Gusts over a microphone."""
    gusts = np.abs(np.asarray(lfilter(*butter(1, 2.0, fs=RATE), _noise(seed, 3.0))))
    return _level(_coloured(seed + 1, 3.0, 0.98) * gusts, -20.0)


def _rain(seed: int) -> bytes:
    drops = np.random.default_rng(seed).random(3 * RATE) < 0.02
    return _level(_band(drops * _noise(seed + 1, 3.0), 1000, 3500), -34.0)


def _crackle(seed: int) -> bytes:
    return _level(
        (np.random.default_rng(seed).random(3 * RATE) < 0.002) * _noise(seed + 1, 3.0) + 0.002 * _noise(seed, 3.0),
        -20.0,
    )


def _keys(seed: int) -> bytes:
    """Somebody types: two clicks a key, eight keys a second."""
    chance, samples = np.random.default_rng(seed), np.zeros(3 * RATE)
    for at in np.cumsum(chance.uniform(0.07, 0.2, 20)):
        for begin, strength in ((at, 1.0), (at + 0.04, 0.4)):
            first = round(begin * RATE)
            samples[first : first + 120] += (
                strength * chance.normal(0, 1, 120)[: len(samples[first : first + 120])] * np.exp(-np.arange(120) / 20)
            )
    return _level(_band(samples, 500, 3500), -24.0)


def _knocks(seed: int, hertz: float = 180.0, count: int = 3) -> bytes:
    time, samples = _time(0.2), np.zeros(2 * RATE)
    for number in range(count):
        first = round((0.3 + 0.25 * number) * RATE)
        samples[first : first + len(time)] += np.sin(2 * np.pi * hertz * time) * np.exp(-time / 0.03)
        samples[first : first + 160] += 0.3 * _noise(seed + number, 0.02)
    return _level(samples, -16.0)


def _tones(
    chords: Sequence[Sequence[float]], on: float, seconds: float, pause: float = 0.5, dbfs: float = -18.0
) -> bytes:
    time = _time(seconds)
    sounding = (time % (on + pause)) < on
    tones = sum((np.sin(2 * np.pi * hertz * time) for chord in chords for hertz in chord), np.zeros(len(time)))
    return _level(tones * sounding, dbfs)


def _modem(seed: int) -> bytes:
    bits = np.repeat(np.random.default_rng(seed).integers(0, 2, 900), RATE // 300)
    return _level(np.sin(2 * np.pi * np.cumsum(np.where(bits, 1270.0, 1070.0)) / RATE), -20.0)


def _siren() -> bytes:
    time = _time(4.0)
    return _level(np.sin(2 * np.pi * np.cumsum(700 + 300 * np.sin(2 * np.pi * 0.7 * time)) / RATE), -24.0)


def _birds(seed: int) -> bytes:
    chance, samples = np.random.default_rng(seed), np.zeros(3 * RATE)
    for at in chance.uniform(0.1, 2.7, 12):
        time = _time(0.12)
        sweep = chance.uniform(2000, 3000) + chance.uniform(-6000, 6000) * time
        first = round(at * RATE)
        samples[first : first + len(time)] += np.sin(2 * np.pi * np.cumsum(sweep) / RATE) * np.hanning(len(time))
    return _level(samples, -28.0)


def _chords(number: int) -> bytes:
    """Plucked triads, two a second: what stands in for music."""
    time, samples = _time(0.5), np.zeros(4 * RATE)
    for beat in range(8):
        root = 220.0 * 2 ** (((beat * 5 + number * 3) % 12) / 12)
        tones = [np.sin(2 * np.pi * root * ratio * n * time) / n for ratio in (1, 1.26, 1.5) for n in (1, 2, 3)]
        samples[beat * len(time) : (beat + 1) * len(time)] = sum(tones) * np.exp(-time / 0.25)
    return _level(samples, -22.0)


def _level(samples: Samples, dbfs: float) -> bytes:
    """At that RMS, measured where there is sound."""
    sounding = samples[np.abs(samples) > 0.05 * np.max(np.abs(samples))]
    scaled = samples * (32768 * 10 ** (dbfs / 20) / np.sqrt(np.mean(sounding**2)))
    return bytes(np.clip(np.rint(scaled), -32768, 32767).astype("<i2").tobytes())
