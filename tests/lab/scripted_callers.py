"""Callers who hesitate, of whom everything is scripted but the language model's part: what they say is known without an
engine, and the voice that answers them takes no time."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import attrs
import trio

from agentd import session_events as tells
from agentd.agent import CallInfo
from agentd.config.settings import AgentConfig
from agentd.history import History
from agentd.playout import PlayoutBuffer
from agentd_providers.pipeline.agent import pipeline_settings
from agentd_providers.pipeline.session import PipelineSession, open_pipeline
from agentd_providers.pipeline.sound import in_one_piece
from agentd_providers.pipeline.speech_output import SpeechOutput
from agentd_providers.pipeline.stages import Responder, Transcript
from agentd_providers.turns.settings import TurnSettings

RATE, FRAME_SECONDS = 8000, 0.02
LOUD, SILENT = bytes([0, 16]) * 160, bytes(320)
WORD_SECONDS = 0.28
ANSWER_WITHIN = 20.0
LISTENS = 2.0
"""Seconds that a caller listens to an answer, and thinks."""
CONFIG = AgentConfig(greeting="")

Part = tuple[str, float]
"""Words, and the seconds of silence after them."""
Turn = Sequence[Part]

TURNS: Sequence[Turn] = (
    (("I would like to book a table for", 0.6), ("four people on", 0.5), ("Friday evening at eight.", 0.0)),
    (("Can you tell me whether the", 0.5), ("kitchen is open after", 0.7), ("ten o'clock?", 0.0)),
    (("My name is", 0.7), ("Miller and my number is the", 0.5), ("one I am calling from.", 0.0)),
    (("Is there a place to", 0.4), ("park the car near the", 0.6), ("restaurant, or a garage?", 0.0)),
    (("We will be coming with a", 0.6), ("small child, so we need a", 0.5), ("high chair, please.", 0.0)),
    (("And one of us cannot eat", 0.7), ("nuts, so could you tell the", 0.4), ("cook about that?", 0.0)),
    (("What do you have for", 0.5), ("people who do not eat meat or", 0.6), ("fish?", 0.0)),
    (("Then I think that this is", 0.6), ("all I wanted to know, but could you", 0.5), ("repeat the time?", 0.0)),
)
"""What callers say: each hesitates twice, in the middle of a sentence."""


@attrs.frozen
class Answered:
    """The answer to a turn: milliseconds from the caller's last pause on until its first token, and until its first
    clause is there; milliseconds from when that may be heard until the second one is there, if there is one."""

    first_token_ms: float
    first_clause_ms: float
    second_clause_ms: float | None = None


@attrs.define
class Outcome:
    """What became of a call's turns."""

    answers: list[Answered] = attrs.field(factory=list)
    turns: int = 0
    hesitations: int = 0
    cut_off: int = 0
    """Hesitations that were taken for an end."""
    unanswered: int = 0
    failures: list[str] = attrs.field(factory=list)


class ScriptedDetector:
    """Speech is what is not silence."""

    def feed(self, pcm: bytes, *, keep_open: bool) -> list[float]:
        return [0.99 if any(pcm) else 0.01]


@attrs.define(eq=False)
class ScriptedTranscript:
    """The words of one turn: those from number `begin` on."""

    spoken: list[str]
    begin: int

    def feed(self, pcm: bytes) -> None:
        pass

    async def words(self) -> str:
        await trio.lowlevel.checkpoint()
        return " ".join(self.spoken[self.begin :])

    def close(self) -> None:
        pass


@attrs.define(eq=False)
class ScriptedTranscriber:
    """Knows at once what the caller has said."""

    spoken: list[str] = attrs.field(factory=list)

    def begin(self) -> Transcript:
        return ScriptedTranscript(self.spoken, len(self.spoken) - 1)


