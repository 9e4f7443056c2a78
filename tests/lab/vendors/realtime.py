"""A fake of OpenAI's Realtime API (GA), strict: it takes what is published and nothing else, and keeps the published
order of its own messages.

Sources of the messages' forms and order:
https://platform.openai.com/docs/api-reference/realtime-client-events,
https://platform.openai.com/docs/api-reference/realtime-server-events,
https://platform.openai.com/docs/guides/realtime-conversations, https://platform.openai.com/docs/guides/realtime-vad.
The words and codes of errors are those that users have posted; where the documentation is silent the fake is too, and
notes what a careful client would not have done in `RealtimeFake.breaches`.
"""

import base64
import binascii
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import trio

from agentd.audio.g711 import alaw_to_slin, slin_to_alaw, slin_to_ulaw, ulaw_to_slin
from agentd.audio.resample import convert

from .peer import SWITCHING, PeerConnection, PeerGone
from .realtime_protocol import CLIENT_EVENTS, ITEM_NEEDS, Refused, check, check_names, merge

KEY = "sk-of-the-fake"
PCM_RATE, G711_RATE = 24000, 8000
LOUD = 800.0
"""Root mean square of a window, above which it is speech."""
ONSET_MS, WINDOW_MS = 200, 20
PIECE_MS = 100
SEMANTIC_SILENCE_MS = 600
SMALLEST_COMMIT_MS = 100


@attrs.frozen
class Reply:
    """One response of the model's. Its voice is `pcm` (slin, 24 kHz) or, without one, a tone of `seconds`; an empty
    text and no seconds: it says nothing. `pace`: seconds that a second of audio takes to come, 0: all at once. `calls`:
    the tools it asks for, as (name, arguments). A `failure` (code) is all there is of a response that fails; an
    `incomplete` reason comes after what is said."""

    text: str = "I hear you."
    seconds: float = 1.0
    pcm: bytes = b""
    pace: float = 0.0
    delay: float = 0.0
    calls: Sequence[tuple[str, str]] = ()
    failure: str = ""
    incomplete: str = ""


@attrs.define
class Answered:
    """A response that was made; times are seconds of the monotonic clock, 0 where it did not come to it."""

    response: str
    created_at: float
    first_audio_at: float = 0.0
    done_at: float = 0.0
    audio_ms: float = 0.0
    status: str = ""


@attrs.define(eq=False)
class RealtimeFake:
    """The vendor. `handler` and `admit` are for tests.lab.vendors.peer.open_peer; settings may change at any time.

    `replies` are what the model answers, one a response, then `reply` for ever; what `response.create` asks to be said
    beside the conversation is said. `transcripts` are what the caller is taken to have said, one a turn, then "Hello.".
    """

    key: str = KEY
    replies: deque[Reply] = attrs.field(factory=deque)
    reply: Reply = attrs.field(factory=Reply)
    transcripts: deque[str] = attrs.field(factory=deque)
    transcription_delay: float = 0.0
    update_delay: float = 0.0
    """Seconds after which a session.update is acknowledged."""
    refuse_key_late: bool = False
    """A wrong key is let in, and told by an error and the close (as was seen), not by HTTP 401."""
    takes_languages: bool = True
    """Servers that speak the same know no `languages`."""
    expires_in: float = 3600.0
    scarce: bool = False
    """The rate limits are nearly used up."""
    received: list[tuple[float, Mapping[str, Any]]] = attrs.field(factory=list)
    """Every message of the clients', with the monotonic second at which it came; audio too."""
    breaches: list[str] = attrs.field(factory=list)
    """What a careful client would not have done."""
    errors: list[Mapping[str, Any]] = attrs.field(factory=list)
    """Error events that were sent."""
    answers: list[Answered] = attrs.field(factory=list)
    sessions: list["FakeRealtimeSession"] = attrs.field(factory=list)

    def admit(self, path: str, headers: Mapping[str, str]) -> int:
        """Whether a client is let in: the HTTP status."""
        target, _, query = path.partition("?")
        if not target.endswith("/realtime") or "model=" not in query:
            return 404
        if headers.get("authorization") != f"Bearer {self.key}" and not self.refuse_key_late:
            return 401
        return SWITCHING

    async def handler(self, connection: PeerConnection) -> None:
        """Serve one client."""
        async with trio.open_nursery() as nursery:
            session = FakeRealtimeSession(self, connection, nursery)
            self.sessions.append(session)
            try:
                await session.serve()
            finally:
                nursery.cancel_scope.cancel()

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """The messages of a type that came so far."""
        return [message for _, message in self.received if message.get("type") == kind]

    @property
    def control(self) -> list[str]:
        """The types of all messages but audio, in order."""
        return [message["type"] for _, message in self.received if message["type"] != "input_audio_buffer.append"]

    @property
    def conversation(self) -> list[tuple[str, str]]:
        """What the last session's model knows: (role or type, text), in order."""
        return [(item.role, item.text) for item in self.sessions[-1].items.values()]

    @property
    def audio(self) -> bytes:
        """The caller audio that the last session heard: slin at the session's rate."""
        return bytes(self.sessions[-1].heard)


