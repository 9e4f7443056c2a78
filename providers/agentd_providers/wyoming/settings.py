"""The settings of a pipeline's stages that a Wyoming server does. Imports no engine."""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

import attrs

from agentd import deadlines
from agentd.config.schema import positive, text


def split_uri(uri: str) -> tuple[str, int]:
    """Host and port of a Wyoming URI. Raises ValueError where it is no tcp://host:port."""
    parts = urlsplit(uri)
    rest = parts.path or parts.query or parts.fragment
    if parts.scheme != "tcp" or not parts.hostname or not parts.port or rest or "@" in uri or not uri.isprintable():
        raise ValueError(uri)
    return parts.hostname, parts.port


def _uri(value: str) -> str | None:
    try:
        split_uri(value)
    except ValueError:
        return "must be tcp://host:port"
    return None


_ConnectTimeout = Annotated[float, text("Seconds that connecting may take.", positive, deadlines.STAGE_CONNECT.check)]


@attrs.frozen
class WyomingListenSettings:
    """Speech to text by a Wyoming server (Home Assistant's protocol): faster-whisper, Vosk, agentd's own."""

    uri: Annotated[str, text("The server. Mind that Wyoming has neither passwords nor encryption.", _uri)] = (
        "tcp://127.0.0.1:10300"
    )
    model: Annotated[str, text("Name of the model, as the server lists it; empty: the server's own choice.")] = ""
    timeout: Annotated[
        float,
        text("Seconds that the words may take after the caller's pause.", positive, deadlines.STAGE_TIMEOUT.check),
    ] = 5.0
    connect_timeout: _ConnectTimeout = 1.0


@attrs.frozen
class WyomingSpeakSettings:
    """Text to speech by a Wyoming server (Home Assistant's protocol): Piper, agentd's own."""

    uri: Annotated[str, text("The server. Mind that Wyoming has neither passwords nor encryption.", _uri)] = (
        "tcp://127.0.0.1:10200"
    )
    voice: Annotated[str, text("Name of the voice, as the server lists it; empty: the server's own choice.")] = ""
    speaker: Annotated[str, text("The speaker, in a voice that has several; empty: its first.")] = ""
    timeout: Annotated[
        float,
        text("Seconds that the server may be silent, before and in a clause.", positive, deadlines.STAGE_TIMEOUT.check),
    ] = 5.0
    connect_timeout: _ConnectTimeout = 1.0

    def impossible(self, _language: str) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why). A clause waits for a connection, then for sound."""
        stuck = deadlines.SESSION_STUCK.seconds
        if self.timeout > (most := stuck - self.connect_timeout):
            why = f"a session that makes no progress for {stuck:g} s is given up"
            beside = f"with a connect_timeout of {self.connect_timeout:g}"
            yield "timeout", f"must be at most {most:g} {beside} ({why}), not {self.timeout:g}"
