"""Which transport the doctor recommends, by what an Asterisk has, and that the documents' table says the same."""

import re
from pathlib import Path

import pytest

from agentd.config.settings import Calls, Config
from agentd.doctor.findings import State
from agentd.doctor.transports import GUIDE, LEGS, recommend
from agentd.transports import transport_names

CONFIGURE = (Path(__file__).parents[3] / "docs" / "configure.md").read_text("utf-8")
ALL = frozenset(LEGS.values())
NEW, OLD = "22.10.1", "20.5.0"


def test_every_transport_has_a_row() -> None:
    assert {guide.name for guide in GUIDE} == set(transport_names())


@pytest.mark.parametrize(
    ("modules", "version", "best"),
    [
        (ALL, NEW, "external"),
        (ALL - {"chan_audiosocket"}, NEW, "websocket"),
        (ALL - {"chan_audiosocket"}, OLD, "fork"),
        (ALL - {"chan_audiosocket"}, "none that can be read", "fork"),
        (frozenset({"chan_rtp"}), NEW, "rtp"),
    ],
)
def test_the_best_that_this_asterisk_has_is_recommended(modules: frozenset[str], version: str, best: str) -> None:
    found = recommend(modules, version, Config(calls=Calls(default_media=best)))
    assert found.state is State.OK
    assert found.found.splitlines()[0].endswith(f"where nothing speaks against it: {best}")


def test_a_line_each_tells_what_is_there_and_when_to_choose_it() -> None:
    _, *lines = recommend(ALL, OLD, Config()).found.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["media=external", "media=fork", "media=rtp"]
    assert all("Delay: " in line and "A lost packet: " in line and "Choose it " in line for line in lines)


def test_a_default_that_this_asterisk_does_not_have_is_warned_of_with_what_to_write() -> None:
    found = recommend(ALL, OLD, Config(calls=Calls(default_media="websocket")))
    assert found.state is State.WARN
    assert found.advice == ('agent.toml: [calls] default_media = "external": this Asterisk has no websocket',)


def test_one_that_cannot_be_told_is_skipped() -> None:
    for modules in (frozenset[str](), frozenset({"res_ari"})):
        assert recommend(modules, NEW, Config()).state is State.SKIPPED


def test_the_documents_table_says_the_same() -> None:
    section = CONFIGURE.partition("## The ways of a call's audio")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", section, re.M)]
    table = {row[0]: dict(zip((name.split()[0] for name in rows[0][1:]), row[1:], strict=True)) for row in rows[2:]}
    for guide in GUIDE:
        assert guide.module in table["module of Asterisk's"][guide.name]
        assert table["audio"][guide.name].startswith(guide.audio)
        assert table["delay of what the caller says"][guide.name] == guide.delay
        assert table["choose it"][guide.name].startswith(guide.choose)
        loss = table["a packet is lost between Asterisk and agentd"][guide.name]
        assert loss.startswith(guide.loss) or loss == "the same"