class InstantVoice:
    """Speaks a clause in no time."""

    @asynccontextmanager
    async def speak(self, text: str, rate: int) -> AsyncIterator[AsyncIterator[bytes]]:
        async with in_one_piece(bytes(rate // 5 * 2)) as pieces:
            yield pieces


@attrs.define(eq=False)
class ScriptedCaller:
    """One call of a pipeline's session, at the pace of a telephone line."""

    name: str
    responder: Responder
    on_answer: Callable[[], None] = lambda: None
    outcome: Outcome = attrs.field(factory=Outcome)
    history: History = attrs.field(factory=History, init=False)
    _transcriber: ScriptedTranscriber = attrs.field(factory=ScriptedTranscriber, init=False)
    _session: PipelineSession = attrs.field(init=False)
    _hesitates: bool = attrs.field(default=False, init=False)
    """The turn is not at its end yet."""
    _over: bool = attrs.field(default=False, init=False)
    """The whole turn was taken for one."""
    _waiting: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stages: dict[str, float] = attrs.field(factory=dict, init=False)
    _words: dict[int, str] = attrs.field(factory=dict, init=False)
    _clauses_at: list[float] = attrs.field(factory=list, init=False)
    """When each clause of the answer came that is being heard."""

    def __attrs_post_init__(self) -> None:
        turn = TurnSettings(smart_turn=False)
        settings = pipeline_settings(CONFIG, turn, (), "", FRAME_SECONDS * 1000)
        self._session = PipelineSession(
            CallInfo(self.name),
            self.history,
            SpeechOutput(PlayoutBuffer(3600.0), InstantVoice(), RATE),
            settings,
            ScriptedDetector(),
            self._transcriber,
            None,
            self.responder,
            lambda _seconds: None,
        )

    async def call(self, turns: Sequence[Turn]) -> None:
        """Say all of it, a turn after the other's answer."""
        async with trio.open_nursery() as nursery, open_pipeline(self._session):
            nursery.start_soon(self._follow)
            for turn in turns:
                await self._say(turn)
                await self._feed(SILENT, LISTENS)
            nursery.cancel_scope.cancel()

    async def _say(self, turn: Turn) -> None:
        self.outcome.turns += 1
        self._over, self._waiting = False, trio.Event()
        for number, (words, silence) in enumerate(turn, 1):
            self._hesitates = number < len(turn)
            self.outcome.hesitations += self._hesitates
            self._transcriber.spoken.append(words)
            await self._feed(LOUD, WORD_SECONDS * len(words.split()))
            await self._feed(SILENT, silence)
        with trio.move_on_after(ANSWER_WITHIN) as patience:
            while not self._waiting.is_set():
                await self._feed(SILENT, FRAME_SECONDS)
        self.outcome.unanswered += patience.cancelled_caught
        self.on_answer()

    async def _feed(self, pcm: bytes, seconds: float) -> None:
        began = trio.current_time()
        for number in range(round(seconds / FRAME_SECONDS)):
            self._session.feed(pcm, trio.current_time())
            await trio.sleep_until(began + (number + 1) * FRAME_SECONDS)

    async def _follow(self) -> None:
        """Be the call."""
        session = self._session
        async for event in session.events:
            match event:
                case tells.CallerSpeechStarted():
                    session.withhold()
                case tells.CallerTakesTurn():
                    session.interrupt()
                case tells.CallerSpeechDismissed():
                    session.answer()
                case tells.CallerSpeechEnded():
                    self.outcome.cut_off += self._hesitates
                    self._over = not self._hesitates
                    self._stages.clear()
                    session.answer()
                case tells.StageTiming(stage, seconds):
                    self._stages[stage] = seconds
                case tells.UtteranceStarted():
                    self._clauses_at.clear()
                case tells.AgentText(utterance, text):
                    self._clauses_at.append(trio.current_time())
                    self._words[utterance] = f"{self._words.get(utterance, '')} {text}".strip()
                case tells.UtteranceEnded(utterance):
                    self._hear(utterance)
                case tells.NothingToSay(reason):
                    self._note(reason)
                case tells.AnswerFailed(reason):
                    self._note(reason)

    def _hear(self, utterance: int) -> None:
        words = self._words.pop(utterance, "")
        self.history.agent_speaks(utterance)
        self._session.started(utterance)
        self.history.agent_heard(utterance, words, words)
        self._session.heard(utterance, 1000, True)
        if self._over:
            if "first_token" in self._stages:
                token = self._stages["first_token"] + self._stages.get("transcript", 0.0)
                clause = token + self._stages["first_audio"]
                between = [1000 * (second - first) for first, second in pairwise(self._clauses_at[:2])]
                self.outcome.answers.append(Answered(1000 * token, 1000 * clause, *between))
            self._waiting.set()

    def _note(self, failure: str) -> None:
        self.outcome.failures.append(failure)
        if self._over:
            self.outcome.unanswered += 1
            self._waiting.set()
