"""Digits that a caller presses one after the other, as one entry."""

from collections.abc import Callable

import attrs
import trio

DIGITS_TOGETHER = 1.2
"""Seconds that may lie between two digits of one entry."""


@attrs.define(eq=False)
class DigitEntry:
    """Tells `entered` the digits of each entry, once no more of it come."""

    entered: Callable[[str], None]
    _digits: str = attrs.field(default="", init=False)
    _pressed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def press(self, digits: str) -> None:
        """Take digits."""
        self._digits += digits
        self._pressed.set()

    async def collect(self) -> None:
        """Make entries of them, until cancelled."""
        while True:
            await self._pressed.wait()
            while self._pressed.is_set():
                self._pressed = trio.Event()
                with trio.move_on_after(DIGITS_TOGETHER):
                    await self._pressed.wait()
            digits, self._digits = self._digits, ""
            self.entered(digits)
