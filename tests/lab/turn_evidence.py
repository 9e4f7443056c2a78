"""What the product's own ear and engines make of a turn, once and for all: so that it can be judged in many ways.

The turn goes through the product's Ear, which never finds it over; at each pause the engines are asked what they would
be asked in a call, and all that they say is kept, in memory and below the user's cache (the engines take half a second
a turn). `tests.lab.turn_replay` plays turn taking over what was kept.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt
import openai
import trio

from agentd.audio.formats import FRAME_MS
from agentd_providers.local import moonshine, sentence_end, smart_turn
from agentd_providers.local.models import catalogue
from agentd_providers.local.voice_activity import WINDOW_MS, VoiceActivityEngine
from agentd_providers.openai.chat_forms import transcript
from agentd_providers.pipeline.ear import Ear
from agentd_providers.pipeline.stages import Message, PipelineSettings, Role
from agentd_providers.turns.end_of_turn import PatienceSettings
from agentd_providers.turns.ghosts import judge
from agentd_providers.turns.settings import TurnSettings
from agentd_providers.turns.tags import without_tags
from agentd_providers.turns.taker import Signal

from .debian import cache
from .turn_set import RATE, TurnSample, quiet

SYSTEM: Final = Message(
    Role.SYSTEM, "You are a friendly assistant on the telephone. Answer in one or two short sentences."
)
GREETING: Final = Message(Role.ASSISTANT, "Hello, how can I help you?")
FOREVER: Final = PatienceSettings(1e9, 1e9, 1e9, 1e9)
TAIL: Final = 1.6
"""Seconds after the turn that are listened to: beyond the last look."""
FORM: Final = 1
"""Of what is kept; another one is gathered anew."""

Floats = npt.NDArray[np.float32]


@attrs.frozen(eq=False)
class Look:
    """What Smart Turn says at one look at a pause's sound, and what its encoder comes to."""

    smart: float
    pooled: Floats


@attrs.frozen
class Pause:
    """What is known of one pause of the caller."""

    words: str
    doubted: bool
    """The words are taken for invented (agentd_providers.turns.ghosts)."""
    sentence: float | None
    """None where the model was not asked: there are no words."""
    looks: Sequence[Look]
    """As many as the pause was long enough for."""


@attrs.frozen
class Evidence:
    """A turn as the product hears it."""

    sample: TurnSample
    windows: Sequence[float]
    """Probabilities of speech, of WINDOW_MS each, from the beginning of the sample on."""
    pauses: Sequence[Pause]

    @property
    def ends(self) -> float:
        """The ms at which the caller has finished."""
        return self.sample.span.end * 1000

    @property
    def resumes(self) -> float:
        """The ms at which the caller goes on after the hesitation; the beginning where there is none."""
        return 0.0 if self.sample.pause is None else self.sample.pause.end * 1000


@attrs.define(eq=False)
class _Recorder:
    """Stands in for the transcriber, the judge and the call: it keeps what each would be asked."""

    asked: list["_Asked"] = attrs.field(factory=list)
    looks: int = 0
    heard: bytearray = attrs.field(factory=bytearray)
    ear: Any = None

    def begin(self) -> "_Recorder":
        self.heard.clear()
        return self

    def feed(self, pcm: bytes) -> None:
        self.heard += pcm

    async def words(self) -> str:
        raise AssertionError("never asked")

    def close(self) -> None:
        pass

    async def judge(self, pcm: bytes, rate: int, look: int) -> float:
        await trio.lowlevel.checkpoint()
        self.asked[-1].sounds.append(pcm)
        return 0.5

    def decided(self, signal: Signal, at: float) -> None:
        if signal is Signal.PAUSED:
            self.asked.append(_Asked(bytes(self.heard), self.ear.speech))
        elif signal is Signal.LOOK:
            self.looks += 1


@attrs.define(eq=False)
class _Asked:
    pcm: bytes
    speech: Any
    sounds: list[bytes] = attrs.field(factory=list)


