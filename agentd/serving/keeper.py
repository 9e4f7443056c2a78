"""Keeps a call served: opens a session with the first agent that can, watches it, and puts another one in its place
when it fails, with the conversation so far. Hang-up cancels it, and with it every session.

Each session lives in a task of its own, so that one that does not even close delays nobody. agentd.serving.failover
decides what is to be done in a failure, agentd.serving.muteness whether a session has fallen mute, and
agentd.serving.renewal when one that works is to have a successor.
"""

import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

import attrs
import structlog
import trio

from agentd import deadlines
from agentd import session_events as tells
from agentd.agent import AgentSession, CallInfo, UtteranceEnd
from agentd.conversation import events as happens
from agentd.errors import CallRejected, ProviderError, ProviderRejected
from agentd.history import History
from agentd.metrics import Metrics
from agentd.playout import PlayoutBuffer
from agentd.serving.caller_audio import LEAD_SECONDS, CallerAudio
from agentd.serving.caller_feed import CallerFeed
from agentd.serving.candidates import Candidate, promising
from agentd.serving.failover import RECONNECT_WITHIN, FailoverTimes, Loss, Lost, Standing, Takeover, plan, successors
from agentd.serving.own_words import OwnWords
from agentd.serving.renewal import renew
from agentd.serving.resumption import Resumption
from agentd.serving.tenure import LOOK_EVERY, Begun, Tenure, hold
from agentd.session_events import SessionEvent
from agentd.tools.offered import declarations

log = structlog.get_logger("agentd.call")

LAST_RESORT_WITHIN = deadlines.SESSION_LAST_RESORT.seconds
MOST_FRUITLESS = 2
"""Sessions of one agent in a row that may fail without an answer that was complete."""
HOLD_MESSAGE_WITHIN = deadlines.HOLD_MESSAGE.seconds
UNREAD_GRACE = 0.05
"""Seconds for the events of a session that is closed already."""
RESUME_WITHIN = deadlines.RESUME.seconds
GLANCE_EVERY = 0.2
"""Seconds between two looks at a session that nothing is expected of: most of a call, and there are many calls."""
PATIENCE_EVERY = 8.0
"""Seconds between two hold messages to a caller whose agent is being loaded: far fewer than make dead air."""


class CallView(Protocol):
    """The call as its keeper sees it."""

    @property
    def answer_due(self) -> bool:
        """The caller waits for an answer, and no tool is at work on it."""
        ...

    @property
    def closing(self) -> bool:
        """The call is ending: nothing is waited for any more but the last words."""
        ...

    @property
    def on_hold(self) -> bool:
        """The caller has put the call on hold."""
        ...

    @property
    def caller_speaks(self) -> bool: ...

    @property
    def at_rest(self) -> bool:
        """Nobody speaks, and nothing is on its way."""
        ...


