"""The ear of a pipeline's session: the caller's audio, whether it is speech, and when a turn begins, pauses and ends.

Audio goes: `hear` -> voice activity -> turn taking; that of a turn goes to the transcriber as well. The session is told
at once what turn taking decides, and acts on it: the answers are the session's.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.audio.level import rms_dbfs
from agentd.errors import ProviderError
from agentd.session_events import Degraded, SessionEvent
from agentd_providers.pipeline.first_sound import FirstSound
from agentd_providers.pipeline.stages import (
    PipelineSettings,
    SoundJudge,
    Transcriber,
    Transcript,
    TurnJudge,
    VoiceDetector,
)
from agentd_providers.pipeline.turn_audio import TurnAudio
from agentd_providers.turns.end_of_turn import Sound
from agentd_providers.turns.ghosts import Evidence, Speech
from agentd_providers.turns.taker import RESUME_MS, Signal, TurnTaker

log = structlog.get_logger("agentd_providers.pipeline")

CUE_DEADLINE = deadlines.CUE.seconds


@attrs.define(eq=False)
class Ear:
    """One caller's, for slin audio at `rate` Hz.

    While `by_sentence()` is true, `judge_sentence` is called at every pause; with `by_answer`, `know_answer` is.
    `decided(signal, at)` is told what turn taking has decided, at second `at`; neither it nor `emit` nor `agent_said`
    may block.
    """

    rate: int
    settings: PipelineSettings
    detector: VoiceDetector
    transcriber: Transcriber
    judge: TurnJudge | None
    decided: Callable[[Signal, float], None]
    emit: Callable[[SessionEvent], None]
    by_sentence: Callable[[], bool] = lambda: False
    by_answer: bool = False
    agent_said: Callable[[], str] = lambda: ""
    """The agent's last words, as far as they were heard."""
    sounds: SoundJudge | None = None
    transcript: Transcript | None = attrs.field(default=None, init=False)
    """That of the turn that lasts."""
    _taker: TurnTaker = attrs.field(init=False)
    _turn_audio: TurnAudio = attrs.field(init=False)
    _evidence: Evidence = attrs.field(init=False)
    _pre_roll: deque[bytes] = attrs.field(factory=deque, init=False)
    _judging: bool = attrs.field(default=False, init=False)
    _sound: FirstSound = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turn_audio = TurnAudio(self.rate)
        self._sound = FirstSound(self.rate)
        self._evidence = Evidence(self.settings.turns.threshold)
        self._taker = TurnTaker(
            self.settings.turns,
            by_sound=self.judge is not None,
            by_answer=self.by_answer,
            by_kinds=self.sounds is not None,
        )

    @property
    def pause(self) -> int:
        """The number of the caller's pause that lasts, or was last."""
        return self._taker.pause

    @property
    def silence(self) -> float:
        """Seconds that the caller has been silent within the turn."""
        return self._taker.silence_ms / 1000

    @property
    def speech(self) -> Speech:
        """What was measured of the speech in the turn so far."""
        return self._evidence.speech

    @property
    def dismissal(self) -> str:
        """Why the last turn that was dismissed was none."""
        return self._taker.dismissal

    def hear(self, pcm: bytes, at: float, *, agent_audible: bool, asked: bool = False) -> None:
        """Take caller audio that came at second `at`: judge it, and keep it if it belongs to a turn. `asked`: see
        TurnTaker.hear."""
        self._taker.by_sentence = self.by_sentence()
        probabilities = self.detector.feed(pcm, keep_open=self._taker.in_turn)
        if self.transcript is not None:
            self._listen(pcm)
        else:
            self._keep_pre_roll(pcm)
        self._sound.feed(pcm)
        window_ms, dbfs = self.settings.window_ms, rms_dbfs(pcm) if probabilities else 0.0
        for probability in probabilities:
            self._evidence.hear(probability, window_ms, dbfs, in_turn=self._taker.in_turn)
            heard = self._taker.hear(probability, window_ms, agent_audible=agent_audible, asked=asked)
            self._follow(heard, at)

    def hand_over(self) -> Transcript | None:
        """The transcript of a turn that is over: whoever takes it closes it."""
        transcript, self.transcript = self.transcript, None
        return transcript

    def close(self) -> None:
        """Free what the transcriber keeps of the turn that lasts."""
        if (transcript := self.hand_over()) is not None:
            transcript.close()

    # --- what becomes known of a pause

    def know_words(self, pause: int, words: str, *, doubted: bool) -> None:
        """See TurnTaker.know_words."""
        number = self.settings.turns.word_ends.asks_for(self.agent_said())
        self._follow(self._taker.know_words(pause, words, doubted=doubted, number=number), trio.current_time())

    def know_no_words(self, pause: int) -> None:
        """See TurnTaker.know_no_words."""
        self._follow(self._taker.know_no_words(pause), trio.current_time())

    def know_answer(self, pause: int) -> None:
        """See TurnTaker.know_answer."""
        self._follow(self._taker.know_answer(pause), trio.current_time())

    async def judge_sound(self, pause: int) -> None:
        """Have the sound of the turn judged; without that, words and silence decide alone. On a host where the look
        before has not come to an end there is no further one: it would only come later still."""
        if self.judge is None or self._judging:
            return
        self._judging, look = True, self._taker.look
        try:
            complete = await self._cue(partial(self.judge.judge, self._turn_audio.pcm, self.rate, look))
        finally:
            self._judging = False
        sound = None if complete is None else Sound(complete, look)
        self._follow(self._taker.know_sound(pause, sound), trio.current_time())

    async def judge_sentence(self, pause: int, ask: Callable[[], Awaitable[float]]) -> None:
        """Take what a language model says of the sentence, see Responder.sentence_end."""
        self._follow(self._taker.know_sentence(pause, await self._cue(ask)), trio.current_time())

    async def _cue(self, ask: Callable[[], Awaitable[float]]) -> float | None:
        """The judgement of a cue for the end of turns; None where it fails or comes too late to be of use."""
        with trio.move_on_after(CUE_DEADLINE):
            try:
                return await ask()
            except ProviderError as error:
                self.emit(Degraded(f"a cue for the end of turns is missing: {error}"))
        return None

    # --- turn taking

    def _follow(self, signals: Sequence[Signal], at: float) -> None:
        """Do with the audio what turn taking has decided, and tell."""
        for signal in signals:
            match signal:
                case Signal.STARTED:
                    self.transcript = self.transcriber.begin()
                    self._turn_audio.clear()
                    self._sound.begin()
                    while self._pre_roll:
                        self._listen(self._pre_roll.popleft())
                case Signal.PAUSED:
                    self._turn_audio.pause()
                case Signal.RESUMED:
                    log.debug("the caller goes on", **self._taker.evidence)
                    self._turn_audio.resume(RESUME_MS)
                    self._sound.begin()
                case Signal.WEIGH:
                    self._weigh(at)
                    continue
                case Signal.ENDED:
                    log.debug("the turn is over", **self._taker.evidence)
                case Signal.DISMISSED:
                    self.close()
            self.decided(signal, at)
            if signal in (Signal.ENDED, Signal.DISMISSED):
                self._evidence.forget()

    def _weigh(self, at: float) -> None:
        if self.sounds is not None:
            kinds = self.sounds.kinds(self._sound.pcm, self.rate, self._sound.begun)
            log.debug("a sound was weighed", noise=round(kinds.noise, 2), backchannel=round(kinds.backchannel, 2))
            self._follow(self._taker.know_kinds(kinds), at)

    def _listen(self, pcm: bytes) -> None:
        assert self.transcript is not None
        self.transcript.feed(pcm)
        self._turn_audio.feed(pcm)

    def _keep_pre_roll(self, pcm: bytes) -> None:
        """Keep what came before an onset is recognised: a first syllable is never lost."""
        self._pre_roll.append(pcm)
        longest = (self.settings.pre_roll_ms + self.settings.turns.start_ms) / 1000 * self.rate * 2
        while sum(map(len, self._pre_roll)) > longest + len(pcm):
            self._pre_roll.popleft()
