"""A vendor's speech as a pipeline wants it: one answer after the other, in pieces as they come, whole samples."""

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Protocol

from agentd.errors import ProviderProtocolError
from agentd_providers.vendor.http import Answer


class Decoder(Protocol):
    """From an answer's bytes to slin at the wanted rate; agentd.audio.resample.Resampler is one."""

    def feed(self, data: bytes, /) -> bytes:
        """Take more bytes; gives the whole samples that are ready. Raises ProviderProtocolError."""
        ...

    def flush(self) -> bytes:
        """The rest, at the end."""
        ...


NO_AUDIO = ("application/json", "text/", "audio/mpeg")
"""Content types that are none of those we ask for; servers call these by many names."""


async def speech(parts: Iterable[str], ask: Callable[[str], tuple[Answer, Decoder]]) -> AsyncGenerator[bytes]:
    """The sound of the parts of a text, each asked for once the one before it is complete.

    Raises ProviderError, also for an answer without any sound. Closing the generator gives the answer up.
    """
    for part in parts:
        answer, decoder = ask(part)
        try:
            await answer.opened()
            if answer.content_type.startswith(NO_AUDIO):
                raise ProviderProtocolError(f"{answer.vendor}: expected audio, got {answer.content_type!r}")
            anything = False
            while data := await answer.piece():
                if pcm := decoder.feed(data):
                    anything = True
                    yield pcm
            if pcm := decoder.flush():
                anything = True
                yield pcm
            if not anything:
                raise ProviderProtocolError(f"{answer.vendor}: no audio came for {len(part)} characters")
        finally:
            answer.leave()
