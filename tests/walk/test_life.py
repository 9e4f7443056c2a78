"""The walk sees what is wrong: each defect that is made here on purpose is found, and nothing where there is none."""

import math
from typing import Any

import pytest
import trio

from agentd.ari.reconciler import Reconciler
from agentd.ari.rest import AriRest
from agentd.audiosocket.connection import AudioSocketConnection
from agentd.chan_websocket import connection as media_websocket
from agentd.chan_websocket.connection import ChanWebSocketConnection
from agentd.rtp.connection import RtpConnection
from agentd.service.reception import Reception
from agentd.service.supervisor import Supervisor
from tests.walk.datagrams import DatagramSocket
from tests.walk.faults import Fault, How, Where
from tests.walk.kinds import BY_NAME, KINDS, Happening, Kind
from tests.walk.life import Life, Outcome

KIND = BY_NAME["fork-stream-full-none"]
HANDED_BACK = BY_NAME["fork-stream-pipeline-tool"]
BY_RTP = BY_NAME["rtp-stream-full-none"]
BY_WEBSOCKET = BY_NAME["websocket-stream-full-none"]


async def _nothing(*_arguments: Any, **_named: Any) -> None:
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_call_to_which_nothing_happens_leaves_nothing(kind: Kind) -> None:
    outcome = Life(kind).run()
    assert (outcome.wrong, outcome.errors) == ((), ())
    assert outcome.main == Life(kind).undisturbed
    assert outcome.course is not None
    assert outcome.course.steps > 100


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.happening is Happening.REPLACE], ids=str)
def test_who_takes_the_caller_s_place_talks_with_the_agent(kind: Kind) -> None:
    outcome = Life(kind).run()
    assert outcome.main == "gone", "they hang up once they are answered, and would wait for ever otherwise"
    assert outcome.course is not None
    assert {"StasisStart SUCCESSOR", "ChannelHangupRequest SUCCESSOR"} <= set(outcome.course.events)


def test_a_life_is_the_same_each_time() -> None:
    once, again = (Life(KIND, Fault(Where.REQUEST, 3, How.R500)).run() for _ in range(2))
    assert once == again


def test_a_caller_who_is_kept_in_the_application_is_stranded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AriRest, "continue_in_dialplan", _nothing)
    assert "STRANDED" in Life(HANDED_BACK).run().wrong


def test_a_bridge_that_is_not_removed_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AriRest, "destroy_bridge", _nothing)
    assert "LEFT bridge agentd-leg-bridge-ID" in Life(KIND).run().wrong


def test_a_port_that_is_not_given_back_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RtpConnection, "release", lambda connection: None)
    assert "LEFT UDP port of agentd" in Life(BY_RTP).run().wrong


def test_a_caller_whose_agent_listens_to_a_stranger_is_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    send, take = DatagramSocket.sendto, RtpConnection._taken

    def to_whom_it_may_not(socket: DatagramSocket, data: bytes, address: tuple[str, int]) -> int:
        if (other := socket._all.bound.get(address[1])) is not None:
            other._inbox.append((data, socket.getsockname()))
        return send(socket, b"", address) if other is None else len(data)

    def of_anybody(connection: RtpConnection, datagram: bytes, _source: Any, now: float) -> list[bytes]:
        return take(connection, datagram, connection._from, now)

    fault = Fault.parse("leg-2/stranger")
    assert Life(BY_RTP, fault).run().wrong == ()
    monkeypatch.setattr(DatagramSocket, "sendto", to_whom_it_may_not)
    monkeypatch.setattr(RtpConnection, "_taken", of_anybody)
    assert Life(BY_RTP, fault).run().wrong == ("UNHEARD the caller, who is dialplan",)


def test_a_websocket_that_is_not_closed_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault.parse("leg-4/error")
    assert Life(BY_WEBSOCKET, fault).run().wrong == ()
    monkeypatch.setattr(ChanWebSocketConnection, "release", lambda connection: None)
    monkeypatch.setattr(AriRest, "hang_up", _nothing)  # that would close it
    assert "LEFT connection" in Life(BY_WEBSOCKET, fault).run().wrong


def test_a_caller_whose_agent_waits_for_an_asterisk_that_has_said_stop_is_unheard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault = Fault.parse("leg-2/stopped")
    assert Life(BY_WEBSOCKET, fault).run().wrong == ()
    monkeypatch.setattr(media_websocket, "STILL_DEADLINE", math.inf)
    assert Life(BY_WEBSOCKET, fault).run().wrong == ("UNHEARD the caller, who is dialplan",)


def test_a_task_that_goes_on_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    on_call = Reception.on_call

    def with_a_task(reception: Reception, start: Any) -> None:
        on_call(reception, start)
        reception.nursery.start_soon(trio.sleep_forever)

    monkeypatch.setattr(Reception, "on_call", with_a_task)
    outcome = Life(KIND).run()
    assert [it for it in outcome.wrong if it.startswith("LEFT task") and "sleep_forever" in it]


def test_what_the_daemon_does_minutes_later_is_found_though_idle_time_is_leapt_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look, looks = Reconciler.look, list[float]()

    async def late(reconciler: Reconciler, *, ours: bool) -> None:
        looks.append(trio.current_time())
        if trio.current_time() < 400.0:
            await look(reconciler, ours=ours)
        else:
            await reconciler.rest.create_bridge("late")

    monkeypatch.setattr(Reconciler, "look", late)
    assert Life(KIND).run().wrong == ("LEFT bridge late",)
    assert len(looks) < 10, "idle time passes in full: it is to be leapt over"


def test_another_caller_who_hears_a_gap_is_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = AudioSocketConnection._write, list[AudioSocketConnection]()

    def slow(connection: AudioSocketConnection, *arguments: Any) -> str | None:
        written.append(connection)
        if connection is written[0] and 50 <= written.count(connection) < 60:  # the other caller's, who came first
            return None
        return write(connection, *arguments)

    monkeypatch.setattr(AudioSocketConnection, "_write", slow)
    assert [it for it in Life(KIND).run().wrong if it.startswith("OTHER heard a gap")]


def test_a_daemon_that_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Supervisor.run

    async def ending(supervisor: Supervisor) -> None:
        with trio.move_on_after(5.0):
            await run(supervisor)
        raise RuntimeError("a defect")

    monkeypatch.setattr(Supervisor, "run", ending)
    assert "DAEMON ENDED RuntimeError: a defect" in Life(KIND).run().wrong


def test_what_is_wrong_has_its_sorts() -> None:
    assert Outcome("x", "gone", ("LEFT bridge", "LEFT route", "STRANDED")).sorts == "LEFT STRANDED"
    assert str(Outcome("x", "gone")) == "gone"
