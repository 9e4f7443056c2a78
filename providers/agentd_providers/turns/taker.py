"""When a caller begins, pauses, goes on and has finished, and what was no turn at all. Pure: no clock, no I/O.

Time is the audio's own: every window of it that is heard is so many ms long. Facts that take longer to know (the words
so far, whether they sound finished) are told as they become known, by the number of the pause they were found out for.

    quiet ──▶ started ──▶ confirmed ──▶ taken ──▶ paused ⇄ resumed
                                                    │
                                                    ├──▶ ended       the turn is over
                                                    └──▶ dismissed   it was nothing

While the agent is audible the caller's sounds are suspected of being no turn: a backchannel ("mhm", "okay") or a sound
without words is dismissed as soon as it has ended, and a turn is taken by words that are more than that, or by speech
that goes on for longer than any backchannel does. Before there are words the sound is weighed (turns.first_sound):
where it is likely nothing it is *doubted*, which lets the agent go on; where more of it is a turn's after all, it is
confirmed once more. After a pause it is another sound.
"""

from collections.abc import Mapping
from enum import Enum, auto

import attrs

from agentd_providers.turns.end_of_turn import PatienceSettings, Sound, silence_needed
from agentd_providers.turns.first_sound import Kinds, Suspect, Verdict
from agentd_providers.turns.marks import NO_MARKS, Marks, marks_of
from agentd_providers.turns.small_words import is_backchannel, is_command
from agentd_providers.turns.weights import WEIGHING, Weighing
from agentd_providers.turns.word_ends import NEUTRAL, Digits, Told, WordEnds
from agentd_providers.turns.words import plain_words

OVER_AGENT_PAUSE_MS = 64.0
"""Silence that is a pause while the agent is audible: it has fallen silent by then, and a "mhm" should not keep it so
for longer than need be."""
RESUME_MS = 64.0
"""Speech that ends a pause: shorter is a click or a breath."""
FAINT_MS = 64.0
"""Of what was nearly speech before an onset, so much counts as speech at most."""
CUE_PATIENCE_MS = 600.0
"""Silence after which a cue that was promised is not waited for any more."""
ANSWER_PATIENCE_MS = 400.0
"""Silence beyond what is needed that an answer which was promised is waited for: until it is ready nothing could be
heard of it, and the caller who goes on meanwhile was not cut off."""
TAKE_PAUSE_MS = 160.0
"""Silence after which few words take the turn from the agent, which is silent by then: of one who goes on more is known
in a moment, and half of a cough is easily heard as a word."""
DOUBTED_LONGER_MS = 256.0
"""By so much longer has a sound to last to take the turn, where its beginning was likely nothing: a drawn out "mhm"."""
FEW_WORDS = 2
"""Speech engines write "Mum" or "hammer" for a "mhm": so few words take no turn where the sound was likely nothing."""
HABIT = 8
"""Pauses of the caller that are remembered."""
_UNSAID = (NEUTRAL, None, NO_MARKS)
"""How words end that are not known."""
WORDLESS, DOUBTED = "no words were recognised", "nobody was surely heard to speak the words"
"""Reasons to dismiss a turn."""


class Signal(Enum):
    """The effects of a window of audio, or of news about the words."""

    STARTED = auto()
    CONFIRMED = auto()
    TAKEN = auto()
    PAUSED = auto()
    LOOK = auto()
    """The pause has lasted for long enough that its sound tells whether the turn is complete."""
    RESUMED = auto()
    ENDED = auto()
    DISMISSED = auto()
    WEIGH = auto()
    """The sound has lasted for long enough, or has paused, to tell what it is."""
    DOUBTED = auto()
    """It is likely nothing: an agent that has paused for it goes on. Who goes on speaking is heard as before."""


@attrs.frozen
class TurnTaking:
    """The thresholds, in ms unless the name says otherwise.

    `start_ms` of speech are an onset; `interrupt_ms` pause an agent that speaks; `takeover_ms` take the turn from
    it whatever is said, `min_words` that are no `backchannels` at once. `pause_ms` of silence are a pause, at which
    the words are looked at (by `word_ends`), `looks_ms` are when the sound is. `patience` and `weighing` decide how
    long a pause may last. Without `sure_ms` of speech that was surely there words do not count (turns.ghosts).
    `commands` take the turn however few.
    """

    start_ms: float
    interrupt_ms: float
    takeover_ms: float
    min_words: int
    pause_ms: float
    looks_ms: tuple[float, ...]
    patience: PatienceSettings
    max_turn_ms: float
    threshold: float
    backchannels: frozenset[str]
    word_ends: WordEnds
    sure_ms: float
    commands: frozenset[str]
    weighing: Weighing = WEIGHING


