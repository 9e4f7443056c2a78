"""A call's handle on its channel: media legs come up, and nothing of them is left however they end."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID, uuid4

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd import deadlines
from agentd.ari.channel import CallerChannel
from agentd.ari.client import AriClient
from agentd.ari.events import (
    Channel,
    ChannelDestroyed,
    ConnectedLine,
    DtmfReceived,
    HangupRequested,
    LeftBridge,
    PlaybackFinished,
    PlaybackStarted,
    StasisEnd,
    VarSet,
)
from agentd.ari.route import Route
from agentd.audiosocket.listener import Admission
from agentd.audiosocket.transport import EXTERNAL, FORK
from agentd.conversation import events as happens
from agentd.conversation.commands import Destination
from agentd.conversation.events import CallerEvent
from agentd.errors import AriError, AriRejected, AriUnavailable, MediaTimeout
from agentd.media.leg import LegKind, LineFormat, MediaConnection
from agentd.metrics import Metrics
from agentd.testing._ari_server import PASSWORD, USER, Answer, Request
from agentd.testing._asterisk import FakeAsterisk
from agentd.testing._lines import Lines

CALLER = "1700000000.1"
WAYS = (EXTERNAL, FORK)
LEGS = [(way, kind) for way in WAYS for kind in LegKind]
legs = pytest.mark.parametrize(("way", "kind"), LEGS, ids=[f"{way}-{kind}" for way, kind in LEGS])
STREAMING, LISTENING = LegKind.STREAMING, LegKind.LISTENING
BIND_TIMEOUT = 5.0


@attrs.define
class Pbx:
    """An Asterisk with one caller in the application, and agentd's handle on that caller."""

    asterisk: FakeAsterisk
    client: AriClient
    route: Route
    lines: Lines
    channel: CallerChannel
    told: list[CallerEvent] = attrs.field(factory=list)
    """What the channel told of the call."""

    def media_leg(self, way: str, kind: LegKind) -> AbstractAsyncContextManager[MediaConnection]:
        """A leg of the caller's over this way of AudioSocket."""
        self.channel.transport = self.lines.transport(way, bind_timeout=BIND_TIMEOUT)
        return self.channel.media_leg(kind)

    async def follow(self) -> None:
        while True:
            self.told.append(await self.channel.next_event())

    @property
    def far_half(self) -> str:
        """The Local channel's dialplan half, as the last originate named it."""
        return next(r.params["otherChannelId"] for r in reversed(self.asterisk.requests) if str(r) == "POST /channels")

    def announce(self, value: str, variable: str = "AUDIOSOCKET_UUID", channel: str = "") -> None:
        self.route.put(VarSet(Channel(channel or self.far_half), variable, value))

    def nothing_is_left(self) -> None:
        assert set(self.asterisk.channels) == {CALLER}
        assert not self.asterisk.bridges
        assert set(self.client.routes) == {CALLER}
        assert all(line.released for line in self.lines.all)
        assert not self.lines.admission._expected
        assert not self.lines.admission._unnamed


@pytest.fixture
def pbx(nursery: trio.Nursery) -> Pbx:
    metrics, asterisk, admission = Metrics(), FakeAsterisk(), Admission()
    asterisk.enter(CALLER)
    lines = Lines(admission, metrics)
    asterisk.on_media = lambda uuid, request: lines.connect(UUID(uuid))
    rest = asterisk.rest(metrics)
    client = AriClient("http://asterisk.test", USER, PASSWORD, "agentd", rest, metrics, lambda start: None)
    route = client.route(CALLER)
    transport = lines.transport(bind_timeout=BIND_TIMEOUT)
    pbx = Pbx(asterisk, client, route, lines, CallerChannel(client, route, transport))
    nursery.start_soon(pbx.follow)
    return pbx


def parts(requests: list[str]) -> list[str]:
    """Requests with the random part of our ids left out."""
    words = []
    for request in requests:
        method, _, path = request.partition(" ")
        words.append(
            " ".join(
                [
                    method,
                    *(
                        p.removeprefix("agentd-leg-").rstrip("0123456789abcdef").rstrip("-")
                        if p.startswith("agentd-leg-")
                        else p
                        for p in path.split("/")[1:]
                    ),
                ]
            )
        )
    return words


# --- the way up


