"""A vendor's speech as a pipeline wants it: one answer after the other, in pieces as they come, whole samples."""

from collections.abc import AsyncGenerator, Callable, Iterable

from agentd.errors import ProviderProtocolError
from agentd_providers.vendor.audio_body import AudioBody
from agentd_providers.vendor.http import Answer

NO_AUDIO = ("application/json", "text/")
"""Content types that are none of audio. What an audio type says is not believed: servers call a WAV audio/mpeg."""


async def speech(parts: Iterable[str], ask: Callable[[str], tuple[Answer, AudioBody]]) -> AsyncGenerator[bytes]:
    """The sound of the parts of a text, each asked for once the one before it is complete.

    Raises ProviderError, also for an answer without any sound, or after one that promised more.
    Closing the generator gives the answer up.
    """
    for part in parts:
        answer, body = ask(part)
        try:
            await answer.opened()
            if answer.content_type.startswith(NO_AUDIO):
                raise ProviderProtocolError(f"{answer.vendor}: expected audio, got {answer.content_type!r}")
            anything = False
            while data := await answer.piece():
                if pcm := body.feed(data):
                    anything = True
                    yield pcm
            if pcm := body.flush():
                anything = True
                yield pcm
            body.check()
            if not anything:
                raise ProviderProtocolError(f"{answer.vendor}: no audio came for {len(part)} characters")
        finally:
            answer.leave()
