"""A Deepgram Voice Agent that is none, as strict as the published protocol lets it be.

It hears by loudness: a stretch of loud audio is the caller speaking, the silence after it ends the turn; what was said
then, and what the agent does about it, stands in a script. The order of messages is that of
https://developers.deepgram.com/docs/voice-agent-message-flow, the fields are those of AgentV1 in
https://github.com/deepgram/deepgram-api-specs (asyncapi.yml). A client that breaks the rules gets the documented Error
(https://developers.deepgram.com/docs/voice-agent-errors-warnings), which is also kept in `errors`, and is closed.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import trio

from agentd.audio.level import rms_dbfs
from agentd.errors import ungrouped

from .peer import SWITCHING, PeerConnection, WebSocketPeer

PATH = "/v1/agent/converse"
KEY = "deepgram-key-that-nobody-may-see"
REFUSALS: Mapping[int, bytes] = {
    # https://developers.deepgram.com/docs/errors
    401: b'{"err_code":"INVALID_AUTH","err_msg":"Invalid credentials.","request_id":"uuid"}',
    429: b'{"err_code":"TOO_MANY_REQUESTS","err_msg":"Too many requests. Please try again later","request_id":"uuid"}',
}
LOUD_DBFS = -40.0
OUTPUT_RATES = (8000, 16000, 24000, 32000, 44100, 48000)
"""Of linear16 (https://developers.deepgram.com/docs/tts-media-output-settings)."""


@attrs.frozen
class Call:
    """A function that the model calls. `early`: before the caller's turn is confirmed, as speculative replies do
    (https://developers.deepgram.com/docs/voice-agent-speculative-replies)."""

    name: str
    arguments: str = "{}"
    early: bool = False


@attrs.frozen
class Turn:
    """What the caller says, and what the agent does about it: it calls functions, waits for what they give, and says
    its sentences, each with `seconds` of a tone or, where there is any, with `pcm` (slin at the output's rate)."""

    heard: str = "Hello."
    says: Sequence[str] = ("Good day to you.",)
    seconds: float = 1.0
    pcm: bytes = attrs.field(default=b"", repr=False)
    calls: Sequence[Call] = ()


@attrs.define
class Spoken:
    """What the agent said, in sentences; times are time.monotonic()."""

    text: str
    began_at: float
    first_audio_at: float = math.nan
    seconds: float = 0.0
    """Of audio that was sent."""
    complete: bool = False


@attrs.frozen
class Received:
    """A message of the client's (JSON), and when it came (time.monotonic())."""

    at: float
    message: Mapping[str, Any]

    @property
    def type(self) -> str:
        return str(self.message.get("type"))


@attrs.define(eq=False)
class DeepgramAgentFake:
    """Give `serve` to a peer, with `admit`. It follows `script` turn by turn, and its last turn for ever."""

    script: Sequence[Turn] = (Turn(),)
    key: str = KEY
    silence_ms: int = 300
    """Quiet that ends the caller's turn."""
    start_ms: int = 100
    """Loud audio until UserStartedSpeaking."""
    words_ms: int = 200
    """Loud audio within a turn without which no words are recognised in it."""
    confirm_seconds: float = 0.0
    """From an early function call until the turn is confirmed."""
    think_seconds: float = 0.02
    paced: bool = False
    """Audio in real time; else as fast as it can be sent."""
    piece_ms: int = 100
    """Audio in one binary message."""
    odd_pieces: bool = False
    """Messages end in mid-sample: no even length is documented."""
    says_welcome: bool = True
    settings_seconds: float = 0.0
    """Until SettingsApplied."""
    settings_error: str = ""
    """Code of an Error in its place."""
    stale_seconds: float = 0.0
    """Audio of an interrupted answer that still comes after UserStartedSpeaking, with a last sentence of it."""
    reports_latency: bool = True
    echoes_injected: bool = True
    """InjectUserMessage comes back as ConversationText: not documented either way."""
    splits_injected: bool = False
    """InjectAgentMessage comes back sentence by sentence."""
    refuses_by_warning: bool = False
    """A Warning in place of InjectionRefused; its codes are documented."""
    cancels_calls: bool = True
    says_started: bool = True
    """AgentStartedSpeaking is sent."""
    tells_words: bool = True
    """ConversationText of the agent comes before its audio; else after it."""
    idle_seconds: float = 10.0
    """Without any message of the client's until CLIENT_MESSAGE_TIMEOUT."""
    sessions: list["Session"] = attrs.field(factory=list, init=False)
    errors: list[str] = attrs.field(factory=list, init=False)
    """Codes of the Errors that clients were sent."""
    turns_taken: int = attrs.field(default=0, init=False)

    def peer(self, **settings: Any) -> WebSocketPeer:
        """A peer to serve this on, with Deepgram's own refusals."""
        return WebSocketPeer(refusals=REFUSALS, **settings)

    def admit(self, path: str, headers: Mapping[str, str]) -> int:
        """For the peer: who is let in."""
        if path != PATH:
            return 404
        return SWITCHING if headers.get("authorization") == f"Token {self.key}" else 401

    async def serve(self, connection: PeerConnection) -> None:
        """One client."""
        session = Session(self, connection)
        self.sessions.append(session)
        try:
            await session.run()
        except Refusal as refusal:
            self.errors.append(refusal.code)
            await connection.send({"type": "Error", "description": refusal.description, "code": refusal.code})
            await connection.close()

    @property
    def session(self) -> "Session":
        """The newest."""
        return self.sessions[-1]

    def next_turn(self) -> Turn:
        """The script's next."""
        turn = self.script[min(self.turns_taken, len(self.script) - 1)]
        self.turns_taken += 1
        return turn


class Refusal(Exception):
    """The client broke the protocol; `code` and `description` are those of the Error that it gets."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code, self.description = code, description


@attrs.define(eq=False)
class Session:
    """One client's conversation, and what is known of it afterwards."""

    fake: DeepgramAgentFake
    connection: PeerConnection
    settings: Mapping[str, Any] = attrs.field(factory=dict, init=False)
    received: list[Received] = attrs.field(factory=list, init=False)
    audio: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    spoken: list[Spoken] = attrs.field(factory=list, init=False)
    started_at: list[float] = attrs.field(factory=list, init=False)
    """When UserStartedSpeaking was sent (time.monotonic())."""
    responses: dict[str, str] = attrs.field(factory=dict, init=False)
    """What functions gave, by the request's id."""
    _speaking: bool = attrs.field(default=False, init=False)
    _loud: float = attrs.field(default=0.0, init=False)
    _quiet: float = attrs.field(default=0.0, init=False)
    _answering: trio.CancelScope | None = attrs.field(default=None, init=False)
    _open_calls: dict[str, str] = attrs.field(factory=dict, init=False)
    _responded: trio.Event = attrs.field(factory=trio.Event, init=False)
    _asked: int = attrs.field(default=0, init=False)
    _nursery: trio.Nursery = attrs.field(init=False)

    def messages(self, kind: str) -> list[Mapping[str, Any]]:
        """What came of one type."""
        return [each.message for each in self.received if each.type == kind]

    async def send(self, message: str | bytes | Mapping[str, Any]) -> None:
        """Send anything to the client."""
        await self.connection.send(message)

    # --- its life

    async def run(self) -> None:
        """Serve until the client leaves. Raises Refusal."""
        if not self.fake.says_welcome:
            await trio.sleep_forever()
        await self.send({"type": "Welcome", "request_id": "fc553ec9-5874-49ca-a47c-b670d525a4b1"})
        self._take_settings(await self._receive())
        with ungrouped(Refusal):
            async with trio.open_nursery() as self._nursery:
                await self._apply()
                while True:
                    await self._take(await self._receive())

    async def _receive(self) -> str | bytes:
        with trio.move_on_after(self.fake.idle_seconds):
            return await self.connection.receive()
        raise Refusal(
            "CLIENT_MESSAGE_TIMEOUT",
            "We waited too long for a websocket message. Please ensure that you're sending binary messages"
            " containing user speech.",  # https://github.com/deepgram/deepgram-js-sdk/issues/419
        )

    def _take_settings(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            raise Refusal("NON_SETTINGS_MESSAGE_BEFORE_SETTINGS", "audio before a Settings message")
        fields = self._read(message)
        if fields.get("type") != "Settings":
            raise Refusal("NON_SETTINGS_MESSAGE_BEFORE_SETTINGS", "another message before a Settings message")
        check_settings(fields)
        self.settings = fields

    async def _apply(self) -> None:
        """Nothing may come until the settings are applied."""
        early: str | bytes | None = None
        with trio.move_on_after(self.fake.settings_seconds):
            early = await self.connection.receive()
        if early is not None:
            raise Refusal("NON_SETTINGS_MESSAGE_BEFORE_SETTINGS", "a message before SettingsApplied")
        if self.fake.settings_error:
            raise Refusal(self.fake.settings_error, "as the test wants it")
        await self.send({"type": "SettingsApplied"})
        if greeting := self.settings["agent"].get("greeting"):
            self._start(self._speak, [greeting], 1.0, b"")

    async def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await self._hear(message)
            return
        fields = self._read(message)
        match fields.get("type"):
            case "Settings":
                raise Refusal("SETTINGS_ALREADY_APPLIED", "a second Settings message")
            case "KeepAlive":
                _object(fields, "", {"type": _text})
            case "InjectAgentMessage":
                _object(fields, "", {"type": _text, "message": _text}, {"behavior": _one_of(*BEHAVIOURS)})
                await self._inject(fields["message"], fields.get("behavior", "default"))
            case "InjectUserMessage":
                _object(fields, "", {"type": _text, "content": _text})
                self._start(self._answer, fields["content"] if self.fake.echoes_injected else "", self.fake.next_turn())
            case "UpdatePrompt":  # https://developers.deepgram.com/docs/voice-agent-update-prompt
                _object(fields, "", {"type": _text, "prompt": _text})
                await self.send({"type": "PromptUpdated"})
            case "UpdateListen":  # AgentV1UpdateListen in the API's specification
                _object(fields, "", {"type": _text, "listen": _fields({"provider": _listen_provider})})
                await self.send({"type": "ListenUpdated"})
            case "UpdateThink":  # https://developers.deepgram.com/docs/voice-agent-update-think
                _object(fields, "", {"type": _text, "think": _think})
                await self.send({"type": "ThinkUpdated"})
            case "UpdateSpeak":  # https://developers.deepgram.com/docs/voice-agent-update-speak
                _object(fields, "", {"type": _text, "speak": _speak})
                await self.send({"type": "SpeakUpdated"})
            case "ForceEndTurn":  # AgentV1ForceEndTurn in the API's specification
                _object(fields, "", {"type": _text})
                self._end_turn()
            case "FunctionCallResponse":
                _object(fields, "", {"type": _text, "id": _text, "name": _text, "content": _text})
                self._respond(fields)
            case _:
                raise Refusal(
                    "UNPARSABLE_CLIENT_MESSAGE",
                    "Text message received from client did not match any of the formats we expect.",
                )

    def _read(self, message: str) -> Mapping[str, Any]:
        fields = json.loads(message)
        if not isinstance(fields, dict):
            raise Refusal("UNPARSABLE_CLIENT_MESSAGE", "not an object")
        self.received.append(Received(time.monotonic(), fields))
        return fields

    # --- the caller

    async def _hear(self, pcm: bytes) -> None:
        if not pcm:
            raise Refusal("USER_AUDIO_FORMAT", "an empty message of audio")
        if len(pcm) % 2:
            raise Refusal("USER_AUDIO_FORMAT", "half a sample of linear16")
        self.audio += pcm
        seconds = len(pcm) / 2 / self.settings["audio"]["input"]["sample_rate"]
        if rms_dbfs(pcm) > LOUD_DBFS:
            self._loud, self._quiet = self._loud + seconds, 0.0
        else:
            self._quiet += seconds
        if not self._speaking and self._loud * 1000 >= self.fake.start_ms - 1e-6:
            await self._caller_starts()
        if self._quiet * 1000 >= self.fake.silence_ms - 1e-6 and self._loud:
            self._end_turn()

    def _end_turn(self) -> None:
        words, self._loud = self._loud * 1000 >= self.fake.words_ms - 1e-6, 0.0
        speaking, self._speaking = self._speaking, False
        if speaking and words:
            turn = self.fake.next_turn()
            self._start(self._answer, turn.heard, turn)

    async def _caller_starts(self) -> None:
        self._speaking = True
        was_speaking, calls = self._answering is not None, self._open_calls
        self._stop()
        self.started_at.append(time.monotonic())
        await self.send({"type": "UserStartedSpeaking"})
        if calls and self.fake.cancels_calls:
            cancelled = [{"id": call, "name": name} for call, name in calls.items()]
            await self.send({"type": "FunctionCallCancelled", "functions": cancelled})
        if was_speaking and self.fake.stale_seconds:
            await self.send(conversation_text("assistant", "This is of the past."))
            for piece in self._pieces(self._tone(self.fake.stale_seconds)):
                await self.send(piece)

    # --- the agent

    def _start(self, work: Callable[..., Any], *args: Any) -> None:
        self._stop()
        scope = self._answering = trio.CancelScope()

        async def run() -> None:
            with scope:
                await work(*args)
            if self._answering is scope:
                self._answering = None

        self._nursery.start_soon(run)

    def _stop(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
        self._answering, self._open_calls = None, {}

    async def _answer(self, heard: str, turn: Turn) -> None:
        if early := [call for call in turn.calls if call.early]:
            await self._call(early)
            await trio.sleep(self.fake.confirm_seconds)
        if heard:
            await self.send(conversation_text("user", heard))
            await self.send({"type": "History", "role": "user", "content": heard})
        await self.send({"type": "AgentThinking", "content": "What could be meant?"})
        await trio.sleep(self.fake.think_seconds)
        await self._call([call for call in turn.calls if not call.early])
        while self._open_calls:
            await self._responded.wait()
        await self._speak(turn.says, turn.seconds, turn.pcm)

    async def _call(self, calls: Sequence[Call]) -> None:
        if not calls:
            return
        functions = []
        for call in calls:
            self._asked += 1
            name = f"fc_12345678-90ab-cdef-1234-{self._asked:012d}"
            self._open_calls[name] = call.name
            functions.append({"id": name, "name": call.name, "arguments": call.arguments, "client_side": True})
        # https://developers.deepgram.com/docs/voice-agent-function-call-request
        await self.send({"type": "FunctionCallRequest", "functions": functions})

    def _respond(self, fields: Mapping[str, Any]) -> None:
        if fields["id"] in self._open_calls:  # a late one is dropped
            self.responses[fields["id"]] = fields["content"]
            del self._open_calls[fields["id"]]
            self._responded.set()
            self._responded = trio.Event()

    async def _inject(self, text: str, behaviour: str) -> None:
        """https://developers.deepgram.com/docs/voice-agent-inject-agent-message"""
        if behaviour != "interrupt" and self._speaking:
            await self._refuse("USER", "user is speaking")
        elif behaviour == "default" and self._answering is not None:
            await self._refuse("AGENT", "agent is currently speaking")
        else:
            sentences = text.replace(". ", ".\n").split("\n") if self.fake.splits_injected else [text]
            self._start(self._speak, sentences, 1.0, b"")

    async def _refuse(self, who: str, why: str) -> None:
        if self.fake.refuses_by_warning:
            code = f"INJECT_AGENT_MESSAGE_DURING_{who}_SPEECH"
            await self.send({"type": "Warning", "description": f"Message not injected: {why}", "code": code})
        else:
            await self.send({"type": "InjectionRefused", "message": f"Cannot inject message while {why}"})

    async def _speak(self, sentences: Sequence[str], seconds: float, pcm: bytes) -> None:
        for sentence in sentences:
            if self.fake.tells_words:
                await self.send(conversation_text("assistant", sentence))
            if self.fake.says_started and sentence is sentences[0]:
                started = {"type": "AgentStartedSpeaking", "total_latency": 0.5, "tts_latency": 0.2, "ttt_latency": 0.3}
                await self.send(started)
            spoken = Spoken(sentence, time.monotonic())
            self.spoken.append(spoken)
            await self._sound(pcm or self._tone(seconds), spoken)
            if not self.fake.tells_words:
                await self.send(conversation_text("assistant", sentence))
            spoken.complete = True
        await self.send({"type": "AgentAudioDone"})
        if self.fake.reports_latency:
            # One report after another, each of some parts, as servers were seen to send them.
            await self.send({"type": "LatencyReport", "stt_latency": 0.12})
            await self.send({"type": "LatencyReport", "ttt_token_latency": 0.34, "tts_latency": 0.2})

    async def _sound(self, pcm: bytes, spoken: Spoken) -> None:
        began = trio.current_time()
        for piece in self._pieces(pcm):
            if self.fake.paced:
                await trio.sleep_until(began + spoken.seconds)
            if math.isnan(spoken.first_audio_at):
                spoken.first_audio_at = time.monotonic()
            await self.send(piece)
            spoken.seconds += len(piece) / 2 / self._rate

    @property
    def _rate(self) -> int:
        return int(self.settings["audio"]["output"]["sample_rate"])

    def _pieces(self, pcm: bytes) -> list[bytes]:
        length = self._rate * self.fake.piece_ms // 1000 * 2 + (1 if self.fake.odd_pieces else 0)
        return [pcm[start : start + length] for start in range(0, len(pcm), length)]

    def _tone(self, seconds: float) -> bytes:
        times = np.arange(int(seconds * self._rate)) / self._rate
        return (8000 * np.sin(2 * np.pi * 440 * times)).astype("<i2").tobytes()


def conversation_text(role: str, content: str) -> dict[str, str]:
    """https://developers.deepgram.com/docs/voice-agent-conversation-text"""
    return {"type": "ConversationText", "role": role, "content": content}


# --- Settings (https://developers.deepgram.com/docs/configure-voice-agent) ----------------------------------

BEHAVIOURS = ("default", "queue", "interrupt")
THINKERS: Mapping[str, tuple[str, ...]] = {
    # https://developers.deepgram.com/docs/voice-agent-llm-models, https://developers.deepgram.com/docs/llm/voice-agent
    "open_ai": ("gpt-",),
    "anthropic": ("claude-",),
    "google": ("gemini-",),
    "nvidia": ("nemotron", "nvidia"),
    "deepgram": ("think-fast", "phonellm"),
}
"""How the names begin of those that Deepgram has itself."""
INPUT_ENCODINGS = (
    *("linear16", "linear32", "flac", "alaw", "mulaw", "amr-nb", "amr-wb", "opus", "ogg-opus", "speex", "g729"),
)
OUTPUT_ENCODINGS = ("linear16", "mulaw", "alaw", "mp3", "opus", "flac", "aac")
Check = Callable[[Any, str], None]


def check_settings(fields: Mapping[str, Any]) -> None:
    """Raises Refusal for a Settings message with an unknown, missing or ill-typed field, or with audio that is not
    linear16 without a container."""
    _object(
        fields,
        "",
        {"type": _text, "audio": _audio, "agent": _agent},
        {"tags": _texts, "experimental": _flag, "mip_opt_out": _flag, "flags": _fields({}, {"history": _flag})},
    )


def _audio(value: Any, path: str) -> None:
    sound = {"encoding": _one_of(*INPUT_ENCODINGS), "sample_rate": _integer}
    output = {
        "encoding": _one_of(*OUTPUT_ENCODINGS),
        "sample_rate": _integer,
        "container": _one_of("none", "wav", "ogg"),
    }
    _object(value, path, {"input": _fields(sound), "output": _fields(output, {"bitrate": _integer})})
    for way in ("input", "output"):
        if value[way]["encoding"] != "linear16":
            raise Refusal("USER_AUDIO_FORMAT", f"this fake takes linear16 only, not {value[way]['encoding']}")
    if value["output"]["sample_rate"] not in OUTPUT_RATES or value["output"]["container"] != "none":
        raise Refusal("INVALID_SETTINGS", f"no such output: {value['output']}")


def _agent(value: Any, path: str) -> None:
    _object(
        value,
        path,
        {"listen": _fields({"provider": _listen_provider}), "think": _think, "speak": _speak},
        {"language": _text, "greeting": _text, "context": _fields({"messages": _list_of(_history)})},
    )


def _listen_provider(value: Any, path: str) -> None:
    common = {"type": _one_of("deepgram"), "model": _text}
    if isinstance(value, dict) and value.get("version") == "v2":
        own: dict[str, Check] = {"language_hints": _texts, "eot_threshold": _number, "eager_eot_threshold": _number}
        _object(value, path, {**common, "version": _text}, {**own, "eot_timeout_ms": _integer, "keyterms": _texts})
        _known(value, path, "v2", ("flux-",))  # https://developers.deepgram.com/docs/flux/agent
    else:
        own = {"version": _one_of("v1"), "language": _text, "keyterms": _texts, "smart_format": _flag}
        _object(value, path, common, own)
        _known(value, path, "v1", ("nova", "enhanced", "base"))


def _known(provider: Mapping[str, Any], path: str, where: str, names: tuple[str, ...]) -> None:
    """Deepgram refuses a model that it does not have there (error INVALID_SETTINGS,
    https://developers.deepgram.com/docs/voice-agent-errors-warnings)."""
    if not provider["model"].startswith(names):
        raise Refusal("INVALID_SETTINGS", f"{path}.model: {provider['model']!r} is not served in {where}")


def _think(value: Any, path: str) -> None:
    provider = _fields(
        {"type": _one_of("open_ai", "anthropic", "google", "groq", "nvidia", "deepgram"), "model": _text},
        {"version": _text, "temperature": _number, "reasoning_mode": _text},
    )
    function = _fields(
        {"name": _text, "description": _text, "parameters": _anything},
        {"endpoint": _endpoint, "defer_until_eot": _flag},
    )
    _object(
        value,
        path,
        {"provider": provider},
        {"endpoint": _endpoint, "prompt": _text, "context_length": _anything, "functions": _list_of(function)},
    )
    if "endpoint" not in value:
        kind = value["provider"]["type"]
        if kind == "groq":
            raise Refusal("INVALID_SETTINGS", f"{path}.endpoint is required for groq")
        _known(value["provider"], f"{path}.provider", kind, THINKERS[kind])


def _speak(value: Any, path: str) -> None:
    providers: Mapping[str, Check] = {
        "deepgram": _fields(
            {"type": _text, "model": _text},
            {"version": _text, "speed": _number, "expressivity": _integer, "volume": _number},
        ),
        "eleven_labs": _fields({"type": _text, "model_id": _text}, {"version": _text, "language": _text}),
        "cartesia": _fields(
            {"type": _text, "model_id": _text, "voice": _fields({"mode": _text, "id": _text})}, {"language": _text}
        ),
        "open_ai": _fields({"type": _text, "model": _one_of("tts-1", "tts-1-hd"), "voice": _text}),
    }
    _object(value, path, {"provider": _anything}, {"endpoint": _endpoint})
    kind = str(value["provider"].get("type")) if isinstance(value["provider"], dict) else ""
    if kind not in providers:
        raise Refusal("INVALID_SETTINGS", f"{path}.provider.type: {kind!r}")
    providers[kind](value["provider"], f"{path}.provider")
    if kind == "deepgram":
        voice, version = value["provider"]["model"], value["provider"].get("version", "v1")
        names = ("flux-",) if version == "v2" else ("aura-",)  # the default is v1
        _known({"model": voice}, f"{path}.provider", version, names)
    if kind in ("eleven_labs", "open_ai") and "endpoint" not in value:
        raise Refusal("INVALID_SETTINGS", f"{path}.endpoint is required for {kind}")


def _endpoint(value: Any, path: str) -> None:
    _object(value, path, {"url": _text, "headers": _anything}, {"method": _text})
    for name, header in value["headers"].items():
        _text(header, f"{path}.headers.{name}")


def _history(value: Any, path: str) -> None:
    """https://developers.deepgram.com/docs/voice-agent-history"""
    if isinstance(value, dict) and "function_calls" in value:
        texts = {"id": _text, "name": _text, "arguments": _text, "response": _text}
        call = _fields({**texts, "client_side": _flag}, {"thought_signature": _text})
        _object(value, path, {"type": _one_of("History"), "function_calls": _list_of(call)})
    else:
        who = _one_of("user", "assistant")
        _object(value, path, {"type": _one_of("History"), "role": who, "content": _text})


def _object(value: Any, path: str, required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> None:
    if not isinstance(value, dict):
        raise _unparsable(path)
    known = {**required, **(optional or {})}
    for name, content in value.items():
        if name not in known:
            raise _unparsable(f"{path}.{name}".strip("."))
        known[name](content, f"{path}.{name}".strip("."))
    for name in required:
        if name not in value:
            raise _unparsable(f"{path}.{name}".strip("."))


def _unparsable(path: str) -> Refusal:
    return Refusal(
        "UNPARSABLE_CLIENT_MESSAGE", f"Error parsing client message. Check the {path} field against the API spec."
    )


def _fields(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    return lambda value, path: _object(value, path, required, optional)


def _list_of(check: Check) -> Check:
    def listed(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise _unparsable(path)
        for index, item in enumerate(value):
            check(item, f"{path}[{index}]")

    return listed


def _one_of(*choices: str) -> Check:
    def among(value: Any, path: str) -> None:
        if value not in choices:
            raise _unparsable(path)

    return among


def _text(value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise _unparsable(path)


def _texts(value: Any, path: str) -> None:
    _list_of(_text)(value, path)


def _flag(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        raise _unparsable(path)


def _integer(value: Any, path: str) -> None:
    """24000.0 is none to Deepgram (its Python SDK takes care to send 24000)."""
    if type(value) is not int:
        raise _unparsable(path)


def _number(value: Any, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unparsable(path)


def _anything(value: Any, path: str) -> None:
    if value is None:
        raise _unparsable(path)
