"""A leg by RTP: its port, what Asterisk is asked, and whom the port then belongs to."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentd.addresses import host_port, split_host_port
from agentd.config.settings import Config, Rtp, RtpCodec
from agentd.errors import MediaTimeout
from agentd.media.clock import LineClock
from agentd.media.leg import LineFormat
from agentd.metrics import Metrics
from agentd.rtp.ports import NoPort, Ports, connect
from agentd.rtp.transport import BIND_DEADLINE, RtpLeg, RtpTransport, named_address, open_rtp
from tests.shell.rtp_ports import rtp_ports

NARROW = LineFormat()


@pytest.fixture
def ports() -> Iterator[Rtp]:
    """Four ports that nobody else has."""
    with rtp_ports(4) as settings:
        yield settings


@contextmanager
def expecting(settings: Rtp) -> Iterator[RtpLeg]:
    transport = RtpTransport(lambda: Config(rtp=settings), Metrics())
    with transport.expect(uuid4(), NARROW) as leg:
        yield leg


def answer(host: str, port: int) -> dict[str, str]:
    return {"UNICASTRTP_LOCAL_ADDRESS": host, "UNICASTRTP_LOCAL_PORT": str(port)}


def free(settings: Rtp) -> bool:
    """Whether all ports of the range can be had."""
    opened = []
    try:
        opened = [Ports().open(attrs.evolve(settings, first_port=port, last_port=port)) for port in
                  range(settings.first_port, settings.last_port + 1)]  # fmt: skip
    except NoPort:
        return False
    finally:
        for each in opened:
            each.close()
    return True


@pytest.mark.parametrize("codec", RtpCodec)
async def test_asterisk_is_told_our_port_and_the_format(ports: Rtp, codec: RtpCodec) -> None:
    settings = attrs.evolve(ports, codec=codec)
    with expecting(settings) as leg:
        asked = leg.request
        assert (asked.encapsulation, asked.transport, asked.format) == ("rtp", "udp", str(codec))
        host, port = split_host_port(asked.external_host)
        assert host == "127.0.0.1"
        assert ports.first_port <= port <= ports.last_port


async def test_asterisk_elsewhere_is_told_the_advertised_address(ports: Rtp) -> None:
    with expecting(attrs.evolve(ports, advertise="2001:db8::7")) as leg:
        assert leg.request.external_host.startswith("[2001:db8::7]:")
    with expecting(attrs.evolve(ports, advertise="agents.lan")) as leg:
        assert leg.request.external_host.startswith("agents.lan:")


@pytest.mark.parametrize(
    ("host", "far"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"), ("::", "::1"), ("localhost", "127.0.0.1")],
)
async def test_the_port_belongs_to_whom_asterisk_names(ports: Rtp, host: str, far: str) -> None:
    asterisk = socket.socket(socket.AF_INET6 if ":" in far else socket.AF_INET, socket.SOCK_DGRAM)
    asterisk.bind((far, 0))
    port = asterisk.getsockname()[1]
    with expecting(attrs.evolve(ports, host=host)) as leg:
        leg.told(answer(far, port))
        connection = await leg.connection(1.0)
        assert connection.peer == host_port(far, port)
        connection.opened.send(b"to Asterisk")
        data, source = asterisk.recvfrom(100)
        assert data == b"to Asterisk"
        assert source[1] == split_host_port(leg.request.external_host)[1], "from the port that receives: symmetric"
    asterisk.sendto(b"to agentd", source)
    assert connection.opened.recv(100) == b"to agentd"
    connection.release()
    connection.release()
    asterisk.close()


async def test_the_variables_may_come_one_by_one_and_the_first_address_counts(ports: Rtp) -> None:
    with expecting(ports) as leg:
        leg.told({"UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1", "SOMETHING": "else"})
        leg.told({"UNICASTRTP_LOCAL_PORT": "12000"})
        leg.told(answer("127.0.0.1", 666))
        connection = await leg.connection(1.0)
        assert connection.opened.getpeername() == ("127.0.0.1", 12000)
        connection.release()


@pytest.mark.parametrize(
    ("host", "port", "named"),
    [
        ("192.0.2.1", "12000", ("192.0.2.1", 12000)),
        ("2001:db8::1", "12000", ("2001:db8::1", 12000)),
        ("[2001:db8::1]", " 12000 ", ("2001:db8::1", 12000)),
        ("", "12000", None),
        ("192.0.2.1", "", None),
        ("192.0.2.1", "0", None),
        ("192.0.2.1", "65536", None),
        ("192.0.2.1", "-1", None),
        ("192.0.2.1", "1e4", None),
        ("0.0.0.0", "12000", None),
        ("::", "12000", None),
        ("pbx.lan", "12000", None),
    ],
)
def test_an_address_that_nobody_can_send_to_is_none(host: str, port: str, named: tuple[str, int] | None) -> None:
    variables = {"UNICASTRTP_LOCAL_ADDRESS": host, "UNICASTRTP_LOCAL_PORT": port}
    assert named_address(variables) == named


async def test_an_asterisk_that_names_no_address_is_told_with_what_it_said(
    ports: Rtp, autojump_clock: MockClock
) -> None:
    with expecting(ports) as leg:
        leg.told(answer("pbx.lan", 0))
        with pytest.raises(MediaTimeout, match=r"did not name its own end within 7 s: .* 'pbx.lan' and .* '0'$"):
            await leg.connection(BIND_DEADLINE)
    assert free(ports)


async def test_an_address_that_ours_cannot_reach_is_told_as_such(ports: Rtp) -> None:
    with expecting(ports) as leg:
        leg.told(answer("2001:db8::1", 12000))
        with pytest.raises(MediaTimeout, match=r"from \[2001:db8::1\]:12000, which is not reached from \[rtp\] host"):
            await leg.connection(1.0)
    assert free(ports)


async def test_a_leg_that_nobody_took_leaves_no_port(ports: Rtp) -> None:
    with expecting(ports) as leg:
        leg.told(answer("127.0.0.1", 12000))
        assert not free(ports)
    assert free(ports)


async def test_who_is_cancelled_while_it_waits_leaves_no_port(ports: Rtp, autojump_clock: MockClock) -> None:
    with trio.move_on_after(0.5), expecting(ports) as leg:
        await leg.connection(5.0)
    assert free(ports)


async def test_more_calls_than_ports_are_told_so(ports: Rtp) -> None:
    transport = RtpTransport(lambda: Config(rtp=ports), Metrics())
    legs = [transport.expect(uuid4(), NARROW) for _ in range(4)]
    for leg in legs:
        leg.__enter__()
    told = rf"^no UDP port of {ports.first_port} to {ports.last_port} on 127.0.0.1, as \[rtp\] says, .*: all are taken$"
    with pytest.raises(MediaTimeout, match=told), transport.expect(uuid4(), NARROW):
        pytest.fail("there was none")  # pragma: no cover
    for leg in legs:
        leg.__exit__(None, None, None)
    with transport.expect(uuid4(), NARROW):
        pass


def test_a_port_is_not_taken_again_at_once(ports: Rtp) -> None:
    range_of_ports, given = Ports(), []
    for _ in range(4):
        opened = range_of_ports.open(ports)
        given.append(opened.getsockname()[1])
        opened.close()
    assert len(set(given)) == 4


def test_the_daemon_does_not_begin_with_an_address_that_is_not_this_host_s() -> None:
    settings = Rtp(host="192.0.2.77")
    with pytest.raises(
        NoPort, match=r"21000 to 21999 on 192.0.2.77, as \[rtp\] says, can be had: Cannot assign"
    ) as told:
        open_rtp(lambda: Config(rtp=settings), Metrics(), LineClock(Metrics()))
    assert told.value.errno == errno.EADDRNOTAVAIL


def test_a_socket_of_ipv4_reaches_no_ipv6() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened, pytest.raises(OSError, match="IPv6"):
        connect(opened, "::1", 12000)