async def test_a_listening_leg_is_made_in_the_order_that_loses_nothing(pbx: Pbx) -> None:
    async with pbx.media_leg(EXTERNAL, LISTENING) as connection:
        assert connection is pbx.lines.all[0].connection
        assert parts(pbx.asterisk.asked()) == [
            "POST bridges bridge",
            f"POST channels {CALLER} snoop snoop",
            "POST bridges bridge addChannel",
            "POST channels externalMedia",
            "POST bridges bridge addChannel",
        ]
        (members,) = pbx.asterisk.bridges.values()
        assert sorted(name.rpartition("-")[0] for name in members) == ["agentd-leg-media", "agentd-leg-snoop"]
        assert not connection.released.is_set()
        pbx.asterisk.requests.clear()
    assert parts(pbx.asterisk.asked()) == [
        "DELETE channels media",
        "DELETE channels snoop",
        "DELETE bridges bridge",
    ]
    pbx.nothing_is_left()


async def test_a_streaming_leg_takes_the_caller_into_its_bridge_last(pbx: Pbx) -> None:
    """Until the leg is there, the caller's line carries silence; a channel in a bridge needs none."""
    await pbx.channel.answer()
    assert pbx.asterisk.silent == {CALLER}
    pbx.asterisk.requests.clear()
    async with pbx.media_leg(EXTERNAL, STREAMING) as connection:
        assert connection is pbx.lines.all[0].connection
        assert parts(pbx.asterisk.asked()) == [
            "POST bridges bridge",
            "POST channels externalMedia",
            "POST bridges bridge addChannel",
            f"DELETE channels {CALLER} silence",
            "POST bridges bridge addChannel",
        ]
        (members,) = pbx.asterisk.bridges.values()
        assert {name.rpartition("-")[0] for name in members - {CALLER}} == {"agentd-leg-media"}
        assert CALLER in members
        assert not pbx.asterisk.silent
    pbx.nothing_is_left()


async def test_a_fork_runs_the_dialplan_with_the_uuid_as_its_extension(pbx: Pbx) -> None:
    async with pbx.media_leg(FORK, LISTENING):
        request = next(r for r in pbx.asterisk.requests if str(r) == "POST /channels")
        assert request.params["endpoint"] == f"Local/{pbx.lines.all[0].uuid.hex}@ai-agent-media-fork/n"
        assert request.params["formats"] == "slin"
        assert parts(pbx.asterisk.asked()) == [
            "POST bridges bridge",
            f"POST channels {CALLER} snoop snoop",
            "POST bridges bridge addChannel",
            "POST channels",
            "POST bridges bridge addChannel",
        ]
    pbx.nothing_is_left()


@pytest.mark.parametrize("kind", LegKind)
async def test_an_external_leg_carries_the_format_that_was_chosen(pbx: Pbx, kind: LegKind) -> None:
    for rate, audio_format in ((8000, "slin"), (16000, "slin16")):
        pbx.channel.line = LineFormat(rate)
        async with pbx.media_leg(EXTERNAL, kind) as connection:
            assert connection.line.rate == rate
            request = next(r for r in reversed(pbx.asterisk.requests) if str(r) == "POST /channels/externalMedia")
            assert request.params["format"] == audio_format


@pytest.mark.parametrize("way", WAYS)
async def test_while_a_leg_only_listens_the_caller_s_channel_stays_out_of_its_bridge(pbx: Pbx, way: str) -> None:
    """So that a file that is played to the caller does not reach the agent, who hears the caller meanwhile."""
    async with pbx.media_leg(way, LISTENING):
        assert all(CALLER not in members for members in pbx.asterisk.bridges.values())


@legs
async def test_a_leg_stands_for_as_long_as_its_channel_does(pbx: Pbx, way: str, kind: LegKind) -> None:
    async with pbx.media_leg(way, kind):
        assert await pbx.channel.leg_stands()
        (media,) = [channel for channel in pbx.asterisk.channels if "-media-" in channel]
        del pbx.asterisk.channels[media]
        assert not await pbx.channel.leg_stands()
    assert not await pbx.channel.leg_stands(), "there is none"


async def test_whether_a_leg_stands_is_not_told_by_an_asterisk_that_refuses(pbx: Pbx) -> None:
    async with pbx.media_leg(EXTERNAL, STREAMING):
        pbx.asterisk.rule("GET /channels/*", Answer.refusal(500, "no"))
        with pytest.raises(AriError):
            await pbx.channel.leg_stands()


