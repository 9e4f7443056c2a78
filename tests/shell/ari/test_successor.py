"""A call's handle on its channel when another channel takes the caller's place: all goes on with that one."""

from uuid import UUID

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentd.ari.channel import CallerChannel
from agentd.ari.client import AriClient
from agentd.ari.events import Channel, ChannelDestroyed, DtmfReceived, HangupRequested, StasisEnd, StasisStart
from agentd.audiosocket.listener import Admission
from agentd.conversation import events as happens
from agentd.conversation.commands import Destination
from agentd.media.leg import LegKind, MediaConnection
from agentd.metrics import Metrics
from agentd.party import Party
from agentd.testing._ari_server import PASSWORD, USER, Answer, Request
from agentd.testing._asterisk import FakeAsterisk
from agentd.testing._lines import Lines

ALICE, BOB, CAROL = "1700000000.1", "1700000000.2", "1700000000.3"
BOBS_NAME = "PJSIP/bob-1"


@attrs.define
class Pbx:
    """An Asterisk with Alice in the application, and agentd's handle on her."""

    asterisk: FakeAsterisk
    client: AriClient
    lines: Lines
    channel: CallerChannel

    def put_bob_through(self) -> None:
        """Bob takes Alice's place, as Asterisk tells it."""
        self.asterisk.replace(ALICE, BOB, BOBS_NAME)
        self.client._dispatch(StasisStart(Channel(BOB, BOBS_NAME), (), 20.0, Channel(ALICE)))
        self.client._dispatch(StasisEnd(Channel(ALICE), 20.1))
        self.client._dispatch(ChannelDestroyed(Channel(ALICE)))

    async def serve(self, connection: MediaConnection) -> str:
        return await connection.serve(
            self.channel.line, lambda pcm, rate, at: None, lambda digit: None, lambda *, ahead=False: None, lambda: None
        )


@pytest.fixture
def pbx(autojump_clock: MockClock) -> Pbx:
    metrics, asterisk, admission = Metrics(), FakeAsterisk(), Admission()
    asterisk.enter(ALICE)
    lines = Lines(admission, metrics)
    asterisk.on_media = lambda uuid, request: lines.connect(UUID(uuid))
    client = AriClient(
        "http://asterisk.test", USER, PASSWORD, "agentd", asterisk.rest(metrics), metrics, lambda start: None
    )
    client._dispatch(StasisStart(Channel(ALICE), (), 10.0))
    return Pbx(asterisk, client, lines, CallerChannel(client, client.route(ALICE), lines.transport()))


async def test_the_streaming_leg_stays_for_asterisk_has_put_the_other_one_into_its_bridge(pbx: Pbx) -> None:
    async with pbx.channel.media_leg(LegKind.STREAMING) as connection, trio.open_nursery() as nursery:
        nursery.start_soon(pbx.serve, connection)
        await trio.sleep(1.0)
        pbx.put_bob_through()
        (members,) = pbx.asterisk.bridges.values()
        assert BOB in members
        assert await pbx.channel.next_event() == happens.CallerReplaced(BOBS_NAME)
        await trio.sleep(1.0)
        assert not pbx.lines.all[0].hung_up
        nursery.cancel_scope.cancel()


async def test_the_listening_leg_ends_and_the_next_one_hears_the_other_one(pbx: Pbx) -> None:
    async with pbx.channel.media_leg(LegKind.LISTENING) as connection, trio.open_nursery() as nursery:
        nursery.start_soon(_in_a_second, pbx)
        assert await pbx.serve(connection) == "hung up by agentd"
    async with pbx.channel.media_leg(LegKind.LISTENING) as connection, trio.open_nursery() as nursery:
        assert pbx.asterisk.asked("POST */snoop/*")[-1].startswith(f"POST /channels/{BOB}/snoop/")
        nursery.start_soon(pbx.serve, connection)
        await trio.sleep(1.0)
        assert not pbx.lines.all[1].hung_up
        nursery.cancel_scope.cancel()


async def test_a_listening_leg_that_was_on_its_way_ends_at_once(pbx: Pbx) -> None:
    """It hears the one who has gone."""

    def connects(uuid: str, _request: Request) -> None:
        pbx.lines.connect(UUID(uuid))
        pbx.put_bob_through()

    pbx.asterisk.on_media = connects
    async with pbx.channel.media_leg(LegKind.LISTENING) as connection:
        assert await pbx.serve(connection) == "hung up by agentd"


async def test_who_took_the_place_is_known_once_asterisk_has_connected_the_other_party(pbx: Pbx) -> None:
    """A Local channel has no number yet when it takes the place (measured on Asterisk 22.10.1)."""
    pbx.put_bob_through()
    began = trio.current_time()

    async def connected(_request: Request) -> None:
        if trio.current_time() - began > 0.5:
            pbx.asterisk.variables.setdefault(BOB, {}).update({"CALLERID(num)": "47 12", "CALLERID(name)": "Bob\n"})

    pbx.asterisk.rule("GET */variable", connected)
    assert await pbx.channel.meet_successor() == Party("4712", "Bob")


