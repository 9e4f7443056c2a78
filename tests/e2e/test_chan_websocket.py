"""Calls by chan_websocket on the real PBX, in both directions of connecting; and its traps, each as it is there."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
import pytest
import trio

from agentd.ari.rest import open_rest
from agentd.chan_websocket import commands
from agentd.chan_websocket.events import (
    CommandFailed,
    Event,
    GoOnSending,
    MarkProcessed,
    MediaStart,
    QueueDrained,
    StopSending,
    parse_event,
)
from agentd.chan_websocket.transport import ID_VARIABLE, SUBPROTOCOL, ChanWebSocket, external_media, media_url
from agentd.config.secrets import Secret
from agentd.config.settings import Asterisk, Config
from agentd.doctor.both_ways import trial_leg
from agentd.doctor.daemon import RunningDaemon
from agentd.doctor.findings import State
from agentd.doctor.probe import Probe, open_probe
from agentd.doctor.websocket import examine_websocket
from agentd.errors import MediaProtocolError, WebSocketError
from agentd.media.leg import FRAME_SECONDS, LineFormat, MediaConnection
from agentd.metrics import Metrics
from agentd.websocket import WebSocket
from tests.e2e.conftest import STORY, Lab, show
from tests.lab.asterisk import Prefix, PrivateAsterisk
from tests.lab.daemon import environment, run_daemon, write_config
from tests.lab.hearing import likeness
from tests.lab.ports import PortClaims
from tests.lab.scene import words_heard
from tests.lab.sip import SipCaller

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.long]

GREETING = "Hello, how can I help you?"
QUESTION = "conf-onlyperson"
DEFAULT, TALKER, SILENT, FILE = "7120", "7121", "7122", "7123"
FRAME = bytes(320)
LINE = LineFormat()


# --- calls: what the other transports do too is in test_carriers.py


async def test_a_silent_agent_s_caller_hears_silence_and_not_nothing(lab: Lab) -> None:
    """From 22.9 on an empty queue means no RTP, and some telephones hang up."""
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri(SILENT)) as call:
        await lab.daemon.wait_for("state", start=since, after="live")
        await trio.sleep(1)
        began = call.now
        await trio.sleep(3)
        assert call.line_stats(began).packets > 0.9 * (call.now - began) / FRAME_SECONDS
        await call.hangup()
    await lab.nothing_is_left()


async def test_a_wideband_telephone_is_heard_and_answered_at_16_khz(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    url = f"http://127.0.0.1:{lab.pbx.http_port}"
    async with open_rest(url, lab.pbx.ari_user, lab.pbx.ari_password, Metrics(), 5.0) as ari:
        telephone = {
            "endpoint": f"Local/{SILENT}@from-lab/n",
            "extension": "7300",
            "context": "from-lab",
            "priority": "1",
            "formats": "slin16",
        }
        await ari.request("POST", "/channels", telephone)
        call = await lab.daemon.wait_for("call", start=since)
        said = await lab.daemon.wait_for("caller said", start=since, timeout=30)
        answer = await lab.daemon.wait_for("utterance heard", start=since, timeout=30)
        await ari.hang_up(call["call_id"])
    await lab.nothing_is_left()
    assert (call["media"], call["rate"]) == ("websocket", 16000)
    assert likeness("You are currently the only person in this conference.", said["text"]) > 0.6
    assert answer["completed"] is True
    inbound = await lab.daemon.wait_for("inbound audio", start=since)
    assert inbound["inbound_expected"] == "slin16"


async def test_a_caller_who_hangs_up_while_the_agent_speaks_leaves_nothing(lab: Lab) -> None:
    since = len(lab.daemon.lines)
    async with SipCaller().call(lab.pbx.sip_uri(TALKER)) as call:
        await lab.daemon.wait_for("state", start=since, after="speaking")
        await trio.sleep(1)
        await call.hangup()
    await lab.nothing_is_left()
    assert not [line for line in lab.daemon.lines[since:] if line.get("level") in ("error", "warning")]


# --- Asterisk connects

CLIENT = """[agentd]
type = websocket_client
connection_type = per_call_config
uri = ws://127.0.0.1:{port}
protocols = media
username = asterisk
password = {password}
"""


async def test_where_asterisk_connects_calls_at_once_each_get_their_own_websocket(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    dialplan = "exten => 7121,1,Gosub(agentd-call,${EXTEN},1(talker,websocket))\n"
    agents = f'[agents.default]\n[agents.talker]\ngreeting = "{STORY}"\n'
    password = uuid4().hex
    async with PrivateAsterisk(pbx_prefix, extra_dialplan=dialplan) as pbx:
        claims = PortClaims()
        port = claims.tcp()
        (pbx.directory / "etc" / "websocket_client.conf").write_text(CLIENT.format(port=port, password=password))
        await pbx.cli("module reload res_websocket_client.so")
        table = f'[websocket]\nconnection = "agentd"\nport = {port}\n'
        config = write_config(tmp_path / "agent.toml", pbx, extra=table, agents=agents)
        env = environment(pbx) | {"AGENTD_WEBSOCKET_PASSWORD": password}
        async with run_daemon(config, env, show) as daemon:
            async with (
                SipCaller().call(pbx.sip_uri(TALKER)) as one,
                SipCaller().call(pbx.sip_uri(TALKER)) as other,
            ):
                await trio.sleep(6)
                for call in (one, other):
                    assert likeness(STORY[:60], await words_heard(call, 0.0, call.now)) > 0.4
                await one.hangup()
                await other.hangup()
            await daemon.until_idle()
            assert not daemon.having("media leg lost")
            assert len(daemon.having("media leg bound")) == 2
            metrics = await daemon.metrics()
            assert "agentd_chan_websocket_connections 0.0" in metrics
            assert "agentd_chan_websocket_refused_total{" not in metrics
            assert password not in "".join(map(str, daemon.lines))
        claims.release()


# --- audio, to the frame


@attrs.define
class Speech:
    """Frames that are told apart, and what is taken back of them."""

    connection: MediaConnection
    left: list[int]
    given: list[int | None] = attrs.field(factory=list)

    def next_frame(self, *, ahead: bool = False) -> bytes | None:
        if ahead and not self.left:
            return None
        self.given.append(self.left.pop(0) if self.left else None)
        number = self.given[-1]
        return None if number is None else number.to_bytes(2, "little") * 160

    def take_back(self) -> None:
        assert self.connection.lead is not None
        count = self.connection.lead.take_back()
        back = self.given[len(self.given) - count :]
        del self.given[len(self.given) - count :]
        self.left[:0] = [each for each in back if each is not None]

    @property
    def taken_for_heard(self) -> int:
        """The number of the last frame that is."""
        assert self.connection.lead is not None
        heard = self.given[: len(self.given) - self.connection.lead.ahead]
        return max((each for each in heard if each is not None), default=0)


def nothing(*, ahead: bool = False) -> None:
    return None


async def test_what_is_taken_back_is_flushed_and_heard_again_from_where_the_ear_is(lab: Lab) -> None:
    """Two legs in a bridge, which passes frames on as they are."""
    heard: list[int] = []

    def hear(pcm: bytes, rate: int, at: float) -> None:
        numbers = [int.from_bytes(pcm[start : start + 2], "little") for start in range(0, len(pcm), 320)]
        heard.extend(filter(None, numbers))

    async with an_application(lab) as (probe, transport):
        bridge = await probe.bridge()
        one = await trial_leg(transport, probe, bridge, "one")
        other = await trial_leg(transport, probe, bridge, "other")
        speech = Speech(one, [*range(1, 301)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.serve, LINE, lambda *_: None, lambda _: None, speech.next_frame, lambda: None)
            nursery.start_soon(other.serve, LINE, hear, lambda _: None, nothing, lambda: None)
            beyond = []
            for pause in (0.5, 0.31, 0.707, 0.013, 0.2, 0.4):
                await trio.sleep(pause)
                speech.take_back()
                taken_for_heard = speech.taken_for_heard
                left, speech.left = speech.left, []
                await trio.sleep(0.3)  # a pause
                beyond.append(max(heard, default=0) - taken_for_heard)
                speech.left = left
            await trio.sleep(6)
            nursery.cancel_scope.cancel()
        one.release()
        other.release()
    print("heard beyond what was taken for heard:", beyond, "twice:", len(heard) - len({*heard}))
    assert heard == sorted(heard)
    assert {*heard} == {*range(1, 301)}, "no frame is lost"
    assert max(beyond) <= 2, "it is silent within two frames"
    assert len(heard) - 300 <= sum(beyond)


# --- the traps, as they are on the wire


@attrs.define(eq=False)
class Wire:
    """A channel's WebSocket, and nothing between."""

    socket: WebSocket
    url: str
    channel: str

    async def tell(self, name: str, **fields: str) -> None:
        await self.socket.send(json.dumps({"command": name, **fields}))

    async def until(self, kind: type[Event]) -> Event:
        with trio.fail_after(10):
            while True:
                message = await self.socket.receive()
                if isinstance(message, str) and isinstance(event := parse_event(message), kind):
                    return event

    async def told(self, seconds: float) -> list[Event]:
        """All events of a while."""
        events = []
        with trio.move_on_after(seconds):
            while True:
                message = await self.socket.receive()
                if isinstance(message, str):
                    events.append(parse_event(message))
        return events

    async def status(self) -> dict[str, Any]:
        await self.tell("GET_STATUS")
        with trio.fail_after(10):
            while True:
                message = await self.socket.receive()
                if isinstance(message, str) and (fields := json.loads(message))["event"] == "STATUS":
                    return dict(fields)