@pytest.mark.parametrize("way", WAYS)
async def test_a_streaming_leg_has_no_snoop(pbx: Pbx, way: str) -> None:
    async with pbx.media_leg(way, STREAMING):
        assert not pbx.asterisk.asked("POST /channels/*/snoop/*")


async def test_between_streaming_legs_the_line_carries_silence(pbx: Pbx) -> None:
    async with pbx.media_leg(EXTERNAL, STREAMING):
        pass
    await pbx.channel.carry_silence()
    assert pbx.asterisk.silent == {CALLER}


@pytest.mark.parametrize("answer", [Answer.refusal(404, "gone"), Answer.refusal(500, "no"), Answer(drop=True)])
async def test_a_line_that_takes_no_silence_is_no_error(pbx: Pbx, answer: Answer) -> None:
    pbx.asterisk.rule("POST /channels/*/silence", answer)
    await pbx.channel.carry_silence()
    assert not pbx.asterisk.silent


@legs
async def test_each_leg_has_a_uuid_of_its_own(pbx: Pbx, way: str, kind: LegKind) -> None:
    for _ in range(3):
        async with pbx.media_leg(way, kind):
            pass
    assert len({line.uuid for line in pbx.lines.all}) == 3
    pbx.nothing_is_left()


@legs
@pytest.mark.parametrize("status", [400, 409, 422])
async def test_a_channel_that_is_still_on_its_way_is_added_a_moment_later(
    pbx: Pbx, way: str, kind: LegKind, status: int, autojump_clock: MockClock
) -> None:
    pbx.asterisk.rule("POST /bridges/*/addChannel", Answer.refusal(status, "Channel not in Stasis"), times=7)
    async with pbx.media_leg(way, kind):
        assert len(pbx.asterisk.asked("POST /bridges/*/addChannel")) == 9
    assert trio.current_time() < 1.0
    pbx.nothing_is_left()


async def test_a_channel_that_never_arrives_is_waited_for_no_longer_than_the_bind_timeout(
    pbx: Pbx, autojump_clock: MockClock
) -> None:
    pbx.asterisk.rule("POST /bridges/*/addChannel", Answer.refusal(422, "Channel not in Stasis"))
    with pytest.raises(MediaTimeout, match=r"no audio leg \(external\) within 5 s"):
        async with pbx.media_leg(EXTERNAL, LISTENING):
            pytest.fail("there is no leg")  # pragma: no cover
    assert trio.current_time() == pytest.approx(BIND_TIMEOUT, abs=0.01)
    assert len(pbx.asterisk.requests) < 60, "and not by asking without a pause"
    pbx.nothing_is_left()


@legs
async def test_a_connection_that_never_comes_ends_the_attempt_with_advice(
    pbx: Pbx, way: str, kind: LegKind, autojump_clock: MockClock
) -> None:
    pbx.asterisk.on_media = lambda uuid, request: None
    with pytest.raises(MediaTimeout, match=r"Asterisk connects to 127\.0\.0\.1:8090; `agentd doctor`"):
        async with pbx.media_leg(way, kind):
            pytest.fail("there is no leg")  # pragma: no cover
    assert trio.current_time() == pytest.approx(BIND_TIMEOUT)
    pbx.nothing_is_left()