@attrs.define(eq=False)
class Gatherer:
    """Gathers evidence with the engines of this host; `client` is of the embedded model's server."""

    voice_activity: VoiceActivityEngine
    client: openai.AsyncOpenAI
    folder: Path = attrs.field(factory=lambda: cache(os.environ) / "voices/heard")
    times: dict[str, list[float]] = attrs.field(factory=lambda: {"words": [], "sound": [], "sentence": []})
    """How long the engines took, in ms."""

    async def gather(self, sample: TurnSample) -> Evidence:
        """All that is to be known of a turn; what is kept of an earlier time is taken. Raises ProviderError."""
        path = self.folder / f"{_digest(sample)}.npz"
        if path.is_file():
            return await trio.to_thread.run_sync(_read, path, sample)
        windows, asked = await _listen(sample, self.voice_activity)
        pauses = [await self._pause(one) for one in asked]
        found = Evidence(sample, windows, pauses)
        await trio.to_thread.run_sync(_write, path, found)
        return found

    async def _pause(self, asked: _Asked) -> Pause:
        heard = await self._timed("words", moonshine.transcribe, str(catalogue.locate("moonshine-tiny-en")), asked.pcm)
        words = without_tags(heard.strip())
        doubt = judge(words, asked.speech, TurnSettings().sure_ms).doubt
        model = str(catalogue.locate("smart-turn-v3.2"))
        looks = [Look(*await self._timed("sound", smart_turn.hear, model, pcm)) for pcm in asked.sounds]
        return Pause(words, bool(doubt), await self._sentence(words) if words else None, looks)

    async def _timed(self, name: str, engine: Callable[..., Any], model: str, pcm: bytes) -> Any:
        began = trio.current_time()
        found = await trio.to_thread.run_sync(engine, model, pcm, RATE)
        self.times[name].append(1000 * (trio.current_time() - began))
        return found

    async def _sentence(self, words: str) -> float:
        began = trio.current_time()
        prompt = transcript([SYSTEM, GREETING, Message(Role.USER, words)])
        found = await sentence_end.ask(self.client, "", prompt, deadline=30)
        self.times["sentence"].append(1000 * (trio.current_time() - began))
        return found


async def _listen(sample: TurnSample, voice_activity: VoiceActivityEngine) -> tuple[list[float], list[_Asked]]:
    """The turn through the product's ear: the windows' probabilities, and what would be asked at each pause."""
    taking = attrs.evolve(TurnSettings().turn_taking("en"), patience=FOREVER, max_turn_ms=1e9)
    settings = PipelineSettings("", taking, WINDOW_MS, TurnSettings().pre_roll_ms)
    recorder = _Recorder()
    detector = _Kept(voice_activity.detector(RATE))
    ear = Ear(RATE, settings, detector, recorder, recorder, recorder.decided, lambda _event: None)
    recorder.ear = ear
    frame = 2 * RATE * FRAME_MS // 1000
    end = 2 * round((sample.span.end + TAIL) * RATE)
    pcm = sample.pcm + quiet(sample.pcm, max(0, end - len(sample.pcm)) / 2 / RATE, 0)
    for at in range(0, end, frame):
        ear.hear(pcm[at : at + frame], at / 2 / RATE, agent_audible=False)
        for _ in range(recorder.looks):
            await ear.judge_sound(ear.pause)
        recorder.looks = 0
    return detector.heard, recorder.asked


@attrs.define(eq=False)
class _Kept:
    """A detector whose probabilities are kept."""

    detector: Any
    heard: list[float] = attrs.field(factory=list)

    def feed(self, pcm: bytes, *, keep_open: bool) -> list[float]:
        found: list[float] = self.detector.feed(pcm, keep_open=keep_open)
        self.heard += found
        return found


def _digest(sample: TurnSample) -> str:
    looks = TurnSettings().turn_taking("en").looks_ms
    about = json.dumps([FORM, looks, sample.span.end, "moonshine-tiny-en", "smart-turn-v3.2", "smollm2-135m"])
    return hashlib.sha256(about.encode() + sample.pcm).hexdigest()


def _write(path: Path, found: Evidence) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pooled = [look.pooled for pause in found.pauses for look in pause.looks]
    told = [
        [pause.words, pause.doubted, pause.sentence, [look.smart for look in pause.looks]] for pause in found.pauses
    ]
    unfinished = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(unfinished, windows=found.windows, pooled=np.array(pooled, np.float32), told=json.dumps(told))
    unfinished.rename(path)


def _read(path: Path, sample: TurnSample) -> Evidence:
    with np.load(path, allow_pickle=False) as kept:
        pooled = iter(kept["pooled"])
        pauses = [
            Pause(words, doubted, sentence, [Look(smart, next(pooled)) for smart in smarts])
            for words, doubted, sentence, smarts in json.loads(str(kept["told"]))
        ]
        return Evidence(sample, [float(value) for value in kept["windows"]], pauses)