@asynccontextmanager
async def an_application(lab: Lab) -> AsyncIterator[tuple[Probe, ChanWebSocket]]:
    """An application of the test's own on the lab's PBX, whose channels and bridges go with it."""
    url = f"http://127.0.0.1:{lab.pbx.http_port}"
    config = Config(asterisk=Asterisk(url=url))
    async with open_rest(url, lab.pbx.ari_user, lab.pbx.ari_password, Metrics(), 5.0) as rest:
        async with trio.open_nursery() as nursery:
            probe = await open_probe(config, Secret("ari-password", lab.pbx.ari_password), rest, nursery)
            yield probe, ChanWebSocket(lambda: config, Metrics(), nursery, url)
            assert not await probe.clear()
            probe.close()


@asynccontextmanager
async def a_wire(lab: Lab, data: str = "f(json)", starts: bool = True) -> AsyncIterator[Wire]:
    async with an_application(lab) as (probe, _transport):
        channel = probe.channel("media")
        asked = attrs.evolve(external_media("", uuid4(), LINE), transport_data=data)
        variables = await probe.rest.external_media(channel, probe.app, asked)
        url = media_url(f"http://127.0.0.1:{lab.pbx.http_port}", variables[ID_VARIABLE])
        socket = WebSocket(url, subprotocols=(SUBPROTOCOL,))
        async with trio.open_nursery() as nursery:
            await nursery.start(socket.run)
            wire = Wire(socket, url, channel)
            if starts:
                assert await wire.until(MediaStart) == MediaStart("slin", 320, 20)
                await trio.sleep(0.2)  # until it is in the application, nobody reads it
            yield wire
            nursery.cancel_scope.cancel()


