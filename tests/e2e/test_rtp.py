"""Calls by ExternalMedia RTP on the real PBX, and through a network that loses, delays and reorders packets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from agentd.addresses import host_port
from agentd.config.settings import Asterisk, Calls, Config, Rtp
from agentd.doctor.findings import State
from agentd.doctor.probe import Probe
from agentd.doctor.rtp import examine_rtp
from agentd.media.transport import ExternalMedia
from agentd.rtp.packet import LONGEST, Outgoing, Packet, parse
from agentd.rtp.transport import named_address
from tests.e2e.conftest import STORY, show
from tests.lab.asterisk import Prefix, PrivateAsterisk
from tests.lab.daemon import Daemon, environment, run_daemon, write_config
from tests.lab.delivery import Manner
from tests.lab.ear import PROMPT_DIALPLAN, enter_bridge, open_application, open_ear
from tests.lab.hearing import likeness
from tests.lab.lossy import ASTERISK_SENDS_TO, LossyNetwork, Weather, open_lossy_network
from tests.lab.measure import clicks, speech_spans
from tests.lab.scene import ask, listen, silence_after, words_heard
from tests.lab.sip import SipCaller
from tests.lab.speech import human_prompts, silence

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.long]

GREETING = "Hello, how can I help you?"
QUESTION = "conf-onlyperson"
DEFAULT, TALKER, SILENT, FILE = "7110", "7111", "7112", "7113"
AGENTS = f"""
[agents.default]
prompt = "You are a friendly telephone assistant. Answer in one short sentence."
[agents.talker]
greeting = "{STORY}"
"""
DIALPLAN = f"""{PROMPT_DIALPLAN}
exten => 7110,1,Gosub(agentd-call,${{EXTEN}},1(default,rtp))
exten => 7111,1,Gosub(agentd-call,${{EXTEN}},1(talker,rtp))
"""
FAIR, POOR = Weather(loss=0.01, jitter=0.02), Weather(loss=0.05, burst=2.0, jitter=0.04)
SEED = 20


# --- without loss: what the other transports do too is in test_carriers.py


async def test_a_caller_whose_telephone_sends_nothing_keeps_the_leg_and_hears(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """Muted, and silence is suppressed: there was a fresh leg with each `silence_timeout`."""
    async with PrivateAsterisk(pbx_prefix, extra_dialplan=DIALPLAN) as pbx:
        config = write_config(tmp_path / "agent.toml", pbx, rtp="silence_timeout = 2", agents=AGENTS)
        async with run_daemon(config, environment(pbx), show) as daemon:
            async with SipCaller(manner=Manner(suppresses_silence=True)).call(pbx.sip_uri(TALKER)) as call:
                kept = await daemon.wait_for("the caller's side sends nothing: the leg is kept, for the PBX has it")
                since = call.now
                await trio.sleep(3 * 2.0)
                assert speech_spans(call.heard[int(since * 8000) * 2 :])
                await call.hangup()
            await daemon.until_idle()
            assert "127.0.0.1:" in kept["peer"]
            assert [line["reason"].partition(", ")[2] for line in daemon.having("media leg lost")] == [
                "though the leg stands"
            ]


async def converse(pbx: PrivateAsterisk, daemon: Daemon, prefix: Prefix) -> None:
    """A caller is greeted, asks, and is understood and answered."""
    question = next(prompt for prompt in human_prompts(prefix) if prompt.name == QUESTION)
    async with SipCaller().call(pbx.sip_uri(DEFAULT)) as call:
        start, end = await listen(call, 0.0)
        assert likeness(GREETING, await words_heard(call, start, end)) > 0.5
        answer = await ask(call, silence(0.5) + question.pcm() + silence(0.5))
        assert await words_heard(call, answer.start, answer.end)
        await call.hangup()
    await daemon.until_idle()
    (said,) = [line["text"] for line in daemon.having("caller said")]
    assert likeness(question.text, said) > 0.6


async def test_slin_is_carried_both_ways(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with PrivateAsterisk(pbx_prefix, extra_dialplan=DIALPLAN) as pbx:
        config = write_config(tmp_path / "agent.toml", pbx, rtp='codec = "slin"', agents=AGENTS)
        async with run_daemon(config, environment(pbx), show) as daemon:
            await converse(pbx, daemon, pbx_prefix)
            assert "agentd_rtp_refused_total{" not in await daemon.metrics()


async def test_asterisk_sends_16_khz_slin_and_takes_none_which_is_why_a_line_has_8_khz(pbx_prefix: Prefix) -> None:
    """docs/decisions/rtp-has-8-khz.md: what it takes are the static payload types, g722 among them."""
    async with PrivateAsterisk(pbx_prefix) as pbx:
        url = f"http://127.0.0.1:{pbx.http_port}"
        async with open_application(pbx, url, Config(asterisk=Asterisk(url=url))) as probe:
            bridge = await probe.bridge()
            one, other = [await wideband_end(probe, bridge, name) for name in ("one", "other")]
            came = {payload_type: await passed_on(one, other, payload_type) for payload_type in (118, 9, 0, 11)}
            one.close()
            other.close()
    assert came == {118: set(), 9: {118}, 0: {118}, 11: {118}}


async def wideband_end(probe: Probe, bridge: str, name: str) -> trio.socket.SocketType:
    """A socket of a channel for slin16 in the bridge, connected to Asterisk's."""
    end = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    await end.bind(("127.0.0.1", 0))
    asked = ExternalMedia("rtp", "udp", host_port(*end.getsockname()), "slin16")
    channel = probe.channel(f"wideband-{name}")
    named = named_address(await probe.rest.external_media(channel, probe.app, asked))
    assert named is not None
    await end.connect(named)
    await enter_bridge(probe.rest, bridge, channel)
    return end


