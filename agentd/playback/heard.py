"""How much of a text was heard, told from how much of its audio was played. Pure.

Neither a vendor nor a speech synthesiser says when each word begins. A word's time is estimated from its
length: its characters, and a constant for the gap to the next one.
"""

GAP = 1.5
"""The gap after a word, in characters."""
CHARACTERS_PER_SECOND = 15.0
"""How fast speech is where the length of its audio is not known yet: 150 to 170 English words a minute."""


def words_heard(text: str, heard: float, total: float) -> int:
    """How many words of `text` were heard when `heard` of its `total` audio was played (in any unit of time).

    A word counts when at least half of its time was played.
    """
    words = text.split()
    if total <= 0 or heard >= total:
        return len(words) if total > 0 else 0
    played = heard / total * sum(map(_weight, words))
    begun = 0.0
    for count, word in enumerate(words):
        if played < begun + _weight(word) / 2:
            return count
        begun += _weight(word)
    return len(words)


def expected_seconds(text: str) -> float:
    """About how long it takes to speak `text`: for the total of a segment whose audio has not all come."""
    return sum(map(_weight, text.split())) / CHARACTERS_PER_SECOND


def _weight(word: str) -> float:
    return len(word) + GAP