async def test_the_queue_says_stop_at_900_frames_ignores_what_comes_beyond_1000_and_says_go_below_800(lab: Lab) -> None:
    async with a_wire(lab) as wire:
        for _ in range(10):  # some are played meanwhile
            await wire.socket.send(FRAME * 100)
        assert await wire.until(StopSending)
        for _ in range(4):
            await wire.socket.send(FRAME * 100)
        status = await wire.status()
        assert 800 < status["queue_length"] < 1100
        assert status["queue_full"] is True
        await wire.socket.send(commands.FLUSH_MEDIA)
        assert await wire.until(GoOnSending)


async def test_a_command_of_more_than_128_bytes_is_dropped_with_a_warning_in_asterisk_s_log_alone(lab: Lab) -> None:
    before = len(lab.pbx.complaints())
    async with a_wire(lab) as wire:
        longest = "m" * (commands.LONGEST_COMMAND - len(json.dumps({"command": "MARK_MEDIA", "correlation_id": ""})))
        await wire.tell("MARK_MEDIA", correlation_id=longest + "m")
        await wire.tell("MARK_MEDIA", correlation_id=longest)
        assert await wire.until(MarkProcessed) == MarkProcessed(longest)
    assert any("exceeds maximum length of 128" in line for line in lab.pbx.complaints()[before:])