@legs
async def test_a_connection_may_come_after_the_request_was_answered(
    pbx: Pbx, way: str, kind: LegKind, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:

        async def connect_later(uuid: str) -> None:
            await trio.sleep(1.0)
            pbx.lines.connect(UUID(uuid))

        pbx.asterisk.on_media = lambda uuid, request: nursery.start_soon(connect_later, uuid)
        async with pbx.media_leg(way, kind) as connection:
            assert connection is pbx.lines.all[0].connection
    pbx.nothing_is_left()


# --- a fork whose dialplan chooses the UUID


@attrs.define
class OwnUuid:
    """A dialplan that announces a UUID of its own, before or after its TCP connection comes."""

    pbx: Pbx
    uuid: UUID = attrs.field(factory=uuid4)

    async def connect(self) -> None:
        """As the listener does: offered, else parked until the call has read the VarSet."""
        line = self.pbx.lines.connect(self.uuid)
        if line in self.pbx.lines.all:
            return
        line.connection.released = trio.Event()
        self.pbx.lines.all.append(line)
        if not await self.pbx.lines.admission.park(self.uuid, line.connection, 2.0):
            line.connection.release()


@pytest.mark.parametrize("first", ["announcement", "connection"])
async def test_a_fork_may_announce_its_own_uuid_before_or_after_its_connection(
    pbx: Pbx, first: str, autojump_clock: MockClock
) -> None:
    dialplan = OwnUuid(pbx)

    async def run_dialplan() -> None:
        await trio.sleep(0.1)
        if first == "announcement":
            pbx.announce(f"{dialplan.uuid}")
            await trio.sleep(0.1)
            await dialplan.connect()
            return
        async with trio.open_nursery() as both:
            both.start_soon(dialplan.connect)
            await trio.sleep(0.1)
            pbx.announce(f"{str(dialplan.uuid).upper()} ")

    async with trio.open_nursery() as nursery:
        pbx.asterisk.on_media = lambda uuid, request: nursery.start_soon(run_dialplan)
        async with pbx.media_leg(FORK, LISTENING) as connection:
            assert connection is pbx.lines.all[0].connection
            assert not connection.released.is_set()
    assert trio.current_time() < 1.0
    pbx.nothing_is_left()


async def test_an_announcement_while_the_originate_is_still_being_answered_counts(
    pbx: Pbx, autojump_clock: MockClock
) -> None:
    dialplan = OwnUuid(pbx)
    async with trio.open_nursery() as nursery:

        def run_dialplan(_uuid: str, request: Request) -> None:
            pbx.announce(str(dialplan.uuid), channel=request.params["otherChannelId"])
            nursery.start_soon(dialplan.connect)

        pbx.asterisk.on_media = run_dialplan
        async with pbx.media_leg(FORK, LISTENING) as connection:
            assert connection is pbx.lines.all[0].connection
    pbx.nothing_is_left()


@pytest.mark.parametrize(
    "noise",
    [
        lambda pbx: pbx.announce("not-a-uuid"),
        lambda pbx: pbx.announce("0" * 32),
        lambda pbx: pbx.announce(str(uuid4()), variable="OTHER"),
        lambda pbx: pbx.announce(str(uuid4()), channel="somebody else"),
    ],
    ids=["malformed", "without hyphens", "another variable", "another channel"],
)
async def test_announcements_that_are_none_leave_the_extension_s_uuid_in_force(
    pbx: Pbx, noise: Callable[[Pbx], None], autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:

        async def run_dialplan(uuid: str) -> None:
            noise(pbx)
            await trio.sleep(0.5)
            pbx.lines.connect(UUID(uuid))

        pbx.asterisk.on_media = lambda uuid, request: nursery.start_soon(run_dialplan, uuid)
        async with pbx.media_leg(FORK, LISTENING) as connection:
            assert connection is pbx.lines.all[0].connection
    pbx.nothing_is_left()


# --- nothing is left


@legs
@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("moment", ["while it waits", "as it is answered"])
async def test_a_hang_up_at_any_request_removes_everything(
    pbx: Pbx, way: str, kind: LegKind, number: int, moment: str, autojump_clock: MockClock
) -> None:
    scope = trio.CancelScope()

    async def hang_up(_request: Request) -> None:
        if len(pbx.asterisk.requests) == number:
            scope.cancel()
            if moment == "while it waits":
                await trio.sleep(0.5)

    pbx.asterisk.rule("*", hang_up)
    with scope:
        async with pbx.media_leg(way, kind):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    pbx.nothing_is_left()


@pytest.mark.parametrize(
    ("way", "kind", "number"),
    [(*leg, number) for leg in LEGS for number in range(1, 6 if leg[1] is LISTENING else 5)],
)
@pytest.mark.parametrize(
    "answer", [Answer.refusal(404, "gone"), Answer.refusal(500, "no"), Answer(drop=True)], ids=["404", "500", "drop"]
)
async def test_a_failure_of_any_request_removes_everything(
    pbx: Pbx, way: str, kind: LegKind, number: int, answer: Answer
) -> None:
    async def fail(_request: Request) -> Answer | None:
        return answer if len(pbx.asterisk.asked("POST *")) == number else None

    pbx.asterisk.rule("POST *", fail)
    with pytest.raises(AriUnavailable if answer.drop else AriRejected):
        async with pbx.media_leg(way, kind):
            pytest.fail("there is no leg")  # pragma: no cover
    pbx.nothing_is_left()


@legs
async def test_a_request_that_was_carried_out_but_not_answered_leaves_nothing(
    pbx: Pbx, way: str, kind: LegKind
) -> None:
    async def obey_and_drop(request: Request) -> Answer:
        pbx.asterisk._obey(request)
        return Answer(drop=True)

    pbx.asterisk.rule("POST /channels*", obey_and_drop)
    with pytest.raises(AriUnavailable):
        async with pbx.media_leg(way, kind):
            pytest.fail("there is no leg")  # pragma: no cover
    pbx.nothing_is_left()


@legs
async def test_a_connection_that_comes_at_the_moment_of_the_hang_up_is_given_back(
    pbx: Pbx, way: str, kind: LegKind, autojump_clock: MockClock
) -> None:
    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:

        async def connect_and_hang_up(uuid: str) -> None:
            await trio.sleep(1.0)
            pbx.lines.connect(UUID(uuid))
            scope.cancel()

        pbx.asterisk.on_media = lambda uuid, request: nursery.start_soon(connect_and_hang_up, uuid)
        with scope:
            async with pbx.media_leg(way, kind):
                await trio.sleep_forever()
    pbx.nothing_is_left()


@legs
async def test_an_error_in_the_call_removes_the_leg_too(pbx: Pbx, way: str, kind: LegKind) -> None:
    with pytest.raises(ZeroDivisionError):
        async with pbx.media_leg(way, kind):
            raise ZeroDivisionError
    pbx.nothing_is_left()


@legs
@pytest.mark.parametrize("answer", [Answer.refusal(404, "gone"), Answer.refusal(409, "busy")])
async def test_a_leg_that_asterisk_has_removed_itself_is_no_error(
    pbx: Pbx, way: str, kind: LegKind, answer: Answer
) -> None:
    async with pbx.media_leg(way, kind):
        pbx.asterisk.requests.clear()
        pbx.asterisk.rule("DELETE *", answer)
    assert len(pbx.asterisk.asked("DELETE *")) == 3
    assert set(pbx.client.routes) == {CALLER}


async def test_a_part_that_cannot_be_removed_does_not_keep_the_others(pbx: Pbx) -> None:
    async with pbx.media_leg(EXTERNAL, LISTENING):
        pbx.asterisk.rule("DELETE /channels/agentd-leg-media-*", Answer.refusal(500, "no"))
    assert [name for name in pbx.asterisk.channels if "snoop" in name] == []
    assert not pbx.asterisk.bridges
    assert all(line.released for line in pbx.lines.all)


async def test_a_removal_that_asterisk_never_answers_is_bounded(pbx: Pbx, autojump_clock: MockClock) -> None:
    async with pbx.media_leg(EXTERNAL, LISTENING):
        pbx.asterisk.slow("DELETE *", 1000.0)
    assert trio.current_time() <= deadlines.TEARDOWN.seconds
    assert set(pbx.client.routes) == {CALLER}


# --- the channel itself


async def test_an_answered_channel_hears_silence_at_once(pbx: Pbx) -> None:
    await pbx.channel.answer()
    assert pbx.asterisk.asked() == [f"POST /channels/{CALLER}/answer", f"POST /channels/{CALLER}/silence"]


@pytest.mark.parametrize("event", [StasisEnd(Channel(CALLER)), ChannelDestroyed(Channel(CALLER), 16)])
async def test_a_caller_s_channel_that_ends_is_a_hang_up_unless_it_was_handed_over(
    pbx: Pbx, event: StasisEnd | ChannelDestroyed, autojump_clock: MockClock
) -> None:
    pbx.route.put(event)
    await wait_all_tasks_blocked()
    assert pbx.told == [happens.CallerHungUp()]
    await pbx.channel.leave("completed")
    pbx.route.put(event)
    await wait_all_tasks_blocked()
    assert pbx.told == [happens.CallerHungUp(), happens.Left()]


async def test_a_stay_that_ends_without_a_hang_up_was_ended_by_who_took_the_caller_elsewhere(
    pbx: Pbx, autojump_clock: MockClock
) -> None:
    """The Redirect of a manager, a Bridge() of the dialplan: the channel lives on."""
    pbx.asterisk.gone_on(CALLER)
    pbx.route.put(StasisEnd(Channel(CALLER), 20.0))
    await trio.sleep(1.0)
    assert pbx.told == [happens.CallerHungUp(taken=True)]


async def test_a_channel_whose_time_was_over_was_taken_nowhere(pbx: Pbx, autojump_clock: MockClock) -> None:
    """TIMEOUT(absolute): no hang-up is asked for, and it counted as `taken-away`."""
    pbx.route.put(StasisEnd(Channel(CALLER), 20.0))
    await trio.sleep(0.1)  # it is there for a moment yet
    pbx.asterisk.gone(CALLER)
    await trio.sleep(1.0)
    assert pbx.told == [happens.CallerHungUp()]


async def test_a_channel_that_runs_the_extension_of_those_who_were_hung_up_was_taken_nowhere(
    pbx: Pbx, autojump_clock: MockClock
) -> None:
    pbx.asterisk.gone_on(CALLER)
    pbx.asterisk.channels[CALLER]["dialplan"].update(context="from-internal", exten="h", priority=1)
    pbx.route.put(StasisEnd(Channel(CALLER), 20.0))
    await trio.sleep(1.0)
    assert pbx.told == [happens.CallerHungUp()]


@pytest.mark.parametrize("answer", [Answer(drop=True), Answer.refusal(503, "busy"), Answer.json([])])
async def test_who_left_and_cannot_be_asked_for_has_hung_up(
    answer: Answer, pbx: Pbx, autojump_clock: MockClock
) -> None:
    pbx.asterisk.rule(f"GET /channels/{CALLER}", answer)
    pbx.route.put(StasisEnd(Channel(CALLER), 20.0))
    await trio.sleep(1.0)
    assert pbx.told == [happens.CallerHungUp()]


async def test_a_stay_that_ends_after_a_hang_up_was_asked_for_is_a_hang_up(pbx: Pbx) -> None:
    pbx.route.put(HangupRequested(Channel(CALLER)))
    pbx.route.put(StasisEnd(Channel(CALLER), 20.0))
    await wait_all_tasks_blocked()
    assert pbx.told == [happens.CallerHungUp()]


async def test_another_party_behind_the_same_channel_is_told_by_the_leg_that_it_is_connected_with(pbx: Pbx) -> None:
    """A consultation by the PBX's own transfer (atxfer) comes over a Local channel, and stays: only who is behind it
    changes (measured on Asterisk 22.10.1)."""
    async with pbx.media_leg(EXTERNAL, STREAMING):
        leg = Channel(next(name for name in pbx.asterisk.channels if "-media-" in name))
        for number in ("", "4712", "4712"):
            pbx.route.put(ConnectedLine(leg, number))
        pbx.route.put(ConnectedLine(Channel(CALLER), "600"))
        await wait_all_tasks_blocked()
        assert pbx.told == [], "it is the caller's own number, once it is known"
        pbx.route.put(ConnectedLine(leg, "4711", "Ada"))
        await wait_all_tasks_blocked()
        assert pbx.told == [happens.CallerChanged()]


async def test_of_a_leg_s_own_channels_the_call_is_told_nothing(pbx: Pbx) -> None:
    async with pbx.media_leg(EXTERNAL, LISTENING):
        for name in pbx.asterisk.channels.keys() - {CALLER}:
            pbx.route.put(StasisEnd(Channel(name)))
            pbx.route.put(DtmfReceived(Channel(name), "1"))
        pbx.route.put(DtmfReceived(Channel(CALLER), "5"))
        await wait_all_tasks_blocked()
    assert pbx.told == [happens.DigitPressed("5")]


async def test_who_plays_files_hears_of_playbacks(pbx: Pbx) -> None:
    heard: list[PlaybackStarted | PlaybackFinished] = []
    pbx.channel.on_playback = heard.append
    events = [PlaybackStarted("p-1", Channel(CALLER)), PlaybackFinished("p-1", Channel(CALLER), "done")]
    for event in events:
        pbx.route.put(event)
    await wait_all_tasks_blocked()
    assert (heard, pbx.told) == (events, [])


async def test_where_events_were_lost_asterisk_is_asked_whether_the_caller_is_there(pbx: Pbx) -> None:
    await pbx.client.reconciler.look(ours=True)
    await wait_all_tasks_blocked()
    assert pbx.told == []
    pbx.asterisk.gone(CALLER)
    await pbx.client.reconciler.look(ours=True)
    await wait_all_tasks_blocked()
    assert pbx.told == [happens.CallerHungUp()]


async def test_a_channel_leaves_with_its_result_or_not_at_all(pbx: Pbx) -> None:
    assert await pbx.channel.leave("completed")
    assert pbx.asterisk.variables == {CALLER: {"AGENTD_RESULT": "completed"}}
    pbx.asterisk.gone(CALLER)
    assert not await pbx.channel.leave("completed")


async def test_a_channel_leaves_for_where_it_was_transferred_to(pbx: Pbx) -> None:
    assert await pbx.channel.leave("transferred", Destination("from-internal", "200"))
    assert pbx.asterisk.variables == {CALLER: {"AGENTD_RESULT": "transferred"}}
    assert pbx.asterisk.went_to == {CALLER: "200@from-internal"}


@pytest.mark.parametrize("kind", LegKind)
async def test_nothing_is_asked_about_a_channel_that_has_left(kind: LegKind, pbx: Pbx) -> None:
    async with pbx.media_leg(EXTERNAL, kind):
        await pbx.channel.leave("transferred", Destination("from-internal", "200"))
        before = len(pbx.asterisk.requests)
        await pbx.channel.carry_silence()
    assert not [request for request in pbx.asterisk.requests[before:] if CALLER in str(request)]
    assert set(pbx.asterisk.channels) == {CALLER}


async def test_the_dialplan_is_asked_by_a_function_of_its_own(pbx: Pbx) -> None:
    pbx.asterisk.dialplan.add("200@from-internal")
    assert await pbx.channel.dialplan_has("from-internal", "200")
    assert not await pbx.channel.dialplan_has("from-internal", "201")
    assert pbx.asterisk.requests[0].params == {"variable": "DIALPLAN_EXISTS(from-internal,200,1)"}


async def test_keys_are_pressed_towards_the_caller(pbx: Pbx) -> None:
    await pbx.channel.send_dtmf("12w#")
    assert pbx.asterisk.pressed == {CALLER: "12w#"}
    pbx.asterisk.gone(CALLER)
    with pytest.raises(AriRejected):
        await pbx.channel.send_dtmf("1")


# --- a codec that Asterisk cannot convert


def formats(pbx: Pbx, native: str, read: str, written: str) -> None:
    """What CHANNEL() tells of the caller."""
    pbx.asterisk.native_format = native
    told = {"CHANNEL(audioreadformat)": read, "CHANNEL(audiowriteformat)": written}
    pbx.asterisk.variables.setdefault(CALLER, {}).update(told)


async def test_a_caller_who_is_out_of_the_leg_s_bridge_is_told_and_of_no_other(pbx: Pbx) -> None:
    async with pbx.media_leg(EXTERNAL, STREAMING):
        (bridge,) = pbx.asterisk.bridges
        pbx.route.put(LeftBridge(Channel(CALLER), "a bridge of somebody else's"))
        pbx.route.put(LeftBridge(Channel("another"), bridge))
        pbx.route.put(LeftBridge(Channel(CALLER), bridge))
        await wait_all_tasks_blocked()
        assert pbx.told == [happens.CallerUnbridged()]
    pbx.route.put(LeftBridge(Channel(CALLER), bridge))
    await wait_all_tasks_blocked()
    assert pbx.told == [happens.CallerUnbridged()], "the leg is gone: we have ended it ourselves"


async def test_a_codec_is_stuck_where_not_even_silence_can_be_played(pbx: Pbx, autojump_clock: MockClock) -> None:
    formats(pbx, "(g729)", "g729", "g729")
    for _ in range(3):
        assert await pbx.channel.unconverted() == "g729"
    assert pbx.asterisk.asked().count(f"POST /channels/{CALLER}/silence") == 1, "asked once"
    assert pbx.client.metrics.registry.get_sample_value("agentd_codecs_unconverted_total") == 1


async def test_a_channel_in_its_own_codec_to_which_nothing_was_played_yet_is_not_stuck(
    pbx: Pbx, autojump_clock: MockClock
) -> None:
    formats(pbx, "(ulaw)", "ulaw", "ulaw")

    async def converted(_request: Request) -> None:
        formats(pbx, "(ulaw)", "ulaw", "slin")

    pbx.asterisk.rule("POST /channels/*/silence", converted)
    assert await pbx.channel.unconverted() == ""


async def test_a_channel_that_has_left_is_not_stuck(pbx: Pbx) -> None:
    del pbx.asterisk.channels[CALLER]
    assert await pbx.channel.unconverted() == ""
