"""The phrases that every call hears, whose sound is kept: a greeting waits for no voice."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

import attrs

from agentd_providers.pipeline.sound import in_one_piece
from agentd_providers.pipeline.stages import Voice, speak_whole

LONGEST = 60
"""Seconds of sound that are kept of a phrase."""


@attrs.frozen
class FixedPhrases:
    """The texts as they are spoken, and the sound of those that were, once for each rate."""

    texts: frozenset[str]
    _sounds: dict[tuple[str, int], bytes] = attrs.field(factory=dict, init=False, repr=False)

    def spoken_by(self, voice: Voice) -> Voice:
        """The same voice, which speaks each of the phrases only once."""
        return _PhraseVoice(voice, self)

    async def learn(self, voice: Voice, rate: int) -> None:
        """Have every phrase spoken that was not yet. Raises ProviderError; what is known by then stays known."""
        for text in sorted(self.texts):
            if (text, rate) not in self._sounds:
                await speak_whole(self.spoken_by(voice), text, rate)

    def sound(self, text: str, rate: int) -> bytes | None:
        """The sound of a phrase, slin at `rate` Hz; None where it is not known."""
        return self._sounds.get((text, rate))

    async def keep(self, text: str, rate: int, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Hand on a phrase's sound, and keep it once it is whole."""
        sound = bytearray()
        async for piece in pieces:
            if len(sound) <= LONGEST * rate * 2:
                sound += piece
            yield piece
        if 0 < len(sound) <= LONGEST * rate * 2:
            self._sounds[text, rate] = bytes(sound)


@attrs.frozen
class _PhraseVoice:
    _voice: Voice
    _phrases: FixedPhrases

    def speak(self, text: str, rate: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See agentd_providers.pipeline.stages.Voice.speak."""
        if (sound := self._phrases.sound(text, rate)) is not None:
            return in_one_piece(sound)
        if text in self._phrases.texts:
            return self._kept(text, rate)
        return self._voice.speak(text, rate)

    @asynccontextmanager
    async def _kept(self, text: str, rate: int) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._voice.speak(text, rate) as pieces, aclosing(self._phrases.keep(text, rate, pieces)) as kept:
            yield kept
