"""The contract of agents, whoever provides them: one specification, run for each of them in a real call.

Of the call everything is real but the PBX, which is in memory; of the agent everything but its vendor. A party is
passed over only for what it cannot do.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import attrs
import pytest
import trio

from agentd import session_events as tells
from agentd.agent import AgentSession, CallInfo
from agentd.conversation.commands import Result
from agentd.errors import ProviderError, ProviderRejected, ProviderUnavailable
from agentd.history import History, Speaker, ToolUse
from agentd.history import Turn as HistoryTurn
from agentd.playout import PlayoutBuffer
from agentd.session_events import SessionEvent
from agentd.testing._ari_server import Answer
from agentd.testing._contract import Contract, hides_keys, needs
from agentd.testing._unruly import UnrulyCall, in_order
from agentd.testing.agents import Able, AgentParty, Turn
from agentd.testing.clock import PATIENCE, until
from agentd.testing.faults import Fault
from agentd.testing.sound import RATE
from agentd.testing.telephone import (
    UNDERSTUDY,
    WHOSE,
    Telephone,
    configuration,
    connect,
    leave_nothing,
    opened,
    talking,
)

GREETING = "Hello, this is the shop."
# The callers' words have no sound at which a voice would pause: each of these is heard in one piece.
ASK = Turn("Where are you now?", "In the shop.")
ASK_AGAIN = Turn("When are you in?", "All day long.")
STORY = Turn("Will you read me one?", "Once upon a time there was a telephone that nobody answered.")
STOP = Turn("Now read me a new one.", "As you like.")
DIAL = Turn("Will you dial nine?", "I have dialled it.", [("send_dtmf", {"digits": "9"})])
GOODBYE = Turn("We are done now.", "Goodbye, and have a nice day.", [("hang_up", {})])
SILENT_WITHIN = 0.3
"""Seconds of sound that are heard at most after the decision that the caller interrupts."""
OPENED_WITHIN = 3.0
"""Seconds within which a session is open or an error, on however busy a host."""
SLACK = 0.15
"""Seconds of sound that a fade, a level or a frame may hide."""
ENDS = [
    *(1, 2, 3, 5, 8, 12, 17, 23, 30, 40, 50, 65, 80, 100, 130, 160, 190, 230, 270, 310),
    *(350, 400, 450, 520, 600, 690, 800, 950, 1150),
]
"""Steps at which a call ends: closest together where it is being opened. Of some parties, or on a busy host, where
steps are fewer and longer, the story is over before."""


ORDERS, STEPS = 6, 25
"""How many sessions are asked how many things each in an order by chance."""


def moment(logs: list[Any], event: str, **fields: object) -> float:
    """When something was logged last."""
    return max(float(entry["at"]) for entry in logs if entry["event"] == event and fields.items() <= entry.items())


async def ask(party: AgentParty, telephone: Telephone, turn: Turn) -> None:
    """The caller says something, and hears the answer to its end."""
    answers = len(telephone.said_by(Speaker.AGENT))
    party.expect(turn)
    telephone.say(await party.speech(turn))
    await until(lambda: len(telephone.said_by(Speaker.AGENT)) > answers)


async def refused(party: AgentParty, fault: Fault, expected: type[ProviderError]) -> None:
    """Open a session with a vendor that has this fault."""
    async with opened(configuration(party)) as agent:
        party.strike(fault)
        with trio.fail_after(OPENED_WITHIN), pytest.raises(expected) as raised:
            async with agent.open(CallInfo("1.1", rate=RATE), History(), PlayoutBuffer()):
                raise AssertionError("there is no session")
    hides_keys(party, str(raised.value))
    await until(lambda: fault is Fault.MUTE or not party.at_work())


async def follow(session: AgentSession, events: list[SessionEvent], last: type) -> None:
    """Take note of what a session tells, up to an event of a kind."""
    with trio.fail_after(PATIENCE):
        async for event in session.events:
            events.append(event)
            if isinstance(event, last):
                return


@attrs.define(eq=False)
class AtSteps(trio.abc.Instrument):
    """Ends each call before a step of its own: the caller hangs up in one call, the next one is cancelled."""

    steps: Mapping[Telephone, int]
    taken: dict[Telephone, int] = attrs.field(factory=dict)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        whose = task.context.get(WHOSE)
        if not isinstance(whose, Telephone):
            return
        taken = self.taken[whose] = self.taken.get(whose, 0) + 1
        if taken != self.steps[whose]:
            return
        if list(self.steps).index(whose) % 2:
            whose.scope.cancel()
        else:
            whose.hang_up()


class AgentContract(Contract):
    """Make a class of it in your tests, named Test..., with one fixture, `agent`, that gives the party."""

    @pytest.fixture
    def declared(self, agent: AgentParty) -> AgentParty:
        """As the fixture `agent` made it."""
        return agent

    # --- a call

    async def test_it_greets(self, party: AgentParty) -> None:
        async with talking(party, greeting=GREETING) as telephone:
            await until(lambda: telephone.turns)
            assert telephone.heard() > 0.5
            assert telephone.turns == [(Speaker.AGENT, GREETING)]

    async def test_it_hears_and_answers(self, party: AgentParty, logs: list[Any]) -> None:
        async with talking(party) as telephone:
            began = trio.current_time()
            await ask(party, telephone, ASK)
            await ask(party, telephone, ASK_AGAIN)
            if Able.SCRIPTED in party.abilities:
                assert telephone.said_by(Speaker.CALLER) == [ASK.heard, ASK_AGAIN.heard]
                assert telephone.said_by(Speaker.AGENT) == [ASK.says, ASK_AGAIN.says]
                assert telephone.heard(began) > party.seconds(ASK.says + ASK_AGAIN.says) - SLACK
            assert [speaker for speaker, _ in telephone.turns] == [Speaker.CALLER, Speaker.AGENT] * 2
            assert telephone.heard(began) > 0.5
        answers = [entry for entry in logs if entry["event"] == "answer"]
        assert len(answers) == 2
        assert min(answer["response_ms"] for answer in answers) >= 0

    @needs(Able.TALKS_ON)
    async def test_it_falls_silent_for_a_caller_who_interrupts_and_remembers_what_was_heard(
        self, party: AgentParty, logs: list[Any]
    ) -> None:
        async with talking(party) as telephone:
            party.expect(STORY)
            party.expect(STOP)
            telephone.say(await party.speech(STORY))
            await until(lambda: telephone.heard() > 0.5)
            telephone.say(await party.speech(STOP))
            await until(lambda: len(telephone.said_by(Speaker.AGENT)) == 2)
            decided = moment(logs, "state", region="agent", cause="CallerTakesTurn")
            answered = moment(logs, "answer")
            assert decided < answered
            assert telephone.heard(decided, answered) < SILENT_WITHIN
            assert telephone.heard(answered - 0.1, answered) == 0.0
            (story,) = [turn for turn in telephone.call.history.turns if turn.generated and turn.text != turn.generated]
            assert 0 < len(story.text) < len(story.generated)
            assert story.generated.startswith(story.text)
            if Able.SCRIPTED in party.abilities:
                assert story.generated in STORY.says
                assert telephone.turns == [
                    (Speaker.CALLER, STORY.heard),
                    (Speaker.AGENT, story.text),
                    (Speaker.CALLER, STOP.heard),
                    (Speaker.AGENT, STOP.says),
                ]
                assert Able.TRUNCATES not in party.abilities or party.knows_what_was_heard_of(story)

    @needs(Able.SCRIPTED, Able.USES_TOOLS)
    async def test_it_uses_a_tool_and_says_what_came_of_it(self, party: AgentParty) -> None:
        async with talking(party, tools=["send_dtmf"]) as telephone:
            await ask(party, telephone, DIAL)
            assert set(telephone.asterisk.pressed.values()) == {"9"}
            assert party.results() == ["The tones are being sent."]
            assert telephone.said_by(Speaker.AGENT) == [DIAL.says]
            (use,) = [turn.tool for turn in telephone.call.history.turns if turn.tool is not None]
            assert (use.name, use.result) == ("send_dtmf", "The tones are being sent.")

    @needs(Able.SCRIPTED, Able.USES_TOOLS)
    async def test_a_tool_that_fails_is_told_to_the_model_and_the_call_goes_on(self, party: AgentParty) -> None:
        async with talking(party, tools=["send_dtmf"]) as telephone:
            telephone.asterisk.rule("POST */dtmf", Answer.refusal(500, "no"))
            await ask(party, telephone, DIAL)
            assert party.results() == ["The telephone system could not send the tones."]
            assert telephone.said_by(Speaker.AGENT) == [DIAL.says]

    @needs(Able.SCRIPTED, Able.USES_TOOLS)
    async def test_it_hangs_up_once_its_farewell_has_been_heard_to_its_end(self, party: AgentParty) -> None:
        async with talking(party, tools=["hang_up"]) as telephone:
            party.expect(GOODBYE)
            telephone.say(await party.speech(GOODBYE))
            await until(lambda: telephone.result)
            assert (telephone.result, telephone.left_with) == (Result.COMPLETED, "completed")
            assert telephone.heard() > party.seconds(GOODBYE.says) - SLACK
            assert telephone.said_by(Speaker.AGENT) == [GOODBYE.says]

    @needs(Able.TAKES_DIGITS)
    async def test_digits_are_answered(self, party: AgentParty) -> None:
        async with talking(party) as telephone:
            telephone.press("5")
            await until(lambda: telephone.said_by(Speaker.AGENT))
            assert any("5" in text for text in telephone.said_by(Speaker.CALLER))
            if Able.SCRIPTED in party.abilities:
                assert any("5" in text for text in party.told())

    @needs(Able.TAKES_TEXT)
    async def test_text_is_answered_as_if_the_caller_had_said_it(self, party: AgentParty) -> None:
        async with talking(party) as telephone:
            party.expect(ASK)
            telephone.session.feed_text(ASK.heard)
            await until(lambda: telephone.said_by(Speaker.AGENT))
            assert telephone.said_by(Speaker.CALLER) == [ASK.heard]
            if Able.SCRIPTED in party.abilities:
                assert telephone.said_by(Speaker.AGENT) == [ASK.says]
                assert ASK.heard in party.told()

    # --- when its vendor fails

    @needs(Able.FAILS)
    async def test_another_agent_goes_on_with_the_conversation_when_its_vendor_fails(self, party: AgentParty) -> None:
        async with talking(party, understudy=True, failover={"hold_message": ""}) as telephone:
            await ask(party, telephone, ASK)
            party.strike(Fault.CLOSE)
            failed, answers = trio.current_time(), len(telephone.said_by(Speaker.AGENT))
            telephone.say(await party.speech(ASK_AGAIN))
            await until(lambda: len(telephone.said_by(Speaker.AGENT)) > answers)
            assert telephone.heard(failed) > 0.1
            assert telephone.served_by == UNDERSTUDY
            assert telephone.turns[:2] == [(Speaker.CALLER, ASK.heard), (Speaker.AGENT, ASK.says)]

    @needs(Able.FAILS, Able.TAKES_TEXT)
    async def test_a_failure_is_announced_where_nobody_takes_over(self, party: AgentParty) -> None:
        party.expect(ASK)
        async with talking(party) as telephone:
            party.strike(Fault.CLOSE)
            with trio.move_on_after(10):
                while telephone.result is None:  # some notice only when they are asked, and try again
                    if (session := telephone.call._keeper.session) is not None:
                        session.feed_text(ASK.heard)
                    await trio.sleep(0.3)
            assert (telephone.result, telephone.left_with) == (Result.FAILED_AGENT, "failed:agent")
            assert telephone.announced == ["sound:sorry"]

    @needs(Able.IS_REFUSED)
    @pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.RATE_LIMITED, Fault.MUTE])
    async def test_a_session_that_cannot_be_opened_is_a_provider_error_in_time(
        self, party: AgentParty, fault: Fault
    ) -> None:
        expected = ProviderRejected if fault is Fault.REFUSED else ProviderUnavailable
        await refused(party, fault, expected)

    @needs(Able.IS_WELCOMED)
    async def test_a_session_that_is_closed_at_once_is_not_open(self, party: AgentParty) -> None:
        await refused(party, Fault.CLOSE, ProviderUnavailable)

    # --- a session by itself

    async def test_a_session_answers_what_another_one_left_open(self, party: AgentParty) -> None:
        past = History(
            [
                HistoryTurn(Speaker.CALLER, "My name is Alice."),
                HistoryTurn(Speaker.AGENT, "Hello Alice.", "Hello Alice.", 1),
                HistoryTurn(Speaker.TOOL, "", tool=ToolUse("send_dtmf", '{"digits": "5"}', "Sent.")),
                HistoryTurn(Speaker.CALLER, ASK.heard),
            ]
        )
        party.expect(ASK)
        playout, events = PlayoutBuffer(), list[SessionEvent]()
        async with (
            opened(configuration(party)) as agent,
            agent.open(CallInfo("1.1", rate=RATE), past, playout) as session,
        ):
            session.resume()
            await follow(session, events, tells.UtteranceEnded)
            (begun,) = (event for event in events if isinstance(event, tells.UtteranceStarted))
            assert not begun.aside
            await until(lambda: playout.brought(begun.utterance) > 0.1)
            if Able.SCRIPTED in party.abilities:
                told = " ".join(party.told())
                assert all(words in told for words in ("My name is Alice.", "Hello Alice.", ASK.heard))

    async def test_whatever_is_asked_of_it_in_whatever_order_it_raises_nothing_and_its_events_keep_their_order(
        self, party: AgentParty
    ) -> None:
        sound = await party.speech(ASK)
        for _turn in range(ORDERS * STEPS):
            party.expect(ASK)
        async with opened(configuration(party)) as agent:
            for order in range(ORDERS):
                playout = PlayoutBuffer()
                async with agent.open(CallInfo("1.1", rate=RATE), History(), playout) as session:
                    call = UnrulyCall(session, playout, sound)
                    await call.run(Random(order), STEPS)
                assert call.events
                in_order(call.events)

    @needs(Able.ANSWERS_PROBES)
    async def test_a_probe_brings_a_sign_of_life(self, party: AgentParty) -> None:
        events: list[SessionEvent] = []
        async with (
            opened(configuration(party)) as agent,
            agent.open(CallInfo("1.1", rate=RATE), History(), PlayoutBuffer()) as session,
        ):
            session.probe()
            await follow(session, events, tells.Alive)
        assert isinstance(events[-1], tells.Alive)

    async def test_its_capabilities_are_those_that_are_tested(self, party: AgentParty) -> None:
        async with (
            opened(configuration(party)) as agent,
            agent.open(CallInfo("1.1", rate=RATE), History(), PlayoutBuffer()) as session,
        ):
            able = session.capabilities
        assert able.truncates == (Able.TRUNCATES in party.abilities)
        assert able.takes_text == (Able.TAKES_TEXT in party.abilities)
        assert able.takes_digits == (Able.TAKES_DIGITS in party.abilities)
        assert able.answers_probes == (Able.ANSWERS_PROBES in party.abilities)

    async def test_nothing_shows_the_key(self, party: AgentParty) -> None:
        config = configuration(party)
        async with (
            opened(config) as agent,
            agent.open(CallInfo("1.1", rate=RATE), History(), PlayoutBuffer()) as session,
        ):
            shown = f"{config!r} {agent!r} {agent.readiness!r} {session!r} {session.capabilities!r}"
        hides_keys(party, shown)
        assert len(shown) > 100

    # --- the end, wherever it comes

    async def test_a_call_that_ends_at_any_step_leaves_nothing(self, party: AgentParty) -> None:
        """Calls beside each other, each of which ends some way further on in the same story."""
        config = configuration(party, greeting="Hello.", tools=["send_dtmf"])
        sound = await party.speech(DIAL)
        for _call in ENDS:
            party.expect(DIAL)
        async with opened(config) as agent, AsyncExitStack() as stack:
            telephones = [connect(config, agent) for _ in ENDS]
            instrument = AtSteps(dict(zip(telephones, ENDS, strict=True)))

            async def story(telephone: Telephone) -> None:
                await until(lambda: telephone.said_by(Speaker.AGENT) or telephone.result)
                telephone.say(sound)
                await until(lambda: len(telephone.said_by(Speaker.AGENT)) > 1 or telephone.result)
                telephone.hang_up()

            async def call(telephone: Telephone) -> None:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(telephone.use)
                    nursery.start_soon(story, telephone)
                    await telephone.run()
                    nursery.cancel_scope.cancel()

            trio.lowlevel.add_instrument(instrument)
            stack.callback(trio.lowlevel.remove_instrument, instrument)
            async with trio.open_nursery() as nursery:
                for telephone in telephones:
                    nursery.start_soon(call, telephone)
            at_their_step = [end for telephone, end in instrument.steps.items() if instrument.taken[telephone] >= end]
            assert len(at_their_step) >= len(ENDS) / 2, "else nearly all stories were over before: they end nowhere new"
            await leave_nothing(party, telephones)
