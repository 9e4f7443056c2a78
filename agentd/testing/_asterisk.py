"""An Asterisk that is none: its ARI as far as agentd speaks it, in memory or on a real socket (`_ari_server`).

It keeps what a PBX would keep (channels, bridges, playbacks, variables), so that a test can ask what is left of
a call. Rules make it slow, broken, refusing or mad, one request or all of them.
"""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

import attrs
import httpx
import trio

from agentd.ari.rest import UNSET_VARIABLE, AriRest
from agentd.metrics import Metrics
from agentd.testing._ari_server import Answer, AriServer, Request

Act = Callable[[Request], Awaitable[Answer | None]]


@attrs.define
class Rule:
    """Requests that match `pattern` ("POST /channels/*/answer") are answered by `act` first, `times` times."""

    pattern: str
    act: Act | Answer
    times: int | None = None


@attrs.define(eq=False)
class FakeAsterisk(AriServer):
    """`rest()` gives a client in memory; `serve` opens a real port for HTTP and the event stream."""

    channels: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    in_app: set[str] = attrs.field(factory=set)
    bridges: dict[str, set[str]] = attrs.field(factory=dict)
    playbacks: dict[str, str] = attrs.field(factory=dict)
    """Running playbacks: id -> media."""
    stopped: list[str] = attrs.field(factory=list)
    paused: set[str] = attrs.field(factory=set)
    """Playbacks that are paused."""
    silent: set[str] = attrs.field(factory=set)
    """Channels that silence is sent to."""
    variables: dict[str, dict[str, str]] = attrs.field(factory=dict)
    native_format: str = "(ulaw)"
    """CHANNEL(audionativeformat) of every channel."""
    version: str = "22.10.1"
    continued: list[str] = attrs.field(factory=list)
    continued_at: dict[str, float] = attrs.field(factory=dict)
    went_to: dict[str, str] = attrs.field(factory=dict)
    """Where channels went on that were sent to a place of the dialplan: "extension@context", ",3" after it where the
    priority is not 1."""
    dialplan: set[str] = attrs.field(factory=set)
    """The extensions that there are, as "extension@context"."""
    pressed: dict[str, str] = attrs.field(factory=dict)
    """DTMF that was sent to channels."""
    subscribed: list[str] = attrs.field(factory=list)
    requests: list[Request] = attrs.field(factory=list)
    rules: list[Rule] = attrs.field(factory=list)
    on_media: Callable[[str, Request], None] = lambda uuid, request: None
    """Asterisk opens the AudioSocket connection while it handles externalMedia (or originates a fork)."""
    media_variables: dict[str, str] = attrs.field(factory=dict)
    """What the answer to externalMedia tells of the channel, as of chan_rtp's."""

    def enter(self, channel: str, name: str = "PJSIP/alice-1") -> None:
        """A channel that is in our application."""
        dialplan = {"context": "from-internal", "exten": "7000", "app_name": "Stasis", "app_data": self.app}
        self.channels[channel] = {"id": channel, "name": name, "state": "Up", "dialplan": dialplan}
        self.in_app.add(channel)

    def replace(self, channel: str, successor: str, name: str) -> None:
        """Another channel takes the place of one in our application, which ends: an attended transfer.

        One in a bridge is replaced there: Asterisk 22 res/stasis/stasis_bridge.c, `bridge_stasis_push_peek`.
        """
        self.enter(successor, name)
        for members in self.bridges.values():
            if channel in members:
                members.add(successor)
        self.gone(channel)

    def gone_on(self, channel: str) -> None:
        """A channel leaves our application for some other place of the dialplan."""
        self._leave_app(channel)

    def gone(self, channel: str) -> None:
        """A channel ends."""
        self.channels.pop(channel, None)
        self.silent.discard(channel)
        self._leave_app(channel)

    def _leave_app(self, channel: str) -> None:
        self.in_app.discard(channel)
        if channel in self.channels:
            self.channels[channel]["dialplan"].update(app_name="AppDial", app_data="")
        for members in self.bridges.values():
            members.discard(channel)

    def rule(self, pattern: str, act: Act | Answer, times: int | None = None) -> None:
        """Answer matching requests differently from now on; the newest rule goes first."""
        self.rules.insert(0, Rule(pattern, act, times))

    def slow(self, pattern: str, seconds: float, times: int | None = None) -> None:
        """Matching requests take a while."""

        async def wait(_request: Request) -> None:
            await trio.sleep(seconds)

        self.rule(pattern, wait, times)

    def pace(self, a_second: float) -> None:
        """All requests are answered one after the other, so many a second."""
        free_at = 0.0

        async def wait(_request: Request) -> None:
            nonlocal free_at
            free_at = max(free_at, trio.current_time()) + 1.0 / a_second
            await trio.sleep_until(free_at)

        self.rule("*", wait)

    def asked(self, pattern: str = "*") -> list[str]:
        """The requests that match, as "METHOD /path", in the order in which they came."""
        return [str(request) for request in self.requests if fnmatchcase(str(request), pattern)]

    async def handle(self, request: Request) -> Answer:
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        for rule in tuple(self.rules):
            if not fnmatchcase(str(request), rule.pattern) or rule.times == 0:
                continue
            if rule.times is not None:
                rule.times -= 1
            answer = rule.act if isinstance(rule.act, Answer) else await rule.act(request)
            if answer is not None:
                return answer
        answer = self._obey(request)
        if answer.status < 300 and (event := request.path.partition("/events/user/")[2]):
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.push("ChannelUserevent", eventname=event, userevent={"eventname": event})
        return answer

    @property
    def registered(self) -> bool:
        """Whether the application exists. One that callers are in outlives its program: `app_is_finished` in Asterisk
        22 res/stasis/app.c."""
        return not self.served or self.owner is not None or bool(self.in_app)

    def _obey(self, request: Request) -> Answer:
        parts = request.path.strip("/").split("/")
        match (request.method, *parts):
            case ("GET", "channels"):
                return Answer.json(list(self.channels.values()))
            case ("GET", "channels", channel) if channel in self.channels:
                return Answer.json(self.channels[channel])
            case ("GET", "bridges"):
                return Answer.json([{"id": bridge, "channels": []} for bridge in self.bridges])
            case ("POST", "events", "user", _) if self.registered and request.params["application"] == self.app:
                return Answer()
            case ("GET", "applications", app):
                if app != self.app or not self.registered:
                    return Answer.refusal(404, "Application not found")
                return Answer.json({"name": app, "channel_ids": sorted(self.in_app)})
            case ("GET", "asterisk", "info"):
                return Answer.json({"system": {"version": self.version}})
            case ("POST", "applications", _, "subscription"):
                self.subscribed.append(request.params["eventSource"])
                return Answer.json({})
            case ("POST", "channels"):
                for half in ("channelId", "otherChannelId"):
                    self.enter(request.params[half], f"Local/{half}")
                self.gone_on(request.params["otherChannelId"])
                self.on_media(request.params["endpoint"].partition("/")[2].partition("@")[0], request)
                return Answer.json({})
            case ("POST", "channels", "externalMedia"):
                self.enter(request.params["channelId"], "AudioSocket/media")
                self.on_media(request.params.get("data", ""), request)
                return Answer.json({"channelvars": self.media_variables})
            case ("POST", "bridges", bridge):
                self.bridges[bridge] = set()
                return Answer.json({})
            case ("POST", "bridges", bridge, "addChannel"):
                if request.params["channel"] not in self.channels:
                    return Answer.refusal(400, "Channel not found")
                self.bridges[bridge].add(request.params["channel"])
                return Answer()
            case ("DELETE", "bridges", bridge) if bridge in self.bridges:
                del self.bridges[bridge]
                return Answer()
            case ("GET", "playbacks", playback) if playback in self.playbacks:
                return Answer.json({"id": playback, "state": "playing"})
            case ("DELETE", "playbacks", playback) if playback in self.playbacks:
                del self.playbacks[playback]
                self.stopped.append(playback)
                return Answer()
            case ("POST", "playbacks", playback, "control") if playback in self.playbacks:
                change = self.paused.add if request.params["operation"] == "pause" else self.paused.discard
                change(playback)
                return Answer()
            case ("GET", "channels", channel, "variable") if channel in self.channels:
                value = self._variable(channel, request.params["variable"])
                return Answer.refusal(404, UNSET_VARIABLE) if value is None else Answer.json({"value": value})
            case ("DELETE", "channels", channel, "silence") if channel in self.channels:
                self.silent.discard(channel)
                return Answer()
            case ("DELETE", "channels", channel) if channel in self.channels:
                self.gone(channel)
                self.gone(channel.replace("-media-", "-far-"))
                return Answer()
            case ("POST", "channels", channel, *action) if channel in self.channels:
                return self._act_on(channel, action, request)
        return Answer.refusal(404, f"{request.path} not found")

    def _variable(self, channel: str, name: str) -> str | None:
        """None where it is no function, and not set."""
        if name == "CHANNEL(audionativeformat)":
            return self.native_format
        if asked := re.fullmatch(r"DIALPLAN_EXISTS\(([^,]*),([^,]*),1\)", name):
            return str(int(f"{asked[2]}@{asked[1]}" in self.dialplan))
        return self.variables.get(channel, {}).get(name, "" if name.endswith(")") else None)

    def _act_on(self, channel: str, action: list[str], request: Request) -> Answer:
        match action:
            case ["answer"]:
                return Answer()
            case ["silence"]:
                self.silent.add(channel)
                return Answer()
            case ["variable"]:
                self.variables.setdefault(channel, {})[request.params["variable"]] = request.params["value"]
                return Answer()
            case ["continue" | "dtmf"] if channel not in self.in_app:
                return Answer.refusal(409, "Channel not in Stasis application")
            case ["dtmf"]:
                self.pressed[channel] = self.pressed.get(channel, "") + request.params["dtmf"]
                return Answer()
            case ["continue"]:
                if request.params:
                    priority = "" if request.params["priority"] == "1" else f",{request.params['priority']}"
                    self.went_to[channel] = f"{request.params['extension']}@{request.params['context']}{priority}"
                self._leave_app(channel)
                self.continued.append(channel)
                self.continued_at[channel] = trio.current_time()
                return Answer()
            case ["snoop", snoop]:
                self.enter(snoop, "Snoop/1")
                return Answer.json({})
            case ["play", playback]:
                self.playbacks[playback] = request.params["media"]
                self.silent.discard(channel)
                return Answer.json({}, 201)
        return Answer.refusal(404, f"{request.path} not found")

    def rest(self, metrics: Metrics, deadline: float = 5.0) -> AriRest:
        async def respond(request: httpx.Request) -> httpx.Response:
            path = unquote(request.url.raw_path.decode().partition("?")[0]).removeprefix("/ari")
            answer = await self.handle(Request(request.method, path, dict(request.url.params)))
            if answer.drop:
                raise httpx.ReadError("the connection was closed", request=request)
            return httpx.Response(answer.status, content=answer.body)

        client = httpx.AsyncClient(base_url="http://asterisk.test", transport=httpx.MockTransport(respond))
        return AriRest(client, metrics, deadline)