@pytest.mark.parametrize("presentation", ["prohib", "prohib_passed_screen"])
async def test_who_took_the_place_and_withholds_the_number_stays_unknown(presentation: str, pbx: Pbx) -> None:
    pbx.put_bob_through()
    identity = {"CALLERID(num)": "4712", "CALLERID(name)": "Bob", "CALLERID(pres)": presentation}
    pbx.asterisk.variables[BOB] = identity
    assert await pbx.channel.meet_successor() == Party()


async def test_who_took_the_place_and_has_no_number_is_given_up_soon(pbx: Pbx) -> None:
    pbx.put_bob_through()
    began = trio.current_time()
    assert await pbx.channel.meet_successor() == Party()
    assert trio.current_time() - began < 10.0


async def test_a_party_that_is_never_named_costs_five_requests_and_one_that_is_three(pbx: Pbx) -> None:
    """At a switchboard many are put through in a moment; Asterisk answers requests one after the other."""
    pbx.put_bob_through()
    await pbx.channel.meet_successor()
    assert len(pbx.asterisk.asked("GET */variable")) == 5
    pbx.asterisk.variables[BOB] = {"CALLERID(num)": "4712", "CALLERID(name)": "Bob"}
    assert await pbx.channel.meet_successor() == Party("4712", "Bob")
    assert len(pbx.asterisk.asked("GET */variable")) == 5 + 3


async def test_who_took_the_place_and_has_a_name_alone_is_known_by_it(pbx: Pbx) -> None:
    pbx.put_bob_through()
    pbx.asterisk.variables[BOB] = {"CALLERID(name)": "Bob"}
    assert await pbx.channel.meet_successor() == Party("", "Bob")


async def test_an_asterisk_that_cannot_be_asked_is_asked_again_and_one_who_has_left_is_not(pbx: Pbx) -> None:
    pbx.put_bob_through()
    pbx.asterisk.variables[BOB] = {"CALLERID(num)": "4712"}
    pbx.asterisk.rule("GET */variable", Answer.refusal(503, "busy"), times=2)
    assert await pbx.channel.meet_successor() == Party("4712")
    pbx.asterisk.gone(BOB)
    began = trio.current_time()
    assert await pbx.channel.meet_successor() == Party()
    assert trio.current_time() - began < 0.2


def noted(pbx: Pbx) -> CallerChannel:
    """Bob, in the place of Carol, who had come from the dialplan."""
    caller = Channel(CAROL, place=Destination("agentd-call", "7600", 4), arguments=("fallback=kept|s|1",))
    pbx.asterisk.enter(BOB)
    pbx.client._dispatch(StasisStart(caller, caller.arguments, 10.0))
    pbx.client._dispatch(StasisStart(Channel(BOB, BOBS_NAME), (), 20.0, caller))
    return CallerChannel(pbx.client, pbx.client.route(BOB), pbx.lines.transport())


async def test_the_way_back_is_noted_for_an_agentd_that_comes_after_this_one(pbx: Pbx) -> None:
    await noted(pbx).meet_successor()
    assert pbx.asterisk.variables[BOB] == {"AGENTD_FALLBACK": "kept,s,1", "AGENTD_WAY_BACK": "agentd-call,7600,5"}


@pytest.mark.parametrize("transfer", [None, Destination("from-internal", "200")])
async def test_a_way_back_that_was_gone_is_noted_no_longer(transfer: Destination | None, pbx: Pbx) -> None:
    """Who came back into a Stasis() without arguments would have been handed back by it after a crash."""
    channel = noted(pbx)
    await channel.meet_successor()
    assert await channel.leave("completed", transfer)
    assert pbx.asterisk.went_to == {BOB: "7600@agentd-call,5" if transfer is None else "200@from-internal"}
    assert pbx.asterisk.variables[BOB]["AGENTD_WAY_BACK"] == ""


async def test_a_successor_of_whose_way_back_nothing_could_be_noted_goes_back_all_the_same(pbx: Pbx) -> None:
    channel = noted(pbx)
    pbx.asterisk.rule("POST */variable", Answer.refusal(400, "no"), times=9)
    await channel.meet_successor()
    assert await channel.leave("completed")
    assert pbx.asterisk.went_to == {BOB: "7600@agentd-call,5"}


async def _in_a_second(pbx: Pbx) -> None:
    await trio.sleep(1.0)
    pbx.put_bob_through()


async def test_the_end_of_the_one_that_was_replaced_is_no_hang_up_and_its_keys_are_nobody_s(pbx: Pbx) -> None:
    pbx.put_bob_through()
    pbx.client._dispatch(DtmfReceived(Channel(ALICE), "1"))
    pbx.client._dispatch(DtmfReceived(Channel(BOB), "2"))
    pbx.client._dispatch(HangupRequested(Channel(BOB)))
    pbx.client._dispatch(StasisEnd(Channel(BOB), 30.0))
    told = [await pbx.channel.next_event() for _ in range(3)]
    assert told == [happens.CallerReplaced(BOBS_NAME), happens.DigitPressed("2"), happens.CallerHungUp()]


async def test_what_is_asked_of_asterisk_is_asked_of_the_other_one(pbx: Pbx) -> None:
    pbx.put_bob_through()
    await pbx.channel.answer()
    await pbx.channel.send_dtmf("5")
    assert await pbx.channel.leave("completed")
    assert pbx.asterisk.pressed == {BOB: "5"}
    assert pbx.asterisk.continued == [BOB]
    assert not pbx.asterisk.asked(f"*{ALICE}*")
