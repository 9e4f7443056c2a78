"""The renewal of a session that works: another one with the same agent goes on in its place, from a quiet moment on.

There are two reasons for it. The session's vendor will end it soon: that is tried once each time it is told, in the
time that is left. Or the call's caller is another one now than the session was opened for, so that its prompt is about
somebody else: that is tried until it succeeds, or until the first caller is back. Where it fails, the session that
there is goes on, and its end will be a loss like any other.
"""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from agentd.errors import ProviderError
from agentd.serving.tenure import LOOK_EVERY, Tenure

RENEW_EARLY = 0.9
"""The part of a session's last seconds in which a quiet moment for its renewal is waited for."""
RENEW_AGAIN, RENEW_AGAIN_LONGEST = 2.0, 60.0
"""Seconds until a renewal for another caller that failed is tried again: at first, and at most. Each time twice."""


async def renew(
    tenure: Tenure,
    at_rest: Callable[[], bool],
    of_another_caller: Callable[[], bool],
    open_next: Callable[[], Awaitable[Tenure]],
) -> Tenure:
    """The session that is to go on in the place of `tenure`'s, once there is reason for one and it is open.

    `at_rest`: a quiet moment; `of_another_caller`: the session was opened for another caller than the call has now;
    `open_next` raises ProviderError, which is told by then.
    """
    pause = math.inf
    while True:
        with trio.move_on_after(pause):
            await tenure.renewal_due.wait()
        if tenure.renewal_due.is_set() or of_another_caller():
            tenure.renewal_due = trio.Event()  # at once: one that becomes due while this one fails is another one
            with trio.move_on_after(max(tenure.lasts, 0.0) * RENEW_EARLY), suppress(ProviderError):
                while not at_rest():  # noqa: ASYNC110 - a look every tenth of a second, once an hour
                    await trio.sleep(LOOK_EVERY)
                return await open_next()
        pause = _longer(pause) if of_another_caller() else math.inf


def _longer(pause: float) -> float:
    return RENEW_AGAIN if pause == math.inf else min(2.0 * pause, RENEW_AGAIN_LONGEST)
