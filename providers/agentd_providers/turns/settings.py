"""The settings of turn taking, which every pipeline shares, and the presets behind them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import attrs

from agentd.config.schema import not_negative, positive, text
from agentd_providers.turns.end_of_turn import PatienceSettings
from agentd_providers.turns.taker import TurnTaking
from agentd_providers.turns.word_tables import open_word_ends


class Preset(StrEnum):
    EAGER = "eager"
    BALANCED = "balanced"
    PATIENT = "patient"


class SentenceCue(StrEnum):
    OWN = "own"
    EMBEDDED = "embedded"
    NONE = "none"


@attrs.frozen
class _Values:
    """The settings that a preset stands for; times in ms."""

    stop_ms: int
    unsure_ms: int
    hesitation_ms: int
    max_silence_ms: int
    interrupt_ms: int
    takeover_ms: int
    min_words: int


PRESETS: Mapping[Preset, _Values] = {
    Preset.EAGER: _Values(160, 450, 900, 1400, 128, 500, 1),
    Preset.BALANCED: _Values(200, 600, 1300, 2000, 128, 700, 1),
    Preset.PATIENT: _Values(400, 1100, 2200, 3500, 256, 1000, 2),
}
BACKCHANNELS = (
    "mhm", "mm", "mmm", "mm hmm", "hm", "hmm", "uh huh", "uh", "huh", "um", "ah", "oh", "aha", "ok", "okay", "yeah",
    "yep", "yes", "right", "sure", "i see", "all right", "alright", "got it", "good", "great", "really",
)  # fmt: skip
COMMANDS = ("stop", "no", "wait", "hello", "hold on", "hang on", "excuse me")
PAUSE_MS = 96
"""Silence at which the words are looked at; shorter gaps lie within words."""
LOOKS_MS = (160.0, 400.0, 700.0, 1000.0)
"""Silences at which the sound is judged, while the turn is not over: earlier than the first ends are missed, and each
further one knows that nothing has followed for so long (measured, tests/lab/bench_turns.py)."""


def _share(value: float) -> str | None:
    return None if 0 < value < 1 else "must be between 0 and 1"


@attrs.frozen
class TurnSettings:
    """When the caller's turn begins and ends, and what interrupts the agent. Where 0 is given, the preset decides."""

    preset: Annotated[
        Preset, text("eager (answers fast, may cut in), balanced, or patient (for callers who think aloud).")
    ] = Preset.BALANCED
    start_ms: Annotated[int, text("Speech of this length is an onset: the agent is attenuated.", positive)] = 64
    stop_ms: Annotated[int, text("Silence that ends a turn which is surely complete; 0: preset.", not_negative)] = 0
    max_silence_ms: Annotated[
        int, text("Silence that ends any turn, however unfinished it sounds; 0: preset.", not_negative)
    ] = 0
    interrupt_ms: Annotated[
        int, text("Speech of this length pauses an agent that speaks; 0: preset.", not_negative)
    ] = 0
    takeover_ms: Annotated[
        int, text("Speech of this length takes the turn whatever is said; 0: preset.", not_negative)
    ] = 0
    min_words: Annotated[
        int, text("Words that take the turn at once if they are no backchannel; 0: preset.", not_negative)
    ] = 0
    backchannels: Annotated[
        list[str], text("What a caller says while listening, without wanting the turn (lower case, no punctuation).")
    ] = attrs.field(factory=lambda: list(BACKCHANNELS))
    commands: Annotated[
        list[str], text("What takes the turn from the agent always, however few words (written in the same way).")
    ] = attrs.field(factory=lambda: list(COMMANDS))
    weigh_sounds: Annotated[
        bool, text("Let the agent go on while the beginning of a caller's sound is a cough's or a backchannel's.")
    ] = True
    smart_turn: Annotated[
        bool, text("Judge by the sound, too, whether a turn is complete (50 ms of a core, up to four times a pause).")
    ] = True
    sentence_cue: Annotated[
        SentenceCue,
        text(
            "Who is asked whether a sentence ends after the caller's words: own (the agent's language model, where its "
            "server tells), embedded (the model on this host where its own does not tell; English), or none."
        ),
    ] = SentenceCue.OWN
    max_seconds: Annotated[int, text("A turn is ended after this many seconds in any case.", positive)] = 30
    pre_roll_ms: Annotated[int, text("Audio kept from before the onset.", not_negative)] = 300
    threshold: Annotated[float, text("Speech probability above which there is speech.", _share)] = 0.5
    sure_ms: Annotated[
        int,
        text(
            "Speech that was surely there, without which words are taken for invented; 0: all words count.",
            not_negative,
        ),
    ] = 64

    def turn_taking(self, language: str) -> TurnTaking:
        """The thresholds that these settings come to. Blocking: it reads the language's table."""
        preset = PRESETS[self.preset]
        stop_ms = self.stop_ms or preset.stop_ms
        max_silence_ms = self.max_silence_ms or preset.max_silence_ms
        return TurnTaking(
            start_ms=self.start_ms,
            interrupt_ms=self.interrupt_ms or preset.interrupt_ms,
            takeover_ms=self.takeover_ms or preset.takeover_ms,
            min_words=self.min_words or preset.min_words,
            pause_ms=min(PAUSE_MS, stop_ms),
            looks_ms=LOOKS_MS,
            patience=PatienceSettings(
                stop_ms=stop_ms,
                unsure_ms=min(max(preset.unsure_ms, stop_ms), max_silence_ms),
                hesitation_ms=min(max(preset.hesitation_ms, stop_ms), max_silence_ms),
                max_silence_ms=max_silence_ms,
            ),
            max_turn_ms=self.max_seconds * 1000,
            threshold=self.threshold,
            backchannels=frozenset(self.backchannels),
            word_ends=open_word_ends(language),
            sure_ms=self.sure_ms,
            commands=frozenset(self.commands),
        )

    def contradictions(self) -> list[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why)."""
        taking, found = self.turn_taking("en"), []
        if taking.patience.stop_ms > taking.patience.max_silence_ms:
            found.append(("max_silence_ms", f"must not be less than stop_ms ({taking.patience.stop_ms:g})"))
        if taking.start_ms > taking.interrupt_ms:
            found.append(("interrupt_ms", f"must not be less than start_ms ({taking.start_ms:g})"))
        if taking.interrupt_ms > taking.takeover_ms:
            found.append(("takeover_ms", f"must not be less than interrupt_ms ({taking.interrupt_ms:g})"))
        if taking.takeover_ms > taking.max_turn_ms:
            found.append(("max_seconds", f"must not be shorter than takeover_ms ({taking.takeover_ms:g} ms)"))
        return found
