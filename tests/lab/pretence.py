"""A caller's line and a call where there is neither: for tests and benchmarks of an agent's session alone."""

import trio

from agentd import session_events as tells
from agentd.agent import AgentSession

FRAME = 320
FRAME_SECONDS = 0.02


async def keep_talking(session: AgentSession, pcm: bytes) -> None:
    """Say `pcm` (8 kHz slin) as fast as the session takes it, then be silent at a line's pace until cancelled."""
    for start in range(0, len(pcm), FRAME):
        session.feed(pcm[start : start + FRAME], trio.current_time())
        await trio.lowlevel.checkpoint()
    while True:
        await trio.sleep(FRAME_SECONDS)
        session.feed(bytes(FRAME), trio.current_time())


async def one_turn(session: AgentSession, pcm: bytes) -> str:
    """Say something and let the session answer; gives the words that it understood once its answer is complete.

    The caller sets the deadline.
    """
    understood = ""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_talking, session, pcm)
        async for event in session.events:
            match event:
                case tells.CallerText(text, True):
                    understood = text
                case tells.CallerSpeechEnded():
                    session.answer()
                case tells.UtteranceEnded() | tells.NothingToSay():
                    break
        nursery.cancel_scope.cancel()
    return understood
