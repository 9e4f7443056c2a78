"""Which slot of the embedded model's server each call's next request goes to. Pure.

A slot keeps what it has read, and goes on from there where the next prompt begins the same; another one would read the
whole conversation. Left to itself the server takes the free slot that knows most of a prompt. But the one whose request
has just been given up is not free yet when the call's next request comes, and with it went what it knew. A request that
names its slot waits until it is free, which is a moment.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import attrs

from agentd_providers.openai.llama_cpp import ANY_SLOT


@attrs.define
class _Slot:
    call: Hashable = None
    """Whose conversation it has read last."""
    waited_for: int = 0
    """Requests there whose answer somebody waits for."""
    used: int = 0


@attrs.define
class Slots:
    """The slots of one server, `count` of them, and the calls that they know."""

    count: int
    _slots: list[_Slot] = attrs.field(init=False)
    _requests: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._slots = [_Slot() for _ in range(self.count)]

    @contextmanager
    def asking(self, call: Hashable) -> Iterator[int]:
        """While a request of this call's is waited for; gives its slot, or `ANY_SLOT` where the server is to choose."""
        number = self.choose(call)
        self._requests += 1
        if number == ANY_SLOT:
            yield number
            return
        slot = self._slots[number]
        slot.call, slot.used = call, self._requests
        slot.waited_for += 1
        try:
            yield number
        finally:
            slot.waited_for -= 1

    def choose(self, call: Hashable) -> int:
        """The slot that has read this call's conversation; else, or while an answer is waited for there, the one that
        nobody has asked for the longest; `ANY_SLOT` while answers are waited for in all."""
        free = [number for number, slot in enumerate(self._slots) if not slot.waited_for]
        own = [number for number in free if self._slots[number].call == call]
        return max(own, key=self._used, default=min(free, key=self._used, default=ANY_SLOT))

    def _used(self, number: int) -> int:
        return self._slots[number].used
