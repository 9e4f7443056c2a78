"""Words over the agent that take no turn, and those that always do. Pure.

Words are as `turns.words.plain_words` gives them.
"""

from collections.abc import Sequence, Set

HUM_MS = 600.0
HUMS = frozenset(["um", "uh", "mm", "mmm", "hm", "hmm", "ah", "oh", "huh"])
"""A sound no longer than that which ends in one of these is a hum, whatever else a speech engine hears in it."""


def is_command(words: Sequence[str], commands: Set[str]) -> bool:
    """Whether one who says this wants the agent to stop: all of it is a command, or a word in it is."""
    return " ".join(words) in commands or any(word in commands for word in words)


def is_backchannel(words: Sequence[str], speech_ms: float, known: Set[str], *, asked: bool) -> bool:
    """Whether this is said while listening, by the phrases that are `known`, in a sound of so much speech.

    Upon a question (`asked`) a backchannel is an answer, but for a lone hum: the answer is still to come.
    """
    if asked:
        return len(words) == 1 and words[0] in HUMS
    hum = speech_ms <= HUM_MS and words[-1] in HUMS
    return hum or " ".join(words) in known or all(word in known for word in words)