@attrs.define(eq=False)
class SessionKeeper:
    """One call's. `deliver` gets every event of the sessions that the call has an interest in, and may wait; `tell`
    what happens to the call, and must not."""

    info: CallInfo
    """What sessions are opened with from now on; see `renew`."""
    history: History
    playout: PlayoutBuffer
    candidates: Sequence[Candidate]
    times: FailoverTimes
    metrics: Metrics
    call: CallView
    deliver: Callable[[SessionEvent], Awaitable[None]]
    tell: Callable[[object], None]
    on_change: Callable[[AgentSession | None, Candidate | None], None]
    """Told who serves the call from now on; None: nobody."""
    off_record: Callable[[int], None]
    """Told the number of an utterance that is no part of the conversation: a hold message."""
    resumption: Resumption | None = None
    """The call was begun by another agentd; its `candidates` are known later."""
    session: AgentSession | None = attrs.field(default=None, init=False)
    candidate: Candidate | None = attrs.field(default=None, init=False)
    _caller: CallerFeed = attrs.field(init=False)
    _own_words: OwnWords = attrs.field(init=False)
    _reconnects: int = attrs.field(default=0, init=False)
    _fruitless: dict[str, int] = attrs.field(factory=dict, init=False)
    _nursery: trio.Nursery = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._caller = CallerFeed(CallerAudio(self.info.rate))
        self._own_words = OwnWords(self.playout, self.deliver, self.off_record)

    @property
    def caller_heard_at(self) -> float:
        """When agentd's own ear heard the caller speak last; -math.inf: never yet."""
        return self._caller.audio.heard_at

    def feed(self, pcm: bytes, at: float) -> None:
        """Take caller audio; what finds no session is kept for the next one. Never blocks."""
        self._caller.feed(pcm, at)

    async def run(self) -> None:
        """Serve until the agent ends the call, or nobody is left to serve it: both are told."""
        async with trio.open_nursery() as self._nursery:
            tenure = await (self._first() if self.resumption is None else self._go_on(self.resumption))
            while tenure is not None:
                tenure = await self._serve(tenure)
            self._seat(None)
            self._nursery.cancel_scope.cancel()

    async def say(self, text: str) -> None:
        """Have words said that are no answer; see OwnWords."""
        await self._own_words.say(text)

    def renew(self) -> None:
        """The call's caller is another one now: whatever session was opened for the one before is renewed."""
        serving = self._own_words.serving
        if serving is not None and serving.info != self.info:
            serving.renewal_due.set()

    # --- one session

    async def _first(self) -> Tenure | None:
        """Seat a session with the first candidate that opens one; where none does, that is told."""
        if (tenure := await self._first_open()) is not None:
            self._seat(tenure)
        return tenure

    async def _go_on(self, resumption: Resumption) -> Tenure | None:
        """The same for a call that another agentd has begun. Until there is a session the caller is spoken to now and
        then: with words that were spoken beforehand, for nobody else could yet."""
        began, decided = trio.current_time(), trio.Event()
        self._nursery.start_soon(self._have_patience, resumption, decided)
        self.candidates = await resumption.muster()
        tenure = await self._first_open()
        decided.set()
        if tenure is None:
            return None
        spoke_from = self._caller.audio.spoke_from
        replay_from = (trio.current_time() if spoke_from is None else spoke_from) - LEAD_SECONDS
        owed = resumption.owed and spoke_from is None  # who has spoken since is answered
        self._take_over(tenure, Takeover(max(replay_from, began), resume=owed), ())
        log.info("a session goes on", agent=tenure.candidate.name, after_ms=round(1000 * (trio.current_time() - began)))
        if resumption.back and resumption.back not in resumption.beforehand:
            self._nursery.start_soon(self.say, resumption.back)
        if resumption.repeat and not owed:
            self._nursery.start_soon(self.say, resumption.repeat)
        return tenure

    async def _have_patience(self, resumption: Resumption, decided: trio.Event) -> None:
        await self._own_words.speak_beforehand(resumption.back, resumption.beforehand)
        while not decided.is_set():
            with trio.move_on_after(PATIENCE_EVERY):
                await decided.wait()
            if not decided.is_set() and not self.call.on_hold:
                await self._own_words.speak_beforehand(self.times.hold_message, resumption.beforehand)

    async def _first_open(self) -> Tenure | None:
        """A session with the first candidate that opens one; where none does, that is told."""
        reason = "there is no agent that could be opened"
        for asked, candidate in enumerate(promising(self.candidates, trio.current_time()), start=1):
            last = asked == len(self.candidates)
            try:
                tenure = await self._open(candidate, LAST_RESORT_WITHIN if last else self.times.open_within)
            except ProviderError as error:
                reason = str(error)
            else:
                if candidate is not self.candidates[0]:
                    self.metrics.failovers.labels(agent=self.candidates[0].name, cause="start").inc()
                    log.warning("another agent takes the call", agent=self.candidates[0].name, by=candidate.name)
                return tenure
        self.tell(happens.AgentFailed(reason))
        return None

    async def _open(self, candidate: Candidate, within: float) -> Tenure:
        """Open a session. Raises ProviderError, which the breaker is told and the log has."""
        try:
            tenure: Tenure = await self._nursery.start(
                partial(hold, candidate, self.info, within, self.times.mute_after, self._open_session)
            )
        except ProviderError as error:
            if not isinstance(error, CallRejected):
                candidate.breaker.failed(trio.current_time(), str(error), rejected=isinstance(error, ProviderRejected))
            log.warning("no session with the agent", agent=candidate.name, error=str(error))
            raise
        return tenure

    def _open_session(self, candidate: Candidate, info: CallInfo) -> AbstractAsyncContextManager[AgentSession]:
        return candidate.agent.open(info, self.history, self.playout, declarations(candidate.tools))

    def _seat(self, tenure: Tenure | None, replay_from: float | None = None) -> None:
        self._own_words.serving = tenure
        self.session = None if tenure is None else tenure.session
        self._caller.to(self.session, replay_from)
        self.candidate = None if tenure is None else tenure.candidate
        self.renew()
        self.on_change(self.session, self.candidate)

    async def _serve(self, tenure: Tenure) -> Tenure | None:
        """Serve with this session until it is over; gives the one that goes on, None where the call is to end."""
        ends: list[tells.Ended | Lost] = []
        async with trio.open_nursery() as nursery:

            async def until(work: Callable[[Tenure], Awaitable[tells.Ended | Lost | None]]) -> None:
                if (end := await work(tenure)) is not None:
                    ends.append(end)
                nursery.cancel_scope.cancel()

            for work in (self._pump, self._watch, self._until_closed, self._renew):
                nursery.start_soon(until, work)
        if not ends:
            return self._renewed(tenure)
        if tenure.renewal is not None:  # both at one moment
            tenure.renewal.scope.cancel()
        tenure.scope.cancel()
        if self.call.closing:
            await self._end_utterances(tenure)
            return None
        match ends[0]:
            case tells.Ended("") as ended:
                await self.deliver(ended)
                return None
            case tells.Ended(failure, of_this_call):
                return await self._replace(tenure, Lost(Loss.ENDED, failure, of_this_call))
            case Lost() as lost:
                return await self._replace(tenure, lost)

    async def _pump(self, tenure: Tenure) -> tells.Ended | Lost | None:
        """Hand the session's events on, and follow what it does; gives its end."""
        async for event in tenure.session.events:
            match event:
                case tells.Alive():
                    tenure.muteness.alive(trio.current_time())
                    continue
                case tells.RenewalDue(seconds):
                    tenure.lasts = seconds
                    tenure.renewal_due.set()
                    continue
                case tells.Ended():
                    return event
                case tells.AnswerFailed(reason, of_this_call):
                    if len(self.candidates) > 1:
                        return Lost(Loss.UNANSWERED, reason, of_this_call)
                    log.warning("an answer failed", agent=tenure.candidate.name, error=reason)
                    tenure.owes = False
                    event = tells.NothingToSay(reason)
                    self._nursery.start_soon(self._own_words.apologise, self.times.apology)
                case tells.UtteranceStarted(utterance, aside):
                    tenure.begun[utterance] = Begun(aside, self.playout.generation)
                    tenure.owes = tenure.owes and aside
                case tells.UtteranceEnded(utterance):
                    begun = tenure.begun.pop(utterance, None)
                    if begun is not None and not begun.aside and not tenure.fruitful:
                        tenure.fruitful = True
                        tenure.candidate.breaker.succeeded()
                case tells.NothingToSay() | tells.CallerTakesTurn() | tells.CallerSpeechEnded():
                    tenure.owes = False
                case tells.CallerSpeechStarted(at):
                    tenure.onset = at
                    tenure.words_before = self.history.caller_characters
            tenure.muteness.progress(trio.current_time())
            await self.deliver(event)
        if tenure.failure is not None:
            return tells.Ended(str(tenure.failure))
        return tells.Ended("the session ended without saying why")

    async def _until_closed(self, tenure: Tenure) -> tells.Ended | Lost | None:
        await tenure.closed.wait()
        await trio.sleep(UNREAD_GRACE)
        return tells.Ended(str(tenure.failure or "the session ended without saying why"))

    async def _watch(self, tenure: Tenure) -> tells.Ended | Lost | None:
        """Probe the provider when there is reason to; comes back when the session has fallen mute."""
        probed_at = 0.0
        while True:
            now, muteness = trio.current_time(), tenure.muteness
            muteness.progress(self.playout.fed_at)
            dry = self.playout.empty and bool(tenure.unfinished(self.playout.generation))
            owes = dry or (tenure.owes and tenure.resumed)
            its_turn = (owes and not self.call.closing) or self.call.answer_due
            muteness.observe(now, its_turn=its_turn, caller_spoke_until=self._caller.audio.spoke_until)
            if now >= muteness.mute_at:
                return Lost(Loss.MUTE, "no sign of life from its provider")
            if now >= muteness.probe_at > probed_at:
                probed_at = now
                tenure.session.probe()
            suspected = muteness.mute_at < math.inf
            await trio.sleep_until(min(now + LOOK_EVERY, muteness.mute_at) if suspected else now + GLANCE_EVERY)

    # --- another session in its place

    async def _replace(self, tenure: Tenure, lost: Lost) -> Tenure | None:
        """Find who goes on, while the caller hears the hold message; where nobody does, that is told."""
        failed, now, loss, reason = tenure.candidate, trio.current_time(), lost.loss, lost.reason
        standing = self._standing(tenure, now)
        takeover = plan(standing, LEAD_SECONDS)
        rejected = isinstance(tenure.failure, ProviderRejected)
        if not (lost.of_this_call or isinstance(tenure.failure, CallRejected)):
            failed.breaker.failed(now, reason, rejected=rejected)
        self.metrics.failovers.labels(agent=failed.name, cause=str(loss)).inc()
        log.warning(
            "the agent's session is lost",
            agent=failed.name,
            error=reason,
            mute=loss is Loss.MUTE,
            resume=takeover.resume,
        )
        self._seat(None)
        unfinished = await self._end_utterances(tenure)
        self._count_fruitless(tenure)
        order = [
            candidate
            for candidate in successors(self.candidates, failed, loss, rejected=rejected, reconnects=self._reconnects)
            if self._fruitless.get(candidate.name, 0) < MOST_FRUITLESS
        ]
        held = trio.Event()
        if takeover.hold and order and not self.call.on_hold:
            self._nursery.start_soon(self._own_words.hold, self.times.hold_message, order, held)
        else:
            held.set()
        for asked, candidate in enumerate(promising(order, now), start=1):
            last = asked == len(order)
            within = RECONNECT_WITHIN if candidate is failed else self.times.open_within
            try:
                fresh = await self._open(candidate, LAST_RESORT_WITHIN if last else within)
            except ProviderError as error:
                reason = str(error)
                continue
            self._reconnects += candidate is failed
            with trio.move_on_after(HOLD_MESSAGE_WITHIN):  # whoever speaks at once would speak into the hold message
                await held.wait()
            self._take_over(fresh, takeover, unfinished)
            log.warning(
                "a fresh session goes on", by=candidate.name, after_ms=round(1000 * (trio.current_time() - now))
            )
            if takeover.repeat and (words := self._own_words.last):
                self._nursery.start_soon(self.say, words)
            return fresh
        await self.deliver(tells.Ended(reason))
        return None

    async def _end_utterances(self, tenure: Tenure) -> Collection[int]:
        """End what the session has left unfinished, whose playback need not wait for more."""
        unfinished = tenure.unfinished(self.playout.generation)
        for utterance in unfinished:
            await self.playout.put(UtteranceEnd(self.playout.generation, utterance, cut=True))
        return unfinished

    async def _resume(self, tenure: Tenure, cut: Collection[int]) -> None:
        """Have the session go on, once the history has what was heard of the utterances that were cut short; or nothing
        is heard any more, where their words never came."""
        with trio.move_on_after(RESUME_WITHIN):
            while self._unheard(cut) and not self.call.at_rest:  # noqa: ASYNC110 - a look every tenth of a second
                await trio.sleep(LOOK_EVERY)
        if self.session is tenure.session and tenure.owes:
            tenure.resumed = True
            tenure.session.resume()

    def _unheard(self, utterances: Collection[int]) -> bool:
        known = {turn.utterance: turn.text for turn in self.history.turns}
        return any(not known[number] if number in known else not self.playout.empty for number in utterances)

    def _count_fruitless(self, tenure: Tenure) -> None:
        """An agent whose sessions fail one after the other without a single answer is asked no more in this call."""
        if tenure.fruitful:
            self._fruitless.clear()
        else:
            name = tenure.candidate.name
            self._fruitless[name] = self._fruitless.get(name, 0) + 1

    def _standing(self, tenure: Tenure, now: float) -> Standing:
        spoke_from = self._caller.audio.spoke_from
        unfinished = [begun.aside for begun in tenure.unfinished(self.playout.generation).values()]
        unheard = spoke_from if spoke_from is not None and not tenure.muteness.noticed(spoke_from) else None
        return Standing(
            at=now,
            owed=self.history.owed or (self.call.answer_due and self.history.caller_characters > tenure.words_before),
            answer_due=self.call.answer_due,
            cut_answer=tenure.owes or False in unfinished,
            cut_aside=True in unfinished or self._own_words.asked is tenure,
            caller_speaks=self.call.caller_speaks,
            onset=tenure.onset,
            unheard_from=unheard if tenure.session.capabilities.takes_turns else None,
        )

    def _take_over(self, tenure: Tenure, takeover: Takeover, cut: Collection[int]) -> None:
        """Seat a fresh session as planned; `cut` are the utterances that its predecessor left incomplete."""
        self.tell(happens.AgentReplaced())
        self._seat(tenure, takeover.replay_from)
        self._nursery.start_soon(self._caller.replay)
        if takeover.resume:
            tenure.owes = True
            self._nursery.start_soon(self._resume, tenure, cut)

    # --- renewal

    async def _renew(self, tenure: Tenure) -> None:
        tenure.renewal = await renew(
            tenure,
            at_rest=lambda: self.call.at_rest,
            of_another_caller=lambda: tenure.info != self.info,
            open_next=partial(self._open, tenure.candidate, self.times.open_within),
        )

    def _renewed(self, tenure: Tenure) -> Tenure:
        """The fresh session goes on; the old one is put away. The next session hears again what the caller has begun to
        say meanwhile."""
        fresh, now = tenure.renewal, trio.current_time()
        assert fresh is not None
        takeover = plan(self._standing(tenure, now), LEAD_SECONDS)
        takeover = attrs.evolve(takeover, replay_from=min(takeover.replay_from, now - LEAD_SECONDS))
        self._take_over(fresh, takeover, tenure.unfinished(self.playout.generation))
        log.info("session renewed", agent=fresh.candidate.name)
        tenure.scope.cancel()
        return fresh
