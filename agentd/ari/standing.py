"""Pure: whether Asterisk lets agentd's user do its work, as its answers to all requests tell."""

import attrs

from agentd.ari.hand_back import Refusal

READING = ("GET", "HEAD", "OPTIONS")
"""Methods that a read-only user may use: Asterisk 22 res/res_ari.c, `ast_ari_invoke`."""
_BY_STATUS = {401: Refusal.UNKNOWN_USER, 403: Refusal.READ_ONLY}


@attrs.define
class Standing:
    """Of the one user."""

    refusal: Refusal | None = attrs.field(default=None, init=False)
    """Why requests are refused whatever they ask for."""

    @property
    def trouble(self) -> str:
        """What is wrong, with what helps; empty where nothing is."""
        return f"{self.refusal.value}: {self.refusal.remedy}" if self.refusal is not None else ""

    def answered(self, method: str, status: int) -> bool:
        """Take note of an answer; true where the standing has changed. An Asterisk that cannot answer now has said
        nothing; one that lets a user read has not said that it may write."""
        before = self.refusal
        if status in _BY_STATUS:
            self.refusal = _BY_STATUS[status]
        elif status < 500 and (method not in READING or self.refusal is Refusal.UNKNOWN_USER):
            self.refusal = None
        return self.refusal is not before
