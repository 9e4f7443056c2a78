"""What an agent's engines take on this host, as data: `agentd doctor --delay` says what callers will wait. Pure."""

import attrs


@attrs.frozen
class Rehearsal:
    """Seconds that each part of an answer took, in the middle of several tries, with nothing else to do for them."""

    transcript: float
    """From the end of a caller's sentence to its words."""
    first_token: float
    """From the words to the first piece of a reply."""
    first_audio: float
    """From a clause to the first sound of it."""

    @property
    def total(self) -> float:
        """One after the other."""
        return self.transcript + self.first_token + self.first_audio
