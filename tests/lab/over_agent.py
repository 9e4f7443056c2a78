"""What becomes of an agent that speaks when a sound comes: the product's ear in the audio's own time, without a PBX."""

from collections.abc import Callable

import attrs
import trio

from agentd_providers.local.voice_activity import WINDOW_MS, VoiceActivityEngine
from agentd_providers.pipeline.answer import Answer
from agentd_providers.pipeline.ear import Ear
from agentd_providers.pipeline.stages import PipelineSettings, SoundJudge, Transcriber
from agentd_providers.turns.settings import TurnSettings
from agentd_providers.turns.taker import Signal

RATE = 8000
FRAME = RATE // 50 * 2
FRAME_MS = 20.0
WORDS_MS = 160.0
"""From a pause to its words: an engine's time on two cores that do nothing else."""


@attrs.define
class Course:
    """What the agent did. All in ms of the audio."""

    silent: float = 0.0
    """The longest that it was silent for, and went on afterwards."""
    stopped: float | None = None
    """When it fell silent for good; None: it did not."""
    taken: float | None = None
    """When the turn was taken."""
    doubted: float | None = None
    """When it first went on because of the sound."""
    words: str = ""
    """The last that were heard."""


@attrs.frozen
class Listener:
    """An ear, for sounds over an agent that never stops by itself. Without a transcriber there are no words."""

    activity: VoiceActivityEngine
    sounds: SoundJudge | None
    transcriber: Transcriber
    turn: TurnSettings = attrs.field(factory=TurnSettings)
    with_words: bool = True

    async def hear(self, pcm: bytes, *, asked: bool = False) -> Course:
        """Let 8 kHz slin come."""
        settings = PipelineSettings("", self.turn.turn_taking("en"), WINDOW_MS, self.turn.pre_roll_ms)
        signals: list[Signal] = []
        ear = Ear(
            RATE,
            settings,
            self.activity.detector(RATE),
            self.transcriber,
            None,
            lambda signal, _at: signals.append(signal),
            lambda _event: None,
            sounds=self.sounds,
        )
        course, paused = Course(), Pausing()
        due: tuple[float, Callable[[], None]] | None = None
        for number in range(len(pcm) // FRAME):
            now = (number + 1) * FRAME_MS
            ear.hear(pcm[number * FRAME : (number + 1) * FRAME], 0.0, agent_audible=True, asked=asked)
            if due is not None and now >= due[0]:
                due[1]()
                due = None
            for signal in signals:
                if signal is Signal.PAUSED and self.with_words:
                    due = (now + WORDS_MS, await self._words(ear, settings, course))
                paused.follow(signal, now, course)
            signals.clear()
            if course.taken is not None:
                break
        ear.close()
        return course

    async def _words(self, ear: Ear, settings: PipelineSettings, course: Course) -> Callable[[], None]:
        draft = Answer(ear.pause, 0.0, speech=ear.speech)
        await trio.lowlevel.checkpoint()
        assert ear.transcript is not None
        said = draft.take_words(await ear.transcript.words(), settings.turns.sure_ms, lambda _text: False)
        course.words = said

        def tell() -> None:
            ear.know_words(draft.pause, said, doubted=bool(draft.judgement.doubt))

        return tell


@attrs.define
class Pausing:
    """Since when the agent is silent."""

    since: float | None = None

    def follow(self, signal: Signal, now: float, course: Course) -> None:
        """Do as the call does."""
        match signal:
            case Signal.CONFIRMED:
                self.since = now if self.since is None else self.since
            case Signal.DOUBTED | Signal.DISMISSED:
                if signal is Signal.DOUBTED and course.doubted is None:
                    course.doubted = now
                if self.since is not None:
                    course.silent = max(course.silent, now - self.since)
                self.since = None
            case Signal.TAKEN:
                course.taken, course.stopped = now, now if self.since is None else self.since
