"""What an agent hears over a media leg by RTP, without an agent or a daemon: an ear at the end of a transport."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import attrs
import trio

from agentd.ari.rest import AriRest, open_rest
from agentd.config.secrets import Secret
from agentd.config.settings import Asterisk, Config, Rtp
from agentd.doctor.probe import Probe, open_probe
from agentd.errors import AriRejected
from agentd.media.caller import CallerMedia
from agentd.media.leg import LegKind, LineFormat, MediaConnection
from agentd.metrics import Metrics
from agentd.rtp.transport import RtpTransport

from .asterisk import PrivateAsterisk
from .lossy import ASTERISK_SENDS_TO, LossyNetwork, Weather

PROMPT_EXTENSION = "7301"
PROMPT_DIALPLAN = f"""exten => {PROMPT_EXTENSION},1,Answer()
 same => n,Playback(demo-congrats)
 same => n,Wait(60)
"""
"""For PrivateAsterisk's extra_dialplan: a human voice, for half a minute."""
ENTRY_SECONDS = 5.0
REQUEST_SECONDS = 5.0


@attrs.define(eq=False)
class OneLeg:
    """The one media leg of an ear. Meets agentd.media.leg.MediaSource."""

    connection: MediaConnection
    lost_means_hang_up: bool = True

    @asynccontextmanager
    async def media_leg(self, kind: LegKind) -> AsyncIterator[MediaConnection]:
        """The leg, once."""
        await trio.lowlevel.checkpoint()
        try:
            yield self.connection
        finally:
            self.connection.release()

    async def leg_stands(self) -> bool:
        """Nobody ends it."""
        await trio.lowlevel.checkpoint()
        return True

    async def unconverted(self) -> str:
        """Nobody asks."""
        await trio.lowlevel.checkpoint()
        return ""

    async def carry_silence(self) -> None:
        """There is no other leg to be waited for."""
        await trio.lowlevel.checkpoint()


async def fed(connection: MediaConnection, seconds: float) -> bytes:
    """What an agent is fed over a leg in so many seconds, as 8 kHz slin."""
    heard = bytearray()
    media = CallerMedia(
        OneLeg(connection),
        LegKind.STREAMING,
        tries=0,
        line=LineFormat(),
        metrics=Metrics(),
        tell=lambda event: None,
        on_up=lambda: None,
        hear=lambda pcm, at: heard.extend(pcm),
        press=lambda digit: None,
        next_frame=lambda *, ahead=False: None,
        fall_back=lambda: False,
        line_moves=lambda moving: None,
    )
    with trio.move_on_after(seconds):
        await media.keep()
    return bytes(heard)


@attrs.define(eq=False)
class Ear:
    """An application of its own on a PBX behind a lossy network, and the transport that brings it audio. `metrics` are
    the transport's."""

    probe: Probe
    transport: RtpTransport
    network: LossyNetwork
    metrics: Metrics

    async def hear_prompt(self, weather: Weather, seconds: float) -> bytes:
        """What an agent hears in this weather of the prompt that the PBX plays (PROMPT_DIALPLAN): 8 kHz slin."""
        part = uuid4().hex[:8]
        caller, media = self.probe.channel(f"caller-{part}"), self.probe.channel(f"media-{part}")
        bridge, rest = await self.probe.bridge(f"bridge-{part}"), self.probe.rest
        endpoint = f"Local/{PROMPT_EXTENSION}@from-lab/n"
        self.network.towards_agentd.weather = weather
        with self.transport.expect(uuid4(), LineFormat()) as leg:
            leg.told(await rest.external_media(media, self.probe.app, leg.request))
            connection = await leg.connection(ENTRY_SECONDS)
        asked = {"endpoint": endpoint, "app": self.probe.app, "channelId": caller, "formats": "ulaw"}
        await rest.request("POST", "/channels", asked)
        for channel in (media, caller):
            await enter_bridge(rest, bridge, channel)
        return await fed(connection, seconds)


@asynccontextmanager
async def open_application(pbx: PrivateAsterisk, url: str, config: Config) -> AsyncIterator[Probe]:
    """An application on the PBX, whose channels and bridges go with it. `url` is where ARI is reached."""
    async with (
        open_rest(url, pbx.ari_user, pbx.ari_password, Metrics(), REQUEST_SECONDS) as rest,
        trio.open_nursery() as nursery,
    ):
        probe = await open_probe(config, Secret("ari-password", pbx.ari_password), rest, nursery)
        yield probe
        assert not await probe.clear()
        probe.close()


@asynccontextmanager
async def open_ear(pbx: PrivateAsterisk, url: str, network: LossyNetwork) -> AsyncIterator[Ear]:
    """An ear on a PBX behind a network (tests.lab.lossy.open_lossy_network)."""
    last = pbx.agent_rtp + pbx.agent_rtp_ports - 1
    ports = Rtp(first_port=pbx.agent_rtp, last_port=last, advertise=ASTERISK_SENDS_TO)
    config, metrics = Config(asterisk=Asterisk(url=url), rtp=ports), Metrics()
    async with open_application(pbx, url, config) as probe:
        yield Ear(probe, RtpTransport(lambda: config, metrics), network, metrics)


async def enter_bridge(rest: AriRest, bridge: str, channel: str) -> None:
    """Add a channel to a bridge as soon as it is in the application. Raises trio.TooSlowError."""
    with trio.fail_after(ENTRY_SECONDS):
        while True:
            try:
                await rest.add_to_bridge(bridge, channel)
            except AriRejected:
                await trio.sleep(0.05)  # it is not in the application yet
            else:
                return
