"""The parsers of what a vendor's service, a speech server or its client sends."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from agentd.errors import ProviderProtocolError
from agentd.history import History
from agentd.parsing import load_json
from agentd_providers.deepgram import listen_messages
from agentd_providers.deepgram.voice_agent.events import AgentAudio
from agentd_providers.deepgram.voice_agent.machine import DeepgramMachine
from agentd_providers.deepgram.voice_agent.reader import EventReader as DeepgramReader
from agentd_providers.deepgram.voice_agent.settings import DeepgramAgentSettings
from agentd_providers.openai.realtime.audio import RealtimeAudio
from agentd_providers.openai.realtime.machine import RealtimeMachine
from agentd_providers.openai.realtime.reader import EventReader as RealtimeReader
from agentd_providers.openai.realtime.settings import RealtimeAudioFormat, RealtimeTurnSettings
from agentd_providers.vendor import commands as do
from agentd_providers.vendor import inputs
from agentd_providers.vendor.audio_body import AudioBody
from agentd_providers.wyoming.info import parse_info
from agentd_providers.wyoming.protocol import Decoder, Event, audio_format, failure_of, text_of, voice_of
from tests.fuzz.target import Target, each, pieces

READERS: tuple[Callable[[Event], object], ...] = (parse_info, audio_format, text_of, voice_of, failure_of)
AGENT_SETTINGS, TURNS = DeepgramAgentSettings(), RealtimeTurnSettings()


def wyoming(data: bytes) -> None:
    decoder = Decoder(max_data=1 << 16, max_payload=1 << 16)
    for piece in pieces(data):
        decoder.feed(piece)
        while (event := decoder.next_event()) is not None:
            each((partial(read, event) for read in READERS), ProviderProtocolError)


def wav(data: bytes) -> None:
    for raw_rate in (0, 24000):
        body = AudioBody("the fuzzer", 8000, raw_rate, 1 << 20)
        with suppress(ProviderProtocolError):
            for piece in pieces(data):
                body.feed(piece)
            body.flush()
            body.check()


def deepgram_words(data: bytes) -> None:
    turn = listen_messages.TurnWords(0.0)
    for line in data.decode(errors="replace").split("\n"):
        if (results := listen_messages.parse(line)) is not None:
            turn.take(results)


def deepgram_agent(data: bytes) -> None:
    """A session that is told line by line; an empty one is audio."""
    history = History()
    machine, reader = DeepgramMachine(AGENT_SETTINGS, history, str, 100.0), DeepgramReader(_nobody, str)
    _play(data, history, reader.read, machine.step, AgentAudio(bytes(320)))


def realtime(data: bytes) -> None:
    """A session that is told line by line; an empty one is a moment that passes."""
    history, numbers = History(), iter(range(1, 1 << 20))
    audio = RealtimeAudio(RealtimeAudioFormat.PCM16, 8000)
    machine = RealtimeMachine(TURNS, "Be kind.", history, audio, lambda: next(numbers))
    _play(data, history, RealtimeReader(_nobody, opening=True).read, machine.step, inputs.Tick())


def _play(
    data: bytes,
    history: History,
    read: Callable[[str | bytes], object],
    step: Callable[..., tuple[do.Command, ...]],
    otherwise: object,
) -> None:
    now = 100.0
    for line in data.decode(errors="replace").split("\n"):
        now += 0.1
        step(inputs.CallerAudio(bytes(320), now, 0.02), now)
        for event in (read(line) if line else otherwise, inputs.Tick()):
            for command in step(event, now) if event is not None else ():
                match command:
                    case do.RecordCaller(text, place):
                        history.caller_said(text, place)
                    case do.RecordTool(use):
                        history.tool_used(use)


def _nobody(_metric: str) -> None:
    pass


TARGETS: Mapping[str, Target] = {
    "deepgram-listen": Target(
        deepgram_words,
        (ProviderProtocolError,),
        (
            b'{"type":"Results","start":0.1,"duration":1,"is_final":true,"channel":{"alternatives":[{"transcript":"hi",'
            b'"words":[{"word":"hi","punctuated_word":"Hi.","start":0.2,"end":0.4}]}]}}',
            b'{"type":"Metadata"}',
        ),
        is_json=True,
    ),
    "deepgram-agent": Target(
        deepgram_agent,
        (),
        (
            b'{"type":"UserStartedSpeaking"}\n{"type":"ConversationText","role":"user","content":"Hi."}\n'
            b'{"type":"ConversationText","role":"assistant","content":"Yes?"}\n'
            b'{"type":"AgentStartedSpeaking","total_latency":1.2,"tts_latency":0.3,"ttt_latency":0.4}\n\n\n'
            b'{"type":"AgentAudioDone"}',
            b'{"type":"FunctionCallRequest","functions":[{"id":"1","name":"t","arguments":"{}","client_side":true}]}\n'
            b'{"type":"FunctionCallCancelled","functions":[{"id":"1","name":"t"}]}',
            b'{"type":"Error","code":"X","description":"y"}\n{"type":"Warning","code":"x","description":"y"}',
            b'{"type":"LatencyReport","stt_latency":0.1}\n{"type":"InjectionRefused","message":"x"}',
        ),
        is_json=True,
    ),
    "openai-realtime": Target(
        realtime,
        (),
        (
            b'{"type":"session.created","session":{"id":"s","expires_at":1}}\n{"type":"session.updated"}',
            b'{"type":"input_audio_buffer.speech_started","audio_start_ms":100,"item_id":"i"}\n'
            b'{"type":"input_audio_buffer.speech_stopped","audio_end_ms":400,"item_id":"i"}\n'
            b'{"type":"conversation.item.input_audio_transcription.completed","item_id":"i","transcript":"hi"}\n'
            b'{"type":"response.created","response":{"id":"r"}}\n'
            b'{"type":"response.output_audio.delta","response_id":"r","item_id":"j","delta":"AAAA"}\n\n'
            b'{"type":"response.done","response":{"id":"r","status":"completed","output":[{"type":"function_call",'
            b'"call_id":"c","name":"t","arguments":"{}"}]}}',
            b'{"type":"error","error":{"type":"invalid_request_error","code":"x","message":"y","event_id":"e"}}',
            b'{"type":"rate_limits.updated","rate_limits":[{"name":"tokens","remaining":0,"reset_seconds":1}]}',
        ),
        is_json=True,
    ),
    "wyoming": Target(
        wyoming,
        (ProviderProtocolError,),
        (
            b'\x80{"type":"info","data":{"asr":[{"name":"x","installed":true,"models":[{"name":"m","installed":true,'
            b'"languages":["en"]}]}]}}\n',
            b'\x40{"type":"audio-chunk","data":{"rate":16000,"width":2,"channels":1},"payload_length":4}\nabcd',
            b'\x10{"type":"transcript","data_length":13}\n{"text":"hi"}',
            b'\x10{"type":"synthesize","data":{"text":"hi","voice":{"name":"v"}}}\n',
        ),
        is_json=True,
    ),
    "wav": Target(
        wav,
        (ProviderProtocolError,),
        (
            b"\x20RIFF\xff\xff\xff\xffWAVE"
            b"fmt \x10\x00\x00\x00\x01\x00\x01\x00\xc0]\x00\x00\x80\xbb\x00\x00\x02\x00\x10\x00"
            b"data\xff\xff\xff\xff" + bytes(40),
        ),
    ),
    "json": Target(load_json, (ValueError,), (b'{"a":[1,"\\ud83d\\ude00",null,1e5]}', b"[[[[]]]]"), is_json=True),
}
