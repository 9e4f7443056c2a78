"""RTP: can agentd have its ports, and does what Asterisk sends arrive there?

The trial legs take ports of the range that a running agentd does not hold.
"""

from agentd.config.settings import Config
from agentd.doctor.both_ways import ARRIVAL_DEADLINE, ENDS, ends_that_hear
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.doctor.pbx import ari_advice
from agentd.doctor.probe import Probe
from agentd.doctor.transports import LEGS
from agentd.errors import AriError, MediaTimeout
from agentd.metrics import Metrics
from agentd.rtp.ports import NoPort, Ports
from agentd.rtp.transport import RTP, RtpTransport


async def examine_rtp(config: Config, probe: Probe | None, modules: frozenset[str]) -> list[Finding]:
    """The ports, and a trial both ways; without `probe` the ports alone. What is wrong fails where RTP is the default,
    and is a warning else: only extensions with media=rtp need it."""
    settings = config.rtp
    judge = fail if config.calls.default_media == RTP else warn
    range_of_ports = f"UDP {settings.first_port} to {settings.last_port} on {settings.host}"
    try:
        Ports().open(settings).close()
    except NoPort as error:
        advice = (
            "[rtp] host must be an address of this host; its ports must be outside of Asterisk's (rtp.conf)",
            f"see who has them: ss -lunp 'sport >= :{settings.first_port} and sport <= :{settings.last_port}'",
        )
        return [judge("rtp ports", str(error), *advice), skipped("rtp", "there is no port for it")]
    count = settings.last_port - settings.first_port + 1
    if count < config.calls.max_calls and judge is fail:
        few = f"{range_of_ports}: {count} ports, and [calls] max_calls is {config.calls.max_calls}"
        ports = warn("rtp ports", few, "a longer range in [rtp], or fewer calls: each has a port")
    else:
        ports = ok("rtp ports", f"{range_of_ports}: free ones can be had")
    if probe is None:
        return [ports, skipped("rtp", "Asterisk cannot be asked to send")]
    if modules and LEGS[RTP] not in modules:
        return [ports, skipped("rtp", f"{LEGS[RTP]} is not loaded")]
    return [ports, await _attempt(config, probe)]


async def _attempt(config: Config, probe: Probe) -> Finding:
    judge = fail if config.calls.default_media == RTP else warn
    transport = RtpTransport(lambda: config, Metrics())
    try:
        heard = await ends_that_hear(transport, probe)
    except AriError as error:
        return judge("rtp", str(error), *ari_advice(error, config))
    except MediaTimeout as error:
        return judge("rtp", str(error), *_advice(config))
    if heard == len(ENDS):
        return ok("rtp", f"{transport.way} (media=rtp), and takes what it is sent")
    silent = "packets came on one of two legs only" if heard else f"no packet came within {ARRIVAL_DEADLINE:g} s"
    return judge("rtp", f"{transport.way} (media=rtp), or is to: {silent}", *_advice(config))


def _advice(config: Config) -> tuple[str, ...]:
    settings = config.rtp
    told = settings.advertise or settings.host
    return (
        f"agent.toml: [rtp] advertise, now {settings.advertise!r}, must be this host as Asterisk reaches it; empty "
        "where Asterisk runs here",
        f"does a firewall drop UDP {settings.first_port} to {settings.last_port} on the way to {told}, or back? There "
        "must be no NAT in between",
        "see what Asterisk logged about it: grep -i rtp /var/log/asterisk/full (or messages.log)",
    )
