"""How much of a text was heard, told from how much of its audio was played. Pure.

Neither a vendor nor a speech synthesiser says when each word begins. A word's time is estimated from the
length of what is said for it: its characters, and a constant for the gap to the next one.
"""

import attrs

GAP = 1.5
"""The gap after a word, in characters."""
CHARACTERS_PER_SECOND = 15.0
"""How fast speech is where the length of its audio is not known yet: 150 to 170 English words a minute."""


@attrs.frozen
class Words:
    """A segment's words as they are written; `spoken` as in agentd.agent.SegmentStart."""

    text: str = ""
    spoken: tuple[str, ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """What the voice says for each of the words; one that does not fit them counts for nothing."""
        words = self.text.split()
        return self.spoken if len(self.spoken) == len(words) else tuple(words)

    def __add__(self, other: "Words") -> "Words":
        """Two segments that are spoken as one."""
        spoken = self.said + other.said if self.spoken or other.spoken else ()
        return Words(f"{self.text} {other.text}".strip(), spoken)

    def behind(self, count: int) -> "Words":
        """What is left behind the first `count` of them."""
        return Words(" ".join(self.text.split()[count:]), self.said[count:] if self.spoken else ())

    def heard(self, heard: float, total: float) -> int:
        """How many of them were heard when `heard` of their `total` audio was played (in any unit of time).

        A word counts when at least half of its time was played.
        """
        weights = list(map(_weight, self.said))
        if total <= 0 or heard >= total:
            return len(weights) if total > 0 else 0
        played = heard / total * sum(weights)
        begun = 0.0
        for count, weight in enumerate(weights):
            if played < begun + weight / 2 or not played:
                return count
            begun += weight
        return len(weights)

    @property
    def seconds(self) -> float:
        """About how long it takes to speak them: for the total of a segment whose audio has not all come."""
        return sum(map(_weight, self.said)) / CHARACTERS_PER_SECOND


def _weight(said: str) -> float:
    return sum(len(word) + GAP for word in said.split())
