"""Our codec and the reference implementation (PyPI: wyoming) read what the other one writes."""

import importlib
import importlib.util
import io
import os
from types import ModuleType

import pytest
from hypothesis import given

from agentd_providers.wyoming.info import Info, Offer, Program, parse_info
from agentd_providers.wyoming.protocol import (
    AudioFormat,
    Decoder,
    Event,
    audio_chunk,
    audio_format,
    audio_start,
    encode,
    error,
    failure_of,
    synthesize,
    text_of,
    transcribe,
    transcript,
    voice_of,
)
from tests.unit.wyoming.test_protocol import events

pytestmark = pytest.mark.filterwarnings("ignore:.audioop. is deprecated")  # the reference imports it

OURS = Info(
    (Program("moonshine", (Offer("tiny", ("en",)),), "what it is", "0.0.73", ("who", "https://where")),),
    (Program("piper", (Offer("en_US-joe-medium", ("en_US",)),), home=("who", "https://where")),),
)


@pytest.fixture(scope="module", autouse=True)
def _reference() -> None:
    """Skip loudly without it; on a CI machine, where everything has to be there, fail."""
    if importlib.util.find_spec("wyoming") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("the package wyoming is not installed")


def reference(module: str) -> ModuleType:
    return importlib.import_module(f"wyoming.{module}")


def theirs(event: Event) -> object:
    """An event of ours as the reference reads it."""
    read = reference("event").read_event(io.BytesIO(encode(event)))
    assert read is not None
    return read


def ours(event: object) -> Event:
    """An event of the reference's as we read it."""
    stream = io.BytesIO()
    reference("event").write_event(event, stream)
    decoder = Decoder(1 << 20, 1 << 20)
    decoder.feed(stream.getvalue())
    read = decoder.next_event()
    assert read is not None
    assert decoder.between_events
    return read


@given(events)
def test_every_event_is_read_as_it_was_written(event: Event) -> None:
    read = reference("event").read_event(io.BytesIO(encode(event)))
    assert (read.type, read.data, read.payload or b"") == (event.type, event.data, event.payload)
    assert ours(reference("event").Event(event.type, dict(event.data), event.payload or None)) == event


def test_the_reference_understands_our_requests() -> None:
    asr, tts, audio = reference("asr"), reference("tts"), reference("audio")
    asked = asr.Transcribe.from_event(theirs(transcribe("en", "tiny")))
    assert (asked.language, asked.name) == ("en", "tiny")
    wanted = tts.Synthesize.from_event(theirs(synthesize("Hi", {"name": "joe", "speaker": "7"})))
    assert (wanted.text, wanted.voice.name, wanted.voice.speaker) == ("Hi", "joe", "7")
    assert tts.Synthesize.from_event(theirs(synthesize("Hi", {"language": "en"}))).voice.language == "en"
    start = audio.AudioStart.from_event(theirs(audio_start(AudioFormat(16000))))
    assert (start.rate, start.width, start.channels) == (16000, 2, 1)
    assert audio.AudioChunk.from_event(theirs(audio_chunk(AudioFormat(8000), b"\1\2"))).audio == b"\1\2"


def test_the_reference_understands_our_answers() -> None:
    assert reference("asr").Transcript.from_event(theirs(transcript("hi"))).text == "hi"
    failure = reference("error").Error.from_event(theirs(error("full", "busy")))
    assert (failure.text, failure.code) == ("full", "busy")
    info = reference("info").Info.from_event(theirs(OURS.as_event()))
    assert (info.asr[0].name, info.asr[0].version, info.asr[0].models[0].languages) == ("moonshine", "0.0.73", ["en"])
    assert info.tts[0].voices[0].name == "en_US-joe-medium"
    assert info.tts[0].attribution.url == "https://where"
    assert not info.tts[0].supports_synthesize_streaming


def test_we_understand_the_requests_of_the_reference() -> None:
    asr, tts, audio = reference("asr"), reference("tts"), reference("audio")
    asked = ours(asr.Transcribe(language="en").event())
    assert (text_of(asked, "language"), text_of(asked, "name")) == ("en", "")
    voice = tts.SynthesizeVoice(name="joe")
    assert voice_of(ours(tts.Synthesize("Hi", voice=voice).event())) == ("joe", "")
    chunk = ours(audio.AudioChunk(rate=16000, width=2, channels=1, audio=b"\1\2").event())
    assert (audio_format(chunk), chunk.payload) == (AudioFormat(16000), b"\1\2")
    assert ours(audio.AudioStop().event()).type == "audio-stop"


def test_we_understand_the_answers_of_the_reference() -> None:
    assert text_of(ours(reference("asr").Transcript("hi").event())) == "hi"
    assert "boom" in str(failure_of(ours(reference("error").Error("boom", "RuntimeError").event())))
    info = reference("info")
    attribution = info.Attribution("who", "https://where")
    voice = info.TtsVoice("joe", attribution, True, None, None, ["en_US"])
    program = info.TtsProgram("piper", attribution, True, None, None, [voice])
    read = parse_info(ours(info.Info(tts=[program]).event()))
    assert read.tts[0].offers == (Offer("joe", ("en_US",)),)
