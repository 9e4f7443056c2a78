"""The requests that agentd makes of ARI, by what they are about."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import attrs
import httpx
import structlog

from agentd import deadlines
from agentd.ari.events import Channel
from agentd.ari.exchange import AriExchange
from agentd.ari.hand_back import FALLBACK_VARIABLE, RESULT_VARIABLE, WAY_BACK_VARIABLE, judge, noted
from agentd.conversation.commands import Destination
from agentd.errors import AriError, AriRejected
from agentd.media.transport import DialplanMedia, ExternalMedia
from agentd.metrics import Metrics

log = structlog.get_logger("agentd.ari")

UNSET_VARIABLE = "Provided variable was not found"
"""Asterisk's words for a variable that a channel has not: 404, which a channel that is gone is answered, too."""


@attrs.define(eq=False)
class AriRest(AriExchange):
    """The requests. Each raises AriUnavailable or AriRejected; AriError where the answer is not what it should be.

    Cancelling one waits for its answer or its deadline (a few seconds) and then takes effect.
    """

    async def delete_quietly(self, path: str) -> None:
        """DELETE that takes "it is not there" for done."""
        try:
            await self.request("DELETE", path)
        except AriRejected as error:
            if error.status not in (404, 409):
                raise

    # --- channels

    async def channels(self) -> dict[str, Channel]:
        """Every channel of the PBX by its id."""
        raw = _objects("GET /channels", await self.request("GET", "/channels"))
        return {channel.id: channel for channel in map(Channel.parse, raw)}

    async def channel(self, channel: str) -> Channel | None:
        """The channel as it is now; None: there is none."""
        try:
            answer = await self.request("GET", f"/channels/{_id(channel)}")
        except AriRejected as error:
            if error.status == 404:
                return None
            raise
        return Channel.parse(answer if isinstance(answer, dict) else {})

    async def answer(self, channel: str) -> None:
        await self.request("POST", f"/channels/{_id(channel)}/answer")

    async def hang_up(self, channel: str) -> None:
        await self.delete_quietly(f"/channels/{_id(channel)}")

    async def set_variable(self, channel: str, variable: str, value: str) -> None:
        await self.request("POST", f"/channels/{_id(channel)}/variable", {"variable": variable, "value": value})

    async def continue_in_dialplan(self, channel: str, destination: Destination | None = None) -> None:
        """Have a channel leave the application: for where it came from, or for the destination."""
        goal = None
        if destination is not None:
            goal = {"context": destination.context, "extension": destination.extension}
            goal["priority"] = str(destination.priority)
        await self.request("POST", f"/channels/{_id(channel)}/continue", goal)

    async def hand_back(
        self, channel: str, result: str | None, destination: Destination | None = None, fallback: str = ""
    ) -> None:
        """Have a channel leave the application with AGENTD_RESULT set, or without where that fails: who waits in
        silence is helped by any dialplan. It is not set either where `result` is None. `fallback`: its AGENTD_FALLBACK,
        where it has to be given one.

        Asterisk answers before the channel has left. Cancelled between its requests it has done a part of it.
        """
        if fallback:
            await self._tell_dialplan(channel, FALLBACK_VARIABLE, fallback, "the caller's fallback is the general one")
        if result is not None:
            await self._tell_dialplan(channel, RESULT_VARIABLE, result, "the dialplan is not told why the call ended")
        await self.continue_in_dialplan(channel, destination)

    async def note_way_back(self, channel: str, way_back: Destination, fallback: str) -> None:
        """Note on a channel where it goes on in the dialplan, and its AGENTD_FALLBACK, for an agentd that comes after
        this one. Raises nothing but cancellations: this one knows it without."""
        otherwise = "an agentd after this one will not know where the caller goes on"
        if fallback:
            await self._tell_dialplan(channel, FALLBACK_VARIABLE, fallback, otherwise)
        await self._tell_dialplan(channel, WAY_BACK_VARIABLE, noted(way_back), otherwise)

    async def forget_way_back(self, channel: str) -> None:
        """Undo `note_way_back` on a channel that is to leave now: should it come back some day, that is another stay.
        Raises nothing but cancellations."""
        await self._tell_dialplan(channel, WAY_BACK_VARIABLE, "", "a way back that holds no more is noted on a channel")

    async def _tell_dialplan(self, channel: str, variable: str, value: str, otherwise: str) -> None:
        try:
            await self.set_variable(channel, variable, value)
        except AriError as error:
            if not judge(error).settles:
                log.warning(otherwise, channel=channel, error=str(error))

    async def send_dtmf(self, channel: str, digits: str) -> None:
        """Send DTMF digits to the channel; "w" is a pause of half a second. Answered before they are through."""
        await self.request("POST", f"/channels/{_id(channel)}/dtmf", {"dtmf": digits})

    async def start_silence(self, channel: str) -> None:
        """Send silence to the channel until something is played (which ends the silence for good)."""
        await self.request("POST", f"/channels/{_id(channel)}/silence")

    async def stop_silence(self, channel: str) -> None:
        """End what `start_silence` began; also where nothing did."""
        await self.delete_quietly(f"/channels/{_id(channel)}/silence")

    async def variable(self, channel: str, name: str) -> str:
        """The value of a channel variable or function, as in CHANNEL(audionativeformat); empty if it has
        none (res/ari/resource_channels.c, `ast_ari_channels_get_channel_var`)."""
        path = f"/channels/{_id(channel)}/variable"
        try:
            answer = await self.request("GET", path, {"variable": name})
        except AriRejected as error:
            if error.status == 404 and UNSET_VARIABLE in str(error):
                return ""
            raise
        return str(answer.get("value", "")) if isinstance(answer, dict) else ""

    async def version(self) -> str:
        """Asterisk's version, as in 22.10.1."""
        answer = await self.request("GET", "/asterisk/info", {"only": "system"})
        system = answer.get("system") if isinstance(answer, dict) else None
        return str(system.get("version", "")) if isinstance(system, dict) else ""

    async def snoop(self, channel: str, app: str, snoop_id: str) -> None:
        """Make a channel that hears what comes *from* `channel`, and nothing of what is played to it."""
        await self.request("POST", f"/channels/{_id(channel)}/snoop/{_id(snoop_id)}", {"spy": "in", "app": app})

    async def external_media(self, channel: str, app: str, media: ExternalMedia) -> Mapping[str, str]:
        """Make a channel that carries its audio outside of Asterisk; gives the variables that the answer tells of it.

        Where Asterisk is the one who connects, it has done so before it answers this request.
        """
        wanted = {name: value for name, value in attrs.asdict(media).items() if value}
        answer = await self.request("POST", "/channels/externalMedia", {"channelId": channel, "app": app, **wanted})
        variables = answer.get("channelvars") if isinstance(answer, dict) else None
        return {str(name): str(value) for name, value in variables.items()} if isinstance(variables, dict) else {}

    async def originate_local(self, channel: str, other: str, app: str, media: DialplanMedia) -> None:
        """Make a pair of Local channels: half ;1 (`channel`) enters `app`, half ;2 (`other`) runs the dialplan.

        `formats=slin` matters: without it the pair runs at 192 kHz and the agent hears nothing while a
        bridge plays (measured on 22.10).
        """
        await self.request(
            "POST",
            "/channels",
            {
                "endpoint": f"Local/{media.extension}@{media.context}/n",
                "app": app,
                "channelId": channel,
                "otherChannelId": other,
                "formats": "slin",
            },
        )

    # --- bridges

    async def bridges(self) -> set[str]:
        """The ids of every bridge of the PBX."""
        raw = _objects("GET /bridges", await self.request("GET", "/bridges"))
        return {str(bridge.get("id", "")) for bridge in raw}

    async def create_bridge(self, bridge: str) -> None:
        await self.request("POST", f"/bridges/{_id(bridge)}", {"type": "mixing", "name": bridge})

    async def add_to_bridge(self, bridge: str, channel: str) -> None:
        await self.request("POST", f"/bridges/{_id(bridge)}/addChannel", {"channel": channel})

    async def destroy_bridge(self, bridge: str) -> None:
        await self.delete_quietly(f"/bridges/{_id(bridge)}")

    # --- playback

    async def play(self, channel: str, playback: str, media: str) -> None:
        await self.request("POST", f"/channels/{_id(channel)}/play/{_id(playback)}", {"media": media})

    async def stop_playback(self, playback: str) -> None:
        await self.delete_quietly(f"/playbacks/{_id(playback)}")

    async def control_playback(self, playback: str, operation: str) -> bool:
        """ "pause" or "unpause" a playback; false where it has not begun or has ended."""
        try:
            await self.request("POST", f"/playbacks/{_id(playback)}/control", {"operation": operation})
        except AriRejected as error:
            if error.status not in (404, 409):
                raise
            return False
        return True

    async def playback_exists(self, playback: str) -> bool:
        try:
            await self.request("GET", f"/playbacks/{_id(playback)}")
        except AriRejected as error:
            if error.status == 404:
                return False
            raise
        return True

    # --- application

    async def application_channels(self, app: str) -> set[str]:
        """Ids of the channels that our application is subscribed to. Raises AriRejected(404) without one."""
        path = f"/applications/{_id(app)}"
        answer = await self.request("GET", path)
        channels = answer.get("channel_ids", []) if isinstance(answer, dict) else None
        if not isinstance(channels, list):
            raise AriError(f"ARI GET {path}: expected an application, got {str(answer)[:200]}")
        return {str(channel) for channel in channels}

    async def user_event(self, app: str, name: str) -> None:
        """Have an event of our own come to the application. Raises AriRejected(404) without one."""
        await self.request("POST", f"/events/user/{_id(name)}", {"application": app})

    async def subscribe(self, app: str, source: str) -> None:
        """Have a source's events come to the application, as in "channel:ID". Asterisk counts how often."""
        await self.request("POST", f"/applications/{_id(app)}/subscription", {"eventSource": source})

    async def unsubscribe(self, app: str, source: str) -> None:
        """Undo one `subscribe`; also where Asterisk has done so, or the source is gone."""
        try:
            await self.request("DELETE", f"/applications/{_id(app)}/subscription", {"eventSource": source})
        except AriRejected as error:
            if error.status not in (404, 409, 422):
                raise


@asynccontextmanager
async def open_rest(
    url: str, username: str, password: str, metrics: Metrics, deadline: float
) -> AsyncIterator[AriRest]:
    """The REST client for Asterisk's HTTP server at `url` (http://host:port, and the prefix), closed on leaving it.

    `deadline` bounds each phase of a request in seconds.
    """
    async with httpx.AsyncClient(
        base_url=url,
        auth=httpx.BasicAuth(username, password),
        timeout=httpx.Timeout(deadline, connect=min(deadlines.ARI_CONNECT.seconds, deadline)),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
        trust_env=False,
    ) as client:
        yield AriRest(client, metrics, deadline)


def _id(value: str) -> str:
    return quote(value, safe="")


def _objects(what: str, answer: Any) -> list[dict[str, Any]]:
    """A list of objects, or AriError: whoever answers at the configured URL need not be Asterisk."""
    if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
        raise AriError(f"ARI {what}: expected a list of objects, got {str(answer)[:200]}")
    return answer
