"""One life: a daemon, a caller to whom something happens, another caller who is to notice nothing, and ten minutes
after which every trace of the two must be gone."""

import math
import os
import random
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

import attrs
import trio
import trio.testing

from agentd.calls.fields import _fields
from agentd.chan_websocket.listener import PASSWORD as MEDIA_PASSWORD
from agentd.config.secrets import ARI_PASSWORD, Secret
from agentd.errors import first_of
from agentd.rtp import ports
from agentd.service.notify import Notifier
from agentd.service.supervisor import Supervisor
from agentd.testing._ari_server import PASSWORD
from agentd_providers.registry import PROVIDERS as REGISTRY
from tests.walk.agents import PROVIDERS, Script
from tests.walk.channels import Place, Sort
from tests.walk.daemon import Daemon, DaemonLog, predictable
from tests.walk.faults import HARMLESS, Course, Fault, How, Where
from tests.walk.faulty import MAIN, OTHER, SUCCESSOR, FaultyPbx, nameless
from tests.walk.kinds import Happening, Kind, Way
from tests.walk.network import Network
from tests.walk.phone import Caller
from tests.walk.scene import (
    AUDIOSOCKET_PORT,
    CLIENT,
    ORDER,
    PHRASES,
    QUESTION,
    RTP_PORTS,
    answers,
    configuration,
    others_answers,
)

HEADLESS_UUID = UUID(int=0x5AFE << 96 | 1)
SETTLED = 3.0
"""Seconds after which a daemon that has just come up is at rest."""
BESIDE = 0.5
"""Seconds that the other caller is there before."""
OTHER_STAYS = 4.5
"""Seconds from the caller's arrival until the other one hangs up."""
IDLE = 600.0
"""Seconds after which nothing may be left, from the caller's arrival on."""
AT_REST = 10.0
"""Seconds for which nothing has been at work before idle time is leapt over, and that pass after it."""
AFTER_STOP = 60.0
"""The same after the daemon's end."""
LOOK_EVERY = 5.0
"""Seconds between two looks whether it is at rest."""
LISTENED = 60.0
"""Seconds without a word from agentd after which a caller is not served."""
GAP = 0.0401
"""Seconds between two frames that the other caller does not notice."""


@attrs.frozen
class Outcome:
    """How a life ended. `main` is where the caller is; `wrong` says what should not be so."""

    name: str
    main: str
    wrong: tuple[str, ...] = ()
    course: Course | None = None
    errors: tuple[str, ...] = ()
    """What the daemon logged as an error."""

    def __str__(self) -> str:
        return "; ".join(self.wrong) or self.main

    @property
    def sorts(self) -> str:
        """The sorts of what is wrong."""
        return " ".join(sorted({it.partition(" ")[0] for it in self.wrong}))