async def passed_on(one: trio.socket.SocketType, other: trio.socket.SocketType, payload_type: int) -> set[int]:
    """Of which types packets come out, where some of this type are sent in."""
    stream = Outgoing(payload_type, payload_type, 0, 0)
    found = set()
    for number in range(25):
        await one.send(stream.packet(bytes(range(160)), 160 * number))
        await trio.sleep(0.02)
    with trio.move_on_after(0.2):
        while True:
            packet = parse(await other.recv(LONGEST))
            assert isinstance(packet, Packet)
            found.add(packet.payload_type)
    return found


# --- through the network


@asynccontextmanager
async def lossy_pbx(prefix: Prefix) -> AsyncIterator[tuple[PrivateAsterisk, LossyNetwork, str]]:
    """A PBX behind a lossy network, and ARI's URL behind the same."""
    async with (
        PrivateAsterisk(prefix, extra_dialplan=DIALPLAN) as pbx,
        open_lossy_network(pbx, SEED) as (network, url),
    ):
        yield pbx, network, url


@asynccontextmanager
async def lossy_daemon(
    prefix: Prefix, directory: Path, weather: Weather
) -> AsyncIterator[tuple[PrivateAsterisk, Daemon]]:
    """A daemon whose calls' audio goes through this weather, both ways."""
    async with lossy_pbx(prefix) as (pbx, network, url):
        network.set(weather)
        advertised = f'advertise = "{ASTERISK_SENDS_TO}"'
        config = write_config(directory / "agent.toml", pbx, ari_url=url, rtp=advertised, agents=AGENTS)
        async with run_daemon(config, environment(pbx), show) as daemon:
            yield pbx, daemon
        for way in (network.towards_agentd, network.towards_asterisk):
            assert way.sent > 200
            assert way.lost


@pytest.mark.parametrize("weather", [FAIR, POOR], ids=str)
async def test_a_call_goes_on_and_is_understood(pbx_prefix: Prefix, tmp_path: Path, weather: Weather) -> None:
    question = next(prompt for prompt in human_prompts(pbx_prefix) if prompt.name == QUESTION)
    async with lossy_daemon(pbx_prefix, tmp_path, weather) as (pbx, daemon):
        await converse(pbx, daemon, pbx_prefix)
        since = len(daemon.lines)
        async with SipCaller().call(pbx.sip_uri(TALKER)) as call:
            await daemon.wait_for("state", start=since, after="speaking")
            await trio.sleep(3)
            sent = call.play_nowait(question.pcm() + silence(0.5))
            began = call.now
            stopped = await silence_after(call, began, 0.8)
            await sent.wait()
            await call.hangup()
        await daemon.until_idle()
        assert stopped - began < 1.5
        assert daemon.having("interrupted") or daemon.having("utterance cut short")
        assert not daemon.having("media leg lost")
        metrics = await daemon.metrics()
        assert 'agentd_rtp_packets_total{fate="lost"}' in metrics


@pytest.mark.parametrize(
    ("advertise", "state"), [("", State.OK), ("127.0.0.9", State.FAIL)], ids=["as it should be", "another address"]
)
async def test_the_doctor_has_asterisk_send_and_take(pbx_prefix: Prefix, advertise: str, state: State) -> None:
    async with PrivateAsterisk(pbx_prefix) as pbx:
        url = f"http://127.0.0.1:{pbx.http_port}"
        ports = Rtp(first_port=pbx.agent_rtp, last_port=pbx.agent_rtp + pbx.agent_rtp_ports - 1, advertise=advertise)
        config = Config(asterisk=Asterisk(url=url), rtp=ports, calls=Calls(default_media="rtp", max_calls=10))
        async with open_application(pbx, url, config) as probe:
            found, tried = await examine_rtp(config, probe, frozenset())
    assert found.state is State.OK, found
    assert tried.state is state, tried
    assert advertise in "".join(tried.advice)


async def test_what_an_agent_hears_clicks_nowhere_though_packets_are_lost(pbx_prefix: Prefix) -> None:
    """25 s of a human voice; without the concealment a lost packet is a click as often as not."""
    seconds = 25.0
    async with lossy_pbx(pbx_prefix) as (pbx, network, url), open_ear(pbx, url, network) as ear:
        heard = {weather: await ear.hear_prompt(weather, seconds) for weather in (Weather(), FAIR, POOR)}
        lost = ear.metrics.registry.get_sample_value("agentd_rtp_packets_total", {"fate": "lost"}) or 0.0
    print({weather: (len(pcm) / 16000, len(clicks(pcm))) for weather, pcm in heard.items()}, lost)
    assert lost > 0.01 * 50 * seconds
    for weather, pcm in heard.items():
        assert len(pcm) / 16000 == pytest.approx(seconds, abs=0.7)
        assert sum(span.end - span.start for span in speech_spans(pcm)) > seconds / 2
        if weather is not POOR:
            assert clicks(pcm) == []
