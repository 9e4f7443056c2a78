"""A caller who withholds number and name is nobody's to know: not the prompt's, the vendor's, the log's or a tool's.

Each case names its public source. The presentations are those of Asterisk 22 main/callerid.c (`pres_types`).
"""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from agentd.agent import CallInfo
from agentd.ari.caller_id import anonymous, withheld
from agentd.ari.events import Channel, StasisStart
from agentd.testing._ari_server import Answer
from agentd_providers.pipeline.stages import fill_in
from tests.shell.front_desk import CALLER, FrontDesk, open_for_callers

NUMBER, NAME = "+4915112345678", "Ada Lovelace"
ALLOWED = ("allowed_not_screened", "allowed_passed_screen", "allowed_failed_screen", "allowed", "unavailable", "")
PROHIBITED = ("prohib_not_screened", "prohib_passed_screen", "prohib_failed_screen", "prohib")
ASKED = f"GET /channels/{CALLER}/variable"


async def told(desk: FrontDesk, *arguments: str, number: str = NUMBER, name: str = NAME, **start: object) -> CallInfo:
    """What an agent is told of a caller."""
    desk.asterisk.enter(CALLER)
    channel = Channel(CALLER, caller_number=number, caller_name=name)
    desk.client.on_call(StasisStart(channel, arguments, **start))  # type: ignore[arg-type]
    await desk.until(lambda: desk.reception.stays._calls)
    (call,) = desk.reception.stays._calls
    desk.hang_up()
    return call.info


def asked(desk: FrontDesk) -> int:
    return len([one for one in desk.asterisk.requests if one.params.get("variable") == "CALLERID(pres)"])


@pytest.mark.parametrize("presentation", PROHIBITED)
async def test_asterisk_1112_a_number_that_is_withheld_is_told_nobody(
    presentation: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """asterisk issue 1112: P-Asserted-Identity with Privacy: id delivers the number all the same."""
    async with open_for_callers(tmp_path) as desk:
        info = await told(desk, f"num-pres={presentation}", "name-pres=allowed")
        assert (info.caller_number, info.caller_name) == ("", "")
        assert fill_in("The caller is {caller_name}, {caller_number}.", info) == "The caller is unknown, unknown."
        assert asked(desk) == 0, "the dialplan has told"


@pytest.mark.parametrize("presentation", PROHIBITED)
async def test_a_name_may_be_withheld_alone(presentation: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        info = await told(desk, "num-pres=allowed", f"name-pres={presentation}")
        assert (info.caller_number, info.caller_name) == (NUMBER, "")


@pytest.mark.parametrize("presentation", ALLOWED)
async def test_what_is_not_withheld_is_told(presentation: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        info = await told(desk, f"num-pres={presentation}", f"name-pres={presentation}")
        assert (info.caller_number, info.caller_name) == (NUMBER, NAME)


@pytest.mark.parametrize(("presentation", "shown"), [("prohib_passed_screen", ""), ("allowed", NUMBER), ("", NUMBER)])
async def test_where_the_dialplan_does_not_tell_asterisk_is_asked_once(
    presentation: str, shown: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.variables[CALLER] = {"CALLERID(pres)": presentation}
        info = await told(desk, "agent=default")
        assert (info.caller_number, asked(desk)) == (shown, 1)


@pytest.mark.parametrize(("presentation", "shown"), [("prohib", ("", "")), ("allowed", ("4712", "Bob"))])
async def test_a_party_that_took_another_s_place_is_asked_for_itself(
    presentation: str, shown: tuple[str, str], tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It has inherited the arguments of the one before, and with them that one's presentation; its own number comes
    later than it does."""
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.enter(CALLER)
        channel = Channel(CALLER, caller_number=NUMBER, caller_name=NAME)
        desk.client.on_call(
            StasisStart(channel, ("num-pres=allowed", "name-pres=allowed"), replaces=Channel("1700000000.0"))
        )
        await desk.until(lambda: desk.reception.stays._calls)
        (call,) = desk.reception.stays._calls
        assert (call.info.caller_number, call.info.caller_name) == ("", "")
        identity = {"CALLERID(num)": "4712", "CALLERID(name)": "Bob", "CALLERID(pres)": presentation}
        desk.asterisk.variables[CALLER] = identity
        await desk.until(lambda: asked(desk))
        await trio.sleep(1.0)
        assert (call.info.caller_number, call.info.caller_name) == shown
        desk.hang_up()


async def test_where_asterisk_cannot_tell_the_call_goes_on_and_nothing_is_asked_of_nobody(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.rule(ASKED, Answer.refusal(500, "no such function"))
        assert (await told(desk)).caller_number == NUMBER
    async with open_for_callers(tmp_path) as desk:
        await told(desk, number="", name="")
        assert asked(desk) == 0


@pytest.mark.parametrize("number", ["anonymous", "Anonymous", "restricted", "unavailable", "unknown", "private"])
async def test_sipgate_io_56_a_word_in_the_number_s_place_is_no_number(
    number: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """sipgate/sipgate.io issue 56; RFC 3323, section 4.1.1.3: sip:anonymous@anonymous.invalid."""
    async with open_for_callers(tmp_path) as desk:
        info = await told(desk, "num-pres=allowed", "name-pres=allowed", number=number, name="")
        assert info.caller_number == ""


def test_presentations_as_asterisk_writes_them() -> None:
    assert not any(map(withheld, ALLOWED))
    assert all(map(withheld, PROHIBITED))
    assert not anonymous("anna") and not anonymous("200")