@attrs.define
class Item:
    """An item of the conversation. `role` is a message's, else the item's type."""

    id: str
    role: str
    text: str = ""
    audio_ms: float = 0.0


@attrs.define(eq=False)
class _Speaking:
    """A response in progress."""

    id: str
    answered: Answered
    aside: bool
    item: Item | None = None
    part_open: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    cancelled_by: str = ""
    finished: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class FakeRealtimeSession:
    """One client's session."""

    fake: RealtimeFake
    connection: PeerConnection
    nursery: trio.Nursery
    settings: dict[str, Any] = attrs.field(factory=dict)
    items: dict[str, Item] = attrs.field(factory=dict)
    heard: bytearray = attrs.field(factory=bytearray)
    acknowledged: bool = False
    _token: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token)
    _numbers: "itertools.count[int]" = attrs.field(factory=lambda: itertools.count(1))
    _active: dict[str, _Speaking] = attrs.field(factory=dict)
    _judged: int = 0
    _buffered_ms: float = 0.0
    _loud_ms: float = 0.0
    _quiet_ms: float = 0.0
    _turn: str = ""
    """The item of the turn that the caller is speaking."""
    _caught: list[str] = attrs.field(factory=list)
    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def serve(self) -> None:
        """Talk until the client leaves."""
        headers = self.connection.request_headers
        if "openai-beta" in headers:
            await self._fatal(
                "beta_api_shape_disabled",
                "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API.",
                4000,
            )
            return
        if headers.get("authorization") != f"Bearer {self.fake.key}":
            await self._fatal("invalid_api_key", "Incorrect API key provided: sk-no***ne.", 3000)
            return
        self.settings = {
            "type": "realtime",
            "object": "realtime.session",
            "id": "sess_1",
            "model": self.connection.request_path.partition("model=")[2],
            "output_modalities": ["audio"],
            "instructions": "Your knowledge cutoff is 2023-10.",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "expires_at": int(time.time() + self.fake.expires_in),
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": PCM_RATE},
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": 0.5,
                        "prefix_padding_ms": 300,
                        "silence_duration_ms": 200,
                        "create_response": True,
                        "interrupt_response": True,
                    },
                },
                "output": {"format": {"type": "audio/pcm", "rate": PCM_RATE}, "voice": "marin", "speed": 1},
            },
        }
        await self.tell("session.created", session=self.settings)
        while True:
            message = await self.connection.receive()
            await self._take(message)

    def expire(self) -> None:
        """The session has lasted too long; from any thread."""
        self._token.run_sync_soon(self.nursery.start_soon, self._expire)

    def answer_unasked(self) -> None:
        """The server answers by itself, as it does when a turn is over, just when the client asks for something."""
        self._respond({})

    async def _expire(self) -> None:
        await self._fatal("session_expired", "Your session hit the maximum duration of 60 minutes.", 1001)

    async def tell(self, kind: str, **fields: Any) -> None:
        """Send an event."""
        await self.connection.send({"type": kind, "event_id": f"event_{next(self._numbers)}", **fields})

    async def _fatal(self, code: str, message: str, close: int) -> None:
        await self._error(Refused(code, message), None)
        await self.connection.close(close, f"invalid_request_error.{code}")

    async def _error(self, refused: Refused, cause: str | None) -> None:
        error = {
            "type": "invalid_request_error",
            "code": refused.code,
            "message": refused.message,
            "param": refused.param,
            "event_id": cause,
        }
        self.fake.errors.append(error)
        await self.tell("error", error=error)

    # --- what the client asks

    async def _take(self, text: str | bytes) -> None:
        cause = None
        try:
            if isinstance(text, bytes):
                raise Refused("invalid_event", "Binary messages are not supported.")
            try:
                message = json.loads(text)
            except ValueError:
                raise Refused("invalid_json", "Invalid JSON.") from None
            if not isinstance(message, dict) or "type" not in message:
                raise Refused("invalid_event", "The 'type' field is missing.")
            self.fake.received.append((time.monotonic(), message))
            cause = message.get("event_id")
            kind = message["type"]
            if kind not in CLIENT_EVENTS:
                raise Refused("invalid_value", f"Invalid value: {kind!r}. Supported values are: ...", "type")
            fields = {name: value for name, value in message.items() if name not in ("type", "event_id")}
            check(fields, CLIENT_EVENTS[kind], "")
            if kind != "session.update" and not self.acknowledged:
                self.fake.breaches.append(f"{kind} before session.updated")
            await self._carry_out(kind, fields)
        except Refused as refused:
            await self._error(refused, cause)

    async def _carry_out(self, kind: str, fields: Mapping[str, Any]) -> None:
        match kind:
            case "session.update":
                await self._update(fields["session"])
            case "input_audio_buffer.append":
                await self._append(fields["audio"])
            case "input_audio_buffer.commit":
                if self._buffered_ms < SMALLEST_COMMIT_MS:
                    raise Refused(
                        "input_audio_buffer_commit_empty",
                        "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                        f"but buffer only has {self._buffered_ms:.2f}ms of audio.",
                    )
                await self._commit(self._name("item"))
            case "input_audio_buffer.clear":
                self._buffered_ms = 0.0
                await self.tell("input_audio_buffer.cleared")
            case "conversation.item.create":
                await self._create_item(fields["item"])
            case "conversation.item.truncate":
                await self._truncate(fields["item_id"], fields["content_index"], fields["audio_end_ms"])
            case "conversation.item.delete":
                if self.items.pop(fields["item_id"], None) is None:
                    raise Refused("item_delete_invalid_item_id", "Error deleting item: it does not exist.", "item_id")
                await self.tell("conversation.item.deleted", item_id=fields["item_id"])
            case "conversation.item.retrieve":
                raise Refused("item_retrieve_invalid_item_id", "This fake keeps no audio.", "item_id")
            case "response.create":
                await self._create_response(fields.get("response") or {})
            case "response.cancel":
                await self._cancel(fields.get("response_id"))

    async def _update(self, session: Mapping[str, Any]) -> None:
        if session["type"] != "realtime":
            raise Refused("invalid_value", f"Invalid value: {session['type']!r}.", "session.type")
        if sorted(session.get("output_modalities", ["audio"])) == ["audio", "text"]:
            raise Refused("invalid_value", "Invalid modalities: ['audio', 'text'].", "session.output_modalities")
        tokens = session.get("max_output_tokens", "inf")
        if tokens != "inf" and not (isinstance(tokens, int) and 1 <= tokens <= 4096):
            raise Refused("invalid_value", f"Invalid value: {tokens!r}.", "session.max_output_tokens")
        merged = json.loads(json.dumps(self.settings))
        merge(merged, session)
        for direction in ("input", "output"):
            form = merged["audio"][direction]["format"]
            if form not in ({"type": "audio/pcm", "rate": PCM_RATE}, {"type": "audio/pcmu"}, {"type": "audio/pcma"}):
                raise Refused("invalid_value", f"Invalid value: {form!r}.", f"session.audio.{direction}.format")
        check_names(merged["audio"], self.fake.takes_languages)
        self.settings = merged
        if self.fake.update_delay and not self.acknowledged:
            await trio.sleep(self.fake.update_delay)
        self.acknowledged = True
        await self.tell("session.updated", session=self.settings)

    async def _create_item(self, item: Mapping[str, Any]) -> None:
        kind = item["type"]
        if kind not in ITEM_NEEDS:
            raise Refused("invalid_value", f"Invalid value: {kind!r}.", "item.type")
        for name in ITEM_NEEDS[kind]:
            if name not in item:
                raise Refused("missing_required_parameter", f"Missing required parameter: 'item.{name}'.", "item")
        if kind == "message":
            content_type = "output_text" if item["role"] == "assistant" else "input_text"
            for part in item["content"]:
                if part.get("type") != content_type or not isinstance(part.get("text"), str):
                    raise Refused("invalid_value", f"Invalid value: {part!r}.", "item.content[0]")
            known = Item(self._name("item"), item["role"], " ".join(part["text"] for part in item["content"]))
        elif kind == "function_call":
            known = Item(self._name("item"), kind, f"{item['name']} {item['arguments']}")
        else:
            if not isinstance(item["output"], str):
                raise Refused("invalid_type", "Invalid type for 'item.output': expected a string.", "item.output")
            known = Item(self._name("item"), kind, item["output"])
        before = next(reversed(self.items), None)
        self.items[known.id] = known
        told = {**item, "id": known.id, "object": "realtime.item", "status": "completed"}
        await self.tell("conversation.item.added", previous_item_id=before, item=told)
        await self.tell("conversation.item.done", previous_item_id=before, item=told)

    async def _truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        item = self.items.get(item_id)
        if item is None:
            raise Refused("item_truncate_invalid_item_id", "Error truncating item: it does not exist.", "item_id")
        if item.role != "assistant" or not item.audio_ms or content_index != 0:
            raise Refused("unsupported_content_type", "Only model output audio messages can be truncated")
        if audio_end_ms > item.audio_ms:
            raise Refused(
                "invalid_value",
                f"Audio content of {item.audio_ms:.0f}ms is already shorter than {audio_end_ms}ms",
                "audio_end_ms",
            )
        item.audio_ms, item.text = audio_end_ms, ""
        await self.tell(
            "conversation.item.truncated", item_id=item_id, content_index=content_index, audio_end_ms=audio_end_ms
        )

    async def _cancel(self, response_id: str | None) -> None:
        speaking = [one for one in self._active.values() if not one.cancelled_by]
        for one in speaking:
            if one.id == response_id or (response_id is None and not one.aside):
                self._stop(one, "client_cancelled")
                return
        raise Refused("response_cancel_not_active", "Cancellation failed: no active response found")

    # --- what the caller says

    async def _append(self, audio: str) -> None:
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise Refused("invalid_value", "Invalid 'audio'. Expected base64-encoded audio bytes.", "audio") from None
        self.heard += self._decode(data)
        window = self._input_rate * WINDOW_MS // 1000 * 2
        while len(self.heard) - self._judged >= window:
            samples = np.frombuffer(bytes(self.heard[self._judged : self._judged + window]), "<i2").astype(float)
            self._judged += window
            self._buffered_ms += WINDOW_MS
            await self._judge(bool(np.sqrt(np.mean(samples**2)) > LOUD))

    @property
    def heard_ms(self) -> int:
        """The audio that was written to the buffer in this session, in ms."""
        return self._judged // 2 * 1000 // self._input_rate

    async def _judge(self, loud: bool) -> None:
        detection = self.settings["audio"]["input"]["turn_detection"]
        if detection is None:
            return
        self._loud_ms = self._loud_ms + WINDOW_MS if loud else 0
        self._quiet_ms = 0 if loud else self._quiet_ms + WINDOW_MS
        if not self._turn and self._loud_ms >= ONSET_MS:
            self._turn = self._name("item")
            start = max(self.heard_ms - self._loud_ms - detection.get("prefix_padding_ms", 300), 0)
            await self.tell("input_audio_buffer.speech_started", audio_start_ms=round(start), item_id=self._turn)
            if detection.get("interrupt_response", True):
                for one in list(self._active.values()):
                    if not one.aside:
                        self._stop(one, "turn_detected")
                        await one.finished.wait()
        elif self._turn and self._quiet_ms >= self._silence_ms(detection):
            item, self._turn = self._turn, ""
            await self.tell("input_audio_buffer.speech_stopped", audio_end_ms=self.heard_ms, item_id=item)
            await self._commit(item)
            if detection.get("create_response", True) and not self._answering:
                self._respond({})

    @staticmethod
    def _silence_ms(detection: Mapping[str, Any]) -> int:
        if detection["type"] == "semantic_vad":
            return SEMANTIC_SILENCE_MS
        return int(detection.get("silence_duration_ms", 500))

    async def _commit(self, item_id: str) -> None:
        before = next(reversed(self.items), None)
        self._buffered_ms = 0.0
        words = self.fake.transcripts.popleft() if self.fake.transcripts else "Hello."
        self.items[item_id] = Item(item_id, "user", words)
        await self.tell("input_audio_buffer.committed", previous_item_id=before, item_id=item_id)
        item = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        await self.tell("conversation.item.added", previous_item_id=before, item=item)
        await self.tell("conversation.item.done", previous_item_id=before, item=item)
        if self.settings["audio"]["input"]["transcription"] is not None:
            self.nursery.start_soon(self._transcribe, item_id, words)

    async def _transcribe(self, item_id: str, words: str) -> None:
        await trio.sleep(self.fake.transcription_delay)
        kind = "conversation.item.input_audio_transcription"
        try:
            if words == "(unintelligible)":
                error = {
                    "type": "transcription_error",
                    "code": "audio_unintelligible",
                    "message": "The audio could not be transcribed.",
                    "param": None,
                }
                await self.tell(f"{kind}.failed", item_id=item_id, content_index=0, error=error)
                return
            await self.tell(f"{kind}.delta", item_id=item_id, content_index=0, delta=words, obfuscation="aLxx0jTE")
            usage = {"type": "tokens", "total_tokens": 22, "input_tokens": 13, "output_tokens": 9}
            await self.tell(f"{kind}.completed", item_id=item_id, content_index=0, transcript=words, usage=usage)
        except PeerGone:
            pass  # the client left before its words were known

    # --- what the model says

    @property
    def _answering(self) -> list[_Speaking]:
        return [one for one in self._active.values() if not one.aside]

    async def _create_response(self, wanted: Mapping[str, Any]) -> None:
        aside = wanted.get("conversation", "auto") == "none"
        if not aside and self._answering:
            raise Refused(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._answering[0].id}. Wait until the "
                "response is finished before creating a new one.",
            )
        self._respond(wanted)

    def _respond(self, wanted: Mapping[str, Any]) -> None:
        aside = wanted.get("conversation", "auto") == "none"
        name = self._name("resp")
        answered = Answered(name, time.monotonic())
        self.fake.answers.append(answered)
        one = self._active[name] = _Speaking(name, answered, aside)
        reply = self.fake.replies.popleft() if self.fake.replies and not aside else self.fake.reply
        if aside:
            reply = attrs.evolve(reply, text=wanted["instructions"].split(": ", 1)[-1], calls=(), failure="")
        self.nursery.start_soon(self._speak, one, reply, wanted.get("metadata"))

    def _stop(self, one: _Speaking, reason: str) -> None:
        one.cancelled_by = reason
        one.scope.cancel()

    async def _speak(self, one: _Speaking, reply: Reply, metadata: Any) -> None:
        try:
            response = {
                "object": "realtime.response",
                "id": one.id,
                "status": "in_progress",
                "status_details": None,
                "output": [],
                "conversation_id": None if one.aside else "conv_1",
                "output_modalities": ["audio"],
                "usage": None,
                "metadata": metadata,
            }
            await self.tell("response.created", response=response)
            outputs: list[Mapping[str, Any]] = []
            if not reply.failure:
                with one.scope:
                    await trio.sleep(reply.delay)
                    await self._say(one, reply)
                if one.item is not None:
                    if one.cancelled_by:  # what was on its way already
                        await self._delta(one, " and", bytes(480))
                    outputs.append(await self._end_message(one, reply))
                if not one.cancelled_by:
                    outputs += [await self._call(one, name, arguments) for name, arguments in reply.calls]
            remaining = 1 if self.fake.scarce else 39950
            limits = [{"name": "tokens", "limit": 40000, "remaining": remaining, "reset_seconds": 60}]
            await self.tell("rate_limits.updated", rate_limits=limits)
            status, details = _status(one, reply)
            one.answered.status, one.answered.done_at = status, time.monotonic()
            self._active.pop(one.id, None)
            response |= {"status": status, "status_details": details, "output": outputs, "usage": {"total_tokens": 253}}
            await self.tell("response.done", response=response)
        except PeerGone:
            pass  # nobody listens any more
        finally:
            self._active.pop(one.id, None)
            one.finished.set()

    async def _say(self, one: _Speaking, reply: Reply) -> None:
        if not reply.text or not (reply.pcm or reply.seconds):
            return
        item = one.item = Item(self._name("item"), "assistant", reply.text)
        told = {"id": item.id, "object": "realtime.item", "type": "message", "role": "assistant", "content": []}
        where = {"response_id": one.id, "output_index": 0}
        with trio.CancelScope(shield=True):
            before = next(reversed(self.items), None)
            await self.tell("response.output_item.added", **where, item={**told, "status": "in_progress"})
            if not one.aside:
                self.items[item.id] = item
                await self.tell(
                    "conversation.item.added", previous_item_id=before, item={**told, "status": "in_progress"}
                )
            part = {"type": "audio", "transcript": ""}
            await self.tell("response.content_part.added", **where, item_id=item.id, content_index=0, part=part)
        pcm = reply.pcm or _tone(reply.seconds)
        step = PCM_RATE * PIECE_MS // 1000 * 2
        pieces = [pcm[at : at + step] for at in range(0, len(pcm), step)]
        words = [f" {word}" if index else word for index, word in enumerate(reply.text.split())]
        due = trio.current_time()
        for index, piece in enumerate(pieces):
            share = words[index * len(words) // len(pieces) : (index + 1) * len(words) // len(pieces)]
            with trio.CancelScope(shield=True):
                await self._delta(one, "".join(share), piece)
            due += len(piece) / 2 / PCM_RATE * reply.pace
            await trio.sleep_until(due)

    async def _delta(self, one: _Speaking, words: str, pcm: bytes) -> None:
        assert one.item is not None
        where = {"response_id": one.id, "item_id": one.item.id, "output_index": 0, "content_index": 0}
        if words:
            await self.tell("response.output_audio_transcript.delta", **where, delta=words, obfuscation="qz")
        data = self._encode(pcm)
        one.answered.first_audio_at = one.answered.first_audio_at or time.monotonic()
        one.item.audio_ms += len(pcm) / 2 / PCM_RATE * 1000
        one.answered.audio_ms = one.item.audio_ms
        await self.tell("response.output_audio.delta", **where, delta=base64.b64encode(data).decode())

    async def _end_message(self, one: _Speaking, reply: Reply) -> Mapping[str, Any]:
        assert one.item is not None
        where = {"response_id": one.id, "item_id": one.item.id, "output_index": 0, "content_index": 0}
        await self.tell("response.output_audio.done", **where)
        await self.tell("response.output_audio_transcript.done", **where, transcript=reply.text)
        await self.tell("response.content_part.done", **where, part={"type": "audio", "transcript": reply.text})
        item = {
            "id": one.item.id,
            "object": "realtime.item",
            "type": "message",
            "status": "incomplete" if one.cancelled_by else "completed",
            "role": "assistant",
            "content": [{"type": "output_audio", "transcript": reply.text}],
        }
        if not one.aside:
            await self.tell("conversation.item.done", previous_item_id=None, item=item)
        await self.tell("response.output_item.done", response_id=one.id, output_index=0, item=item)
        return item

    async def _call(self, one: _Speaking, name: str, arguments: str) -> Mapping[str, Any]:
        item_id, call_id = self._name("item"), self._name("call")
        item = {
            "id": item_id,
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "name": name,
            "call_id": call_id,
            "arguments": "",
        }
        where = {"response_id": one.id, "output_index": 1}
        before = next(reversed(self.items), None)
        self.items[item_id] = Item(item_id, "function_call", f"{name} {arguments}")
        await self.tell("response.output_item.added", **where, item=item)
        await self.tell("conversation.item.added", previous_item_id=before, item=item)
        piece = {**where, "item_id": item_id, "call_id": call_id}
        await self.tell("response.function_call_arguments.delta", **piece, delta=arguments)
        await self.tell("response.function_call_arguments.done", **piece, name=name, arguments=arguments)
        item = {**item, "status": "completed", "arguments": arguments}
        await self.tell("conversation.item.done", previous_item_id=before, item=item)
        await self.tell("response.output_item.done", **where, item=item)
        return item

    # --- names and audio

    def _name(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers)}"

    @property
    def _input_rate(self) -> int:
        return _rate(self.settings["audio"]["input"]["format"])

    def _decode(self, data: bytes) -> bytes:
        match self.settings["audio"]["input"]["format"]["type"]:
            case "audio/pcmu":
                return ulaw_to_slin(data)
            case "audio/pcma":
                return alaw_to_slin(data)
        return data

    def _encode(self, pcm: bytes) -> bytes:
        form = self.settings["audio"]["output"]["format"]
        encode: Mapping[str, Callable[[bytes], bytes]] = {"audio/pcmu": slin_to_ulaw, "audio/pcma": slin_to_alaw}
        if coder := encode.get(form["type"]):
            return coder(convert(pcm, PCM_RATE, G711_RATE))
        return pcm


def _status(one: _Speaking, reply: Reply) -> tuple[str, Mapping[str, Any] | None]:
    if one.cancelled_by:
        return "cancelled", {"type": "cancelled", "reason": one.cancelled_by}
    if reply.failure:
        error = {
            "type": reply.failure,
            "code": reply.failure,
            "message": "It could not answer (sk-proj-abc123).",
        }
        return "failed", {"type": "failed", "error": error}
    if reply.incomplete:
        return "incomplete", {"type": "incomplete", "reason": reply.incomplete}
    return "completed", None


def _rate(form: Mapping[str, Any]) -> int:
    return PCM_RATE if form["type"] == "audio/pcm" else G711_RATE


def _tone(seconds: float) -> bytes:
    samples = np.arange(round(seconds * PCM_RATE))
    return (8000 * np.sin(2 * np.pi * 440 * samples / PCM_RATE)).astype("<i2").tobytes()