@attrs.define(eq=False, repr=False)
class Life:
    """One life, judged after `idle` seconds. `log` is told every line of the daemon's log."""

    kind: Kind
    fault: Fault | None = None
    seed: int = 1
    idle: float = IDLE
    log: Callable[[str], None] | None = None
    branch: Callable[[Where, int], Fault | None] = attrs.field(default=lambda _where, _number: None)
    """Asked at each place: the fault with which this life goes on from there."""
    on_judged: Callable[[Outcome], None] = attrs.field(default=lambda _outcome: None)
    """Told how it ended, before what it was made of is removed."""
    _log: DaemonLog = attrs.field(init=False)
    _steps: "Steps" = attrs.field(init=False)
    media: Path = attrs.field(init=False)
    """The directory of audio files, while it is lived."""
    _script: Script = attrs.field(init=False)
    _others: Script = attrs.field(init=False)
    _pbx: FaultyPbx = attrs.field(init=False)
    _daemon: Daemon = attrs.field(init=False)
    _caller: Caller = attrs.field(init=False)
    _other: Caller = attrs.field(init=False)
    _clock: trio.testing.MockClock = attrs.field(init=False)
    _other_left_by_itself: bool = attrs.field(default=False, init=False)

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.fault or 'clean'}"

    def run(self) -> Outcome:
        """Live it, on virtual time, and judge it."""
        random.seed(self.seed)
        self._log, self._steps = DaemonLog(self.log), Steps(self)
        counts = self.fault is None or self.fault.where is Where.STEP  # it costs time
        self._clock = clock = trio.testing.MockClock(autojump_threshold=0)
        with (
            tempfile.TemporaryDirectory() as directory,
            self._log.kept(),
            predictable(self.seed),
            patch.dict(REGISTRY.built_in, PROVIDERS),
            patch.dict(os.environ, {MEDIA_PASSWORD: CLIENT.password}),
        ):
            self.media = Path(directory) / "media"
            self.media.mkdir()
            try:
                outcome = trio.run(self._live, clock=clock, instruments=[self._steps] if counts else [])
            except Exception as error:  # of the walk's own: whatever a daemon ends with it has kept to itself
                cause = first_of(error) if isinstance(error, ExceptionGroup) else error
                outcome = Outcome(self.name, "", (f"BROKEN {cause!r}",))
                if self.log is not None:
                    self.log("".join(traceback.format_exception(error)))
            self.on_judged(outcome)
            return outcome

    def strike(self, where: Where, number: int) -> How | None:
        """See tests.walk.faults.Strike."""
        if self.fault is None and (fault := self.branch(where, number)) is not None:
            self.fault = fault
            trio.lowlevel.remove_instrument(self._steps)  # there is nothing more to count
        fault = self.fault
        return fault.how if fault is not None and (fault.where, fault.number) == (where, number) else None

    # --- its course

    async def _live(self) -> Outcome:
        Network().enable()
        self._script = Script(PHRASES, answers(self.kind), self.strike)
        self._others = Script(PHRASES, others_answers())
        extensions = {"200@internal", "600@default"}
        self._pbx = FaultyPbx(
            strike=self.strike, extensions=extensions, fork_port=AUDIOSOCKET_PORT, websocket_client=CLIENT
        )
        with patch.object(ports, "_bound", self._pbx.datagrams.bind):
            return await self._lived()

    async def _lived(self) -> Outcome:
        async with trio.open_nursery() as nursery:
            self._pbx.nursery = nursery
            url = await nursery.start(self._pbx.serve)
            nursery.start_soon(self._pbx.send_events)
            config = configuration(self.kind, url, self.media, self._script, self._others)
            self._daemon = Daemon(Supervisor(config, Secret(ARI_PASSWORD, PASSWORD), lambda: config, Notifier()))
            with self._daemon.observed():
                nursery.start_soon(self._daemon.run)
                await trio.sleep(SETTLED)
            assert self._pbx.sockets, f"the daemon did not come up: {self._daemon.failure}"
            outcome = await self._calls(nursery)
            nursery.cancel_scope.cancel()
        return outcome

    async def _calls(self, nursery: trio.Nursery) -> Outcome:
        pbx, before = self._pbx, self._daemon.tasks()
        self._other = pbx.arrive(OTHER, "agent=other")
        nursery.start_soon(self._talk, self._other, (QUESTION,) * 20, False)
        await trio.sleep(BESIDE)
        pbx.armed = self._script.armed = self._steps.armed = True
        began = trio.current_time()
        if self.kind.way is Way.HEADLESS:
            self._caller = pbx.arrive_headless(MAIN, HEADLESS_UUID, "127.0.0.1", AUDIOSOCKET_PORT)
        else:
            self._caller = pbx.arrive(MAIN, "agent=main", f"media={self.kind.way}")
        nursery.start_soon(self._talk, self._caller, (ORDER,), not self.kind.agent_ends_it)
        await self._until(began + OTHER_STAYS)
        course = Course(tuple(pbx.request_names), tuple(pbx.event_names), dict(self._script.steps), self._steps.count)
        if not self._daemon.ended.is_set():
            self._other_left_by_itself = pbx.place_of(OTHER) is not Place.STASIS
            pbx.hang_up(OTHER)
        await self._pass_idle_time(before, began + self.idle)
        if self._daemon.ended.is_set():
            await trio.sleep(AFTER_STOP)
        return self._judge(before, course)

    async def _until(self, moment: float) -> None:
        """Wait; no longer than the daemon lives."""
        with trio.move_on_at(moment):
            await self._daemon.ended.wait()

    async def _pass_idle_time(self, before: Counter[str], end: float) -> None:
        """Wait until `end`. Once the daemon has been for a while as it was `before` the call, there is nothing in it
        but what it does on a clock, and the clock goes on by one leap, which makes all of that due at once."""
        rested_since = math.inf
        while not self._daemon.ended.is_set() and (now := trio.current_time()) < end:
            rested_since = min(rested_since, now) if self._at_rest(before) else math.inf
            if now - rested_since >= AT_REST and now < end - AT_REST:
                await trio.testing.wait_all_tasks_blocked()
                if self._at_rest(before):
                    self._log.deaf = True  # to a watchdog that nobody has fed in all that time
                    self._clock.jump(end - AT_REST - now)
                    await self._until(end - LOOK_EVERY)
                    self._log.deaf = False
                    await self._until(end)
                    return
            await self._until(min(now + LOOK_EVERY, end))

    def _at_rest(self, before: Counter[str]) -> bool:
        """Whether the caller is where they will stay, and nothing is under way."""
        main = self._place_of(self._caller)
        return (
            main in (Place.DIALPLAN, Place.GONE)
            and not self._pbx.at_work
            and not any(self._left(before, main))
            and self._daemon.tasks() == before
        )

    async def _talk(self, caller: Caller, phrases: tuple[int, ...], hangs_up: bool) -> None:
        await caller.be_answered()
        if caller.channel == MAIN and self.kind.happening is Happening.REPLACE:
            self._pbx.attended_transfer(MAIN, SUCCESSOR)
        for phrase in phrases:
            await caller.say(phrase)
            await caller.be_answered()
        if hangs_up:
            self._pbx.hang_up(caller.channel)

    def cut_short(self, how: How | None) -> None:
        """What happens at a step."""
        match how:
            case How.HANG_UP:
                self._pbx.hang_up(self._caller.channel)
            case How.STOP:
                signal.raise_signal(signal.SIGTERM)

    # --- what came of it

    def _judge(self, before: Counter[str], course: Course) -> Outcome:
        told_to_stop = self.fault is not None and self.fault.how is How.STOP
        ended, main = self._daemon.ended.is_set(), self._place_of(self._caller)
        wrong = ["STRANDED"] if main == "STRANDED" else []
        if self.fault is not None and self.fault.how in HARMLESS and main != self.undisturbed:
            wrong.append(f"UNHEARD the caller, who is {main}")
        if ended and (not told_to_stop or self._daemon.failure):
            wrong.append(f"DAEMON ENDED {self._daemon.failure}".strip())
        if told_to_stop and not ended and self._daemon.reception is not None and self._daemon.reception.stays.draining:
            wrong.append("DAEMON does not stop")
        wrong += sorted({f"LEFT {what}" for what in self._left(before, main)})
        wrong += [f"OTHER {what}" for what in self._disturbed(told_to_stop)]
        return Outcome(self.name, main, tuple(wrong), course, tuple(self._log.errors))

    @property
    def undisturbed(self) -> Place:
        """Where the caller is after a life without a fault."""
        return Place.DIALPLAN if self.kind.agent_ends_it else Place.GONE

    def _place_of(self, caller: Caller) -> str:
        place = self._pbx.place_of(caller.channel)
        if place is not Place.STASIS and not self._pbx.hears_agentd(caller.channel):
            return str(place)
        served = not self._daemon.ended.is_set() and trio.current_time() - caller.last_voice < LISTENED
        return "served" if served else "STRANDED"

    def _left(self, before: Counter[str], main: str) -> Iterator[str]:
        if main == "served":
            return
        for channel in self._pbx.pbx.values():
            if channel.sort is not Sort.CALLER:
                yield f"channel {nameless(channel.id)}"
            for file in channel.playing:
                yield f"playback {file.media.partition(':')[0]}"
        for bridge in self._pbx.rooms:
            yield f"bridge {nameless(bridge)}"
        for port in self._pbx.datagrams.bound:
            yield f"UDP port of {'agentd' if port in RTP_PORTS else 'Asterisk'}"
        if any(self.media.iterdir()):
            yield "audio file"
        if self._script.open_sessions or self._others.open_sessions:
            yield "session"
        if not self._daemon.ended.is_set():
            yield from self._daemon.left(before)

    def _disturbed(self, told_to_stop: bool) -> Iterator[str]:
        if self._place_of(self._other) == "STRANDED":
            yield "STRANDED"
        if told_to_stop:
            return  # there is no daemon any more that would serve them
        if self._other_left_by_itself:
            yield "not served any more"
        longest = max((after - before for before, after in pairwise(self._other.heard_at)), default=OTHER_STAYS)
        if longest > GAP:
            yield f"heard a gap of {longest:.2f} s"


@attrs.define(eq=False)
class Steps(trio.abc.Instrument):
    """Counts the steps of the call's tasks once it is `armed`, and strikes before one of them."""

    life: Life
    armed: bool = False
    count: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self.armed or not _is_of_call(task):
            return
        self.count += 1
        self.life.cut_short(self.life.strike(Where.STEP, self.count))


def _is_of_call(task: trio.lowlevel.Task) -> bool:
    fields = task.context.get(_fields)
    return fields is not None and fields.get("call_id") in (MAIN, SUCCESSOR, str(HEADLESS_UUID))