@attrs.define
class TurnTaker:
    """One caller's turns. Feed it every window's probability of speech, in order.

    `by_sound`, `by_sentence` and `by_answer` promise that at every pause `know_sound`, `know_sentence` and
    `know_answer` will be told, `by_kinds` that `know_kinds` will be at once whenever it is asked for.
    """

    settings: TurnTaking
    by_sound: bool = False
    by_sentence: bool = False
    by_answer: bool = False
    by_kinds: bool = False
    in_turn: bool = attrs.field(default=False, init=False)
    taken: bool = attrs.field(default=False, init=False)
    pause: int = attrs.field(default=0, init=False)
    """Number of the pause that lasts, or was last; words are told for it."""
    silence_ms: float = attrs.field(default=0.0, init=False)
    """How long the caller has been silent within the turn."""
    dismissal: str = attrs.field(default="", init=False)
    """Why the last turn that was dismissed was none."""
    _confirmed: bool = attrs.field(default=False, init=False)
    _over_agent: bool = attrs.field(default=False, init=False)
    _upon_question: bool = attrs.field(default=False, init=False)
    """The sound came upon a question of the agent's."""
    _suspect: Suspect = attrs.field(factory=lambda: Suspect(0.0), init=False)
    _paused: bool = attrs.field(default=False, init=False)
    _speech_ms: float = attrs.field(default=0.0, init=False)
    _faint_ms: float = attrs.field(default=0.0, init=False)
    """What there was last of what would be speech within a turn, but begins none."""
    _again_ms: float = attrs.field(default=0.0, init=False)
    _turn_ms: float = attrs.field(default=0.0, init=False)
    _looks: int = attrs.field(default=0, init=False)
    """How often the sound of this pause was to be judged."""
    _words: str | None = attrs.field(default=None, init=False)
    _ending: tuple[float, Told | None, Marks] = attrs.field(default=_UNSAID, init=False)
    """How complete these look, and what they tell surely."""
    _wordless: bool = attrs.field(default=False, init=False)
    _doubted: bool = attrs.field(default=False, init=False)
    _sound: Sound | None = attrs.field(default=None, init=False)
    _sentence: float | None = attrs.field(default=None, init=False)
    _promised: set[str] = attrs.field(factory=set, init=False)
    """Cues of this pause that are still to be told."""
    _unanswered: bool = attrs.field(default=False, init=False)
    """The answer to this pause is still being made."""
    _habit: list[float] = attrs.field(factory=list, init=False)

    @property
    def paused(self) -> bool:
        """True while the caller is silent within a turn, for as long as a pause takes to be one."""
        return self._paused

    @property
    def look(self) -> int:
        """The number of the last look at this pause's sound, from 0."""
        return max(self._looks - 1, 0)

    @property
    def evidence(self) -> Mapping[str, float | str | None]:
        """The grounds on which the pause that lasts, or was last, is judged: for the log. Probabilities, ms, and
        what the words tell surely."""
        words, told, _ = self._ending
        return {
            "silence_ms": self.silence_ms,
            "needed_ms": round(self._needed()),
            "sound": None if self._sound is None else round(self._sound.complete, 3),
            "look": None if self._sound is None else self._sound.look,
            "words": words,
            "sentence": self._sentence,
            "told": None if told is None else told.name.lower(),
            "long_pauses": sum(pause > self.settings.patience.unsure_ms for pause in self._habit),
        }

    def hear(self, probability: float, window_ms: float, *, agent_audible: bool, asked: bool = False) -> list[Signal]:
        """Take the probability of speech in the next `window_ms` of audio. `asked`: the caller hears the end of a
        question just now, or has a moment ago."""
        settings = self.settings
        if not self.in_turn:
            self._upon_question = asked
            return self._wait_for_onset(probability, window_ms, agent_audible)
        self._turn_ms += window_ms
        self._over_agent = self._over_agent and agent_audible
        signals = self._speech(window_ms) if probability >= self._release else self._silence(window_ms)
        if self.in_turn and self._turn_ms >= settings.max_turn_ms:
            signals += self._end()
        due = self._suspect.due(window_ms, just_paused=Signal.PAUSED in signals)
        if self._suspected and (due or self._to_be_confirmed):
            signals.append(Signal.WEIGH)
        return signals

    def know_kinds(self, kinds: Kinds) -> list[Signal]:
        """What the sound up to now is, as `Signal.WEIGH` asks."""
        if not self._suspected:
            return []
        asked = self._upon_question
        match self._suspect.weigh(kinds, ended=self._paused, asked=asked, silent=self._confirmed):
            case Verdict.PAUSE:
                self._confirmed = True
                return [Signal.CONFIRMED]
            case Verdict.GO_ON:
                return [Signal.DOUBTED]
            case Verdict.AS_BEFORE:
                return []

    @property
    def _suspected(self) -> bool:
        """Whether the agent has paused for a sound that may be nothing, or would."""
        return self.in_turn and self._over_agent and not self.taken and (self._confirmed or self._long_enough)

    @property
    def _long_enough(self) -> bool:
        return self._speech_ms >= self.settings.interrupt_ms

    @property
    def _to_be_confirmed(self) -> bool:
        return self._long_enough and not self._confirmed and not self._suspect.nothing

    def know_words(
        self, pause: int, words: str, *, doubted: bool = False, number: Digits | None = None
    ) -> list[Signal]:
        """The words up to pause number `pause` are known; of an older pause they are of no interest any more.

        `doubted`: an engine may have invented them. They take no turn; who goes on within the pause is heard on.
        `number` is that which the caller was asked for, if any."""
        if not self._is_now(pause):
            return []
        self._words, self._doubted = words, doubted
        ends = self.settings.word_ends
        self._ending = ends.complete(words, number), ends.told(words, number), marks_of(words)
        return self._judge_pause()

    def know_no_words(self, pause: int) -> list[Signal]:
        """The words up to pause number `pause` cannot be had: silence alone decides."""
        if not self._is_now(pause):
            return []
        self._wordless = True
        return self._judge_pause()

    def know_sound(self, pause: int, sound: Sound | None) -> list[Signal]:
        """How complete the turn sounds at pause number `pause`; None: it could not be told. What was heard of less
        silence is of no interest any more."""
        if not self._is_now(pause):
            return []
        if sound is not None and (self._sound is None or sound.look > self._sound.look):
            self._sound = sound
        self._promised.discard("sound")
        return self._judge_pause()

    def know_sentence(self, pause: int, ends: float | None) -> list[Signal]:
        """How likely a sentence ends after the words of pause number `pause`, 0 to 1; None: it could not be told."""
        if not self._is_now(pause):
            return []
        self._sentence = ends
        self._promised.discard("sentence")
        return self._judge_pause()

    def know_answer(self, pause: int) -> list[Signal]:
        """The answer to the words of pause number `pause` can be heard now, or there will be none."""
        if not self._is_now(pause):
            return []
        self._unanswered = False
        return self._judge_pause()

    def _is_now(self, pause: int) -> bool:
        return self.in_turn and self._paused and pause == self.pause

    @property
    def _release(self) -> float:
        """Hysteresis against fluttering: speech goes on at a lower probability than it begins at."""
        return max(self.settings.threshold - 0.15, self.settings.threshold / 2)

    def _wait_for_onset(self, probability: float, window_ms: float, agent_audible: bool) -> list[Signal]:
        if probability < self.settings.threshold:
            self._speech_ms = max(0.0, self._speech_ms - window_ms)  # one dip does not undo an onset
            self._faint_ms = self._faint_ms + window_ms if probability >= self._release else 0.0
            return []
        # A first sound is often faint ("so", "who"): what was nearly speech, and led up to speech, was some.
        self._speech_ms = (self._speech_ms or min(self._faint_ms, FAINT_MS)) + window_ms
        self._faint_ms = 0.0
        if self._speech_ms < self.settings.start_ms:
            return []
        self.in_turn, self._turn_ms, self._over_agent = True, self._speech_ms, agent_audible
        self.taken = self._confirmed = self._paused = False
        self.silence_ms = self._again_ms = 0.0
        self._suspect = Suspect(self._speech_ms)
        return [Signal.STARTED, *self._rise()]

    def _speech(self, window_ms: float) -> list[Signal]:
        self._speech_ms += window_ms
        if not self._paused:
            self.silence_ms = 0.0
            return self._rise()
        self._again_ms += window_ms
        if self._again_ms < RESUME_MS:
            return []
        self._habit = [*self._habit[1 - HABIT :], self.silence_ms]
        self._paused, self.silence_ms, self._again_ms = False, 0.0, 0.0
        self._confirmed = self._confirmed and not self._suspect.nothing  # the agent, which went on, pauses again
        self._suspect = Suspect(RESUME_MS)
        return [Signal.RESUMED, *self._rise()]

    def _rise(self) -> list[Signal]:
        """The events that the speech so far is long enough for."""
        settings, signals = self.settings, []
        if self._to_be_confirmed and not (self.by_kinds and self._over_agent):
            self._confirmed = True
            signals.append(Signal.CONFIRMED)
        takeover_ms = settings.takeover_ms + (DOUBTED_LONGER_MS if self._suspect.nothing else 0.0)
        enough = takeover_ms if self._over_agent else settings.interrupt_ms
        if not self.taken and self._speech_ms >= enough:
            self.taken = True
            signals.append(Signal.TAKEN)
        return signals

    def _silence(self, window_ms: float) -> list[Signal]:
        self.silence_ms += window_ms
        self._again_ms = max(0.0, self._again_ms - window_ms)
        if not self._paused:
            pause_ms = self.settings.pause_ms
            if self.silence_ms < (min(pause_ms, OVER_AGENT_PAUSE_MS) if self._over_agent else pause_ms):
                return []
            self._paused, self.pause, self._looks = True, self.pause + 1, 0
            self._words = self._sound = self._sentence = None
            self._ending = _UNSAID
            self._wordless = self._doubted = False
            cues = {"sound": self.by_sound, "sentence": self.by_sentence}
            self._unanswered = self.by_answer
            self._promised = {cue for cue, promised in cues.items() if promised}
            return [Signal.PAUSED]
        signals = self._judge_pause()
        looks_ms = self.settings.looks_ms
        if self.in_turn and self._looks < len(looks_ms) and self.silence_ms >= looks_ms[self._looks]:
            self._looks += 1
            signals.append(Signal.LOOK)
        return signals

    def _judge_pause(self) -> list[Signal]:
        """Whether the pause is the end, as far as is known."""
        if self._words is None:
            # A transcriber that hangs must not hold the caller for ever.
            patience = self.settings.patience
            late = patience.unsure_ms if self._wordless else 2 * patience.max_silence_ms
            return self._end() if self.silence_ms >= late else []
        plain = plain_words(self._words)
        if not plain:
            return self._dismiss(WORDLESS) if self._settled(nothing=True) else []
        if self._over_agent and not self.taken:
            settings = self.settings
            command = is_command(plain, settings.commands)
            known = settings.backchannels
            if not command and is_backchannel(plain, self._speech_ms, known, asked=self._upon_question):
                return self._dismiss("a backchannel while the agent spoke")
            if not command and self._suspect.nothing and len(plain) <= FEW_WORDS:
                return self._dismiss("a sound like a backchannel's while the agent spoke")
            if self._doubted:
                return self._dismiss(DOUBTED) if self.silence_ms >= settings.patience.stop_ms else []
            if command or len(plain) >= settings.min_words:
                if self.silence_ms < TAKE_PAUSE_MS:
                    return []
                self.taken = True
                return [Signal.TAKEN, *self._judge_pause()]
            return self._dismiss("too few words while the agent spoke") if self._settled(nothing=True) else []
        if self._doubted:
            return self._dismiss(DOUBTED) if self.silence_ms >= self.settings.patience.unsure_ms else []
        return self._end() if self._settled(nothing=False) else []

    def _settled(self, *, nothing: bool) -> bool:
        """Whether the silence has lasted for long enough: to decide that it was nothing, or that all is said."""
        patience = self.settings.patience
        if nothing:
            return self._over_agent or self.silence_ms >= patience.stop_ms
        if self._promised and self.silence_ms < min(CUE_PATIENCE_MS, patience.max_silence_ms):
            return False
        needed = self._needed()
        if self._unanswered:
            needed = min(needed + ANSWER_PATIENCE_MS, patience.max_silence_ms)
        return self.silence_ms >= needed

    def _needed(self) -> float:
        words, told, marks = self._ending
        return silence_needed(
            self._sound,
            words,
            tuple(self._habit),
            self.settings.patience,
            sentence=self._sentence,
            told=told,
            marks=marks,
            weighing=self.settings.weighing,
        )

    def _end(self) -> list[Signal]:
        first = [] if self.taken else [Signal.TAKEN]
        self._reset()
        return [*first, Signal.ENDED]

    def _dismiss(self, reason: str) -> list[Signal]:
        self.dismissal = reason
        self._reset()
        return [Signal.DISMISSED]

    def _reset(self) -> None:
        self.in_turn = self._paused = False
        self._speech_ms = self._faint_ms = 0.0