async def test_a_flush_does_not_end_a_pause_and_continue_does(lab: Lab) -> None:
    async with a_wire(lab) as wire:
        await wire.tell("PAUSE_MEDIA")
        await wire.socket.send(FRAME * 5)
        await wire.socket.send(commands.FLUSH_MEDIA)
        await wire.socket.send(FRAME * 5)
        await wire.socket.send(commands.mark_media("after"))
        assert MarkProcessed("after") not in await wire.told(0.5)
        status = await wire.status()
        assert (status["media_paused"], status["queue_length"]) == (True, 5)
        await wire.socket.send(commands.CONTINUE_MEDIA)
        assert await wire.until(MarkProcessed) == MarkProcessed("after")


async def test_marks_that_are_flushed_report_nothing_and_a_drained_queue_confirms_the_flush(lab: Lab) -> None:
    async with a_wire(lab) as wire:
        await wire.socket.send(FRAME * 100)
        await wire.socket.send(commands.mark_media("flushed"))
        await wire.socket.send(commands.REPORT_QUEUE_DRAINED)
        await wire.socket.send(commands.FLUSH_MEDIA)
        events = await wire.told(0.5)
        assert QueueDrained() in events
        assert not [event for event in events if isinstance(event, MarkProcessed)]


async def test_a_mark_is_reported_when_the_frame_behind_it_is_due(lab: Lab) -> None:
    async with a_wire(lab) as wire:
        for number in range(3):
            await wire.socket.send(commands.mark_media(str(number)))
            await wire.socket.send(FRAME * 10)
        reported = [(await wire.until(MarkProcessed), trio.current_time()) for _ in range(3)]
        assert [mark for mark, _ in reported] == [MarkProcessed(str(number)) for number in range(3)]
        assert reported[2][1] - reported[0][1] > 0.3, "20 frames later"


async def test_a_remainder_smaller_than_a_frame_is_dropped(lab: Lab) -> None:
    async with a_wire(lab) as wire:
        await wire.tell("PAUSE_MEDIA")
        for _ in range(4):
            await wire.socket.send(FRAME + bytes(100))
        assert (await wire.status())["queue_length"] == 4


async def test_where_audio_is_passed_through_commands_of_media_are_errors(lab: Lab) -> None:
    """As opus, speex and g729 are always."""
    async with a_wire(lab, "f(json)p", starts=False) as wire:
        await wire.until(MediaStart)
        await wire.socket.send(commands.mark_media("m"))
        failed = await wire.until(CommandFailed)
        assert failed == CommandFailed("MARK_MEDIA not supported in passthrough mode")


async def test_without_the_option_control_messages_are_plain_text_and_the_leg_is_refused_for_it(lab: Lab) -> None:
    async with a_wire(lab, "", starts=False) as wire:
        message = await wire.socket.receive()
        assert isinstance(message, str)
        with pytest.raises(MediaProtocolError, match="plain text, not JSON"):
            parse_event(message)


async def test_a_channel_takes_one_websocket_and_an_unknown_one_none(lab: Lab) -> None:
    async with a_wire(lab) as wire:
        with pytest.raises(WebSocketError, match="HTTP 409"):
            await WebSocket(wire.url, subprotocols=(SUBPROTOCOL,)).run()
        with pytest.raises(WebSocketError, match="HTTP 404"):
            await WebSocket(wire.url[:-8] + "00000000", subprotocols=(SUBPROTOCOL,)).run()


async def test_a_message_beyond_65500_bytes_ends_the_channel(lab: Lab) -> None:
    async with a_wire(lab) as wire:
        await wire.socket.send(bytes(65_300))
        assert (await wire.status())["queue_length"] > 150
        await wire.socket.send(bytes(66_000))
        with trio.fail_after(10), pytest.raises(WebSocketError):
            async for _ in wire.socket.messages():
                pass


async def test_pings_are_answered_and_hang_nobody_up(lab: Lab) -> None:
    async with a_wire(lab) as wire:
        for _ in range(3):
            with trio.fail_after(5):
                await wire.socket.ping()
        assert await wire.status()


async def test_the_doctor_has_two_legs_carry(lab: Lab) -> None:
    async with an_application(lab) as (probe, _transport):
        config = Config(asterisk=Asterisk(url=f"http://127.0.0.1:{lab.pbx.http_port}"))
        daemon = RunningDaemon("http://127.0.0.1:1")
        finding = await examine_websocket(config, probe, frozenset({"chan_websocket"}), "22.10.1", daemon, None)
    assert finding.state is State.OK, finding
