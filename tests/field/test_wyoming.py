"""The speech server and its clients: what Home Assistant and other packages send, by the reference codec.

Sources: wyoming-openai-gateway 0.2.1 (44.1 kHz stereo, a foreign model name), wyoming-faster-whisper 3.8.1
(AudioChunkConverter, ignores Transcribe.name), Home Assistant core PR 156079 and 178560 (order of events, a whole
result in one event), wyoming 1.10.2.
"""

import warnings

import numpy as np
import pytest

from agentd_providers.wyoming.protocol import AudioFormat, Decoder, Event, audio_format, encode
from tests.shell.service.test_speech_server import Client, a_server
from tests.shell.wyoming_peer import RATE, sound_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the reference imports audioop
    pytest.importorskip("wyoming")
    from wyoming.asr import Transcribe, Transcript
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.event import Event as TheirEvent
    from wyoming.info import Describe, Info
    from wyoming.tts import (
        Synthesize,
        SynthesizeChunk,
        SynthesizeStart,
        SynthesizeStop,
        SynthesizeVoice,
    )

pytestmark = pytest.mark.loopback
TALK = sound_of("two")


def as_sent(pcm: bytes, width: int, channels: int) -> bytes:
    """Slin as another client has it."""
    samples = np.repeat(np.frombuffer(pcm, "<i2").astype("<i4") << 16, channels)
    return samples.view(np.uint8).reshape(-1, 4)[:, 4 - width :].tobytes()


async def send(client: Client, event: TheirEvent) -> None:
    await client.send(event.type, event.data, event.payload or b"")


async def transcribed(client: Client) -> str:
    kind, data = await client.answer()
    return Transcript.from_event(TheirEvent(kind, data)).text


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("piece", [2048, 999, 1 << 21])
async def test_what_a_client_sends_is_made_16_bit_mono(width: int, channels: int, piece: int) -> None:
    sound = as_sent(TALK, width, channels)
    async with a_server() as at, at.client() as client:
        await send(client, Transcribe(name="whisper-1", language="en").event())
        await send(client, AudioStart(RATE, width, channels).event())
        for begin in range(0, len(sound), piece):
            await send(client, AudioChunk(RATE, width, channels, sound[begin : begin + piece]).event())
        await send(client, AudioStop().event())
        assert await transcribed(client) == "two"


@pytest.mark.parametrize("name", ["whisper-1", "gpt-4o-transcribe", "Systran/faster-whisper-small", "", None])
async def test_the_name_of_a_model_is_passed_over(name: str | None) -> None:
    async with a_server() as at, at.client() as client:
        await send(client, Transcribe(name=name, language="en").event())
        await send(client, AudioChunk(RATE, 2, 1, TALK).event())
        await send(client, AudioStop().event())
        assert await transcribed(client) == "two"


async def test_home_assistant_s_order_of_events_is_answered() -> None:
    """homeassistant/components/wyoming/stt.py: describe on a connection of its own; then transcribe, audio-start,
    chunks as the microphone gives them, audio-stop, and events are read until a transcript comes."""
    async with a_server() as at:
        async with at.client() as client:
            await send(client, Describe().event())
            kind, data = await client.answer()
            (program,) = Info.from_event(TheirEvent(kind, data)).asr
        async with at.client() as client:
            await send(client, Transcribe(name=program.models[0].name, language="en").event())
            await send(client, AudioStart(RATE, 2, 1).event())
            for begin in range(0, len(TALK), 640):
                await send(client, AudioChunk(RATE, 2, 1, TALK[begin : begin + 640]).event())
            await send(client, AudioStop().event())
            assert await transcribed(client) == "two"


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "streaming"])
async def test_home_assistant_s_order_of_events_is_spoken(streams: bool) -> None:
    """homeassistant/components/wyoming/tts.py: describe on a connection of its own; then synthesize with a voice of
    those, or a text in pieces with the whole of it between them; events are read until audio-stop."""
    async with a_server() as at:
        async with at.client() as client:
            await send(client, Describe().event())
            kind, data = await client.answer()
            (program,) = Info.from_event(TheirEvent(kind, data)).tts
        voice = SynthesizeVoice(name=program.voices[0].name)
        async with at.client() as client:
            if streams:
                await send(client, SynthesizeStart(voice=voice).event())
                await send(client, SynthesizeChunk("Hello ").event())
                await send(client, SynthesizeChunk("there.").event())
            await send(client, Synthesize("Hello there.", voice=voice).event())
            if streams:
                await send(client, SynthesizeStop().event())
            told: list[AudioStart | AudioChunk | AudioStop] = []
            while not told or not isinstance(told[-1], AudioStop):
                event = await client.receive()
                assert event is not None
                theirs = TheirEvent(event[0], event[1], event[2])
                (kind_of,) = [one for one in (AudioStart, AudioChunk, AudioStop) if one.is_type(theirs.type)]
                told.append(kind_of.from_event(theirs))
            assert isinstance(told[0], AudioStart)
            chunks = told[1:-1]
            assert chunks
            for chunk in chunks:
                assert isinstance(chunk, AudioChunk)
                assert (chunk.rate, chunk.width, chunk.channels) == (told[0].rate, 2, 1)
                assert chunk.audio


async def test_a_whole_utterance_of_several_mebibytes_in_one_event_is_taken() -> None:
    sound = TALK + bytes(40 * RATE * 2)
    assert len(as_sent(sound, 2, 4)) > 4 << 20
    async with a_server() as at, at.client() as client:
        await send(client, AudioChunk(RATE, 2, 4, as_sent(sound, 2, 4)).event())
        await send(client, AudioStop().event())
        assert await transcribed(client) == "two"


@pytest.mark.parametrize("audio", [AudioFormat(44100, 2, 2), AudioFormat(48000, 4, 1), AudioFormat(24000, 3, 2)])
def test_a_format_is_told_in_every_piece_as_the_reference_codec_reads_it(audio: AudioFormat) -> None:
    theirs = AudioChunk(audio.rate, audio.width, audio.channels, bytes(audio.block * 3)).event()
    decoder = Decoder(1 << 16, 1 << 16)
    decoder.feed(encode(Event(theirs.type, theirs.data, theirs.payload or b"")))
    event = decoder.next_event()
    assert event is not None
    assert audio_format(event) == audio
    assert audio.slin(event.payload) == bytes(6)
