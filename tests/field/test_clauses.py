"""Clauses end where the language ends them, and a text without marks still starts early. Cases from public reports."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd_providers.pipeline.clauses import FIRST_LONGEST, LONGEST, ClauseCutter
from agentd_providers.text_normalisation.markdown import MarkdownReader
from agentd_providers.text_normalisation.tables import languages, open_language

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
LANGUAGES = {name: open_language(name) for name in (*languages(), "hi")}


def clauses(text: str, language: str = "en") -> list[str]:
    cutter = ClauseCutter(LANGUAGES[language])
    return [*cutter.feed(text), *cutter.flush()]


WHOLE = [
    # abbreviations: https://github.com/pipecat-ai/pipecat/pull/286, https://github.com/pipecat-ai/pipecat/issues/2040
    "We live and work in the U.S. and in Canada.",
    "We are here until 5 p.m. on every weekday.",
    "We are here from 9 a.m. every day.",
    "We are here from 9 a.m. Monday to Friday.",
    "You will find us in house No. 5 on the left.",
    "You have called Smith Inc. in Springfield.",
    "You have called Smith Inc. about your order.",
    "It will take approx. five minutes of your time.",
    "It will take approx. 5 minutes of your time.",
    "You turn left on Park Ave. and then go on.",
    "You turn left on Park Ave. 12 is our number.",
    "This was Martin Luther King Jr. in his speech.",
    "You will be seen by Dr. Miller of Ward 5 today.",
    "It was written by J. R. R. Tolkien himself.",
    "Ask for George W. Bush at the front desk.",
    "It is cats vs. dogs e.g. Rex vs. Tom here.",
    "Please come by on Mon. Dec. 5 in the morning.",
    # an abbreviation that no table has: a word in lower case goes on with the sentence
    # https://github.com/nltk/nltk/issues/2154
    "It is sold by the doz. and not by the piece.",
    # numbers: https://github.com/jambonz/jambonz-feature-server/pull/1464
    "It costs 3.5 euros and takes 1,200 steps.",
    "It begins on December 1, 2026 in the morning.",
    "It is open 10 - 12 and closed on every Sunday.",
    "You can visit us at example.com for more.",
    "We open in the morning at 9:30 every day.",
    # ellipses: https://github.com/NVIDIA/NeMo-text-processing/issues
    "I think that it was... maybe about noon.",
]


@pytest.mark.parametrize("text", WHOLE)
def test_nothing_ends_here(text: str) -> None:
    assert clauses(text) == [text]


# A | stands where a clause ends.
ENDS = [
    ("en", "We open at 9 a.m.|Please come by.|We live in the U.S.|The shop is in Canada."),
    ("en", "You have called Smith Inc.|How can I help?"),
    ("en", "We close at five.|Twenty people came."),
    ("en", "So you can,|and so can I.|Now we go."),
    ("en", "That was it...|But there is more."),
    ("en", "we write without capitals.|and that is fine."),
    # https://github.com/pipecat-ai/pipecat/pull/1090
    ("hi", "आपका स्वागत है।|मैं आपकी मदद कर सकता हूँ।|धन्यवाद॥"),
    # https://github.com/jambonz/jambonz-feature-server/issues/1463
    ("hi", "كيف يمكنني مساعدتك اليوم؟|نحن مفتوحون الآن!|شكرا لك."),
    ("hi", "آپ کیسے ہیں؟|ہم آپ کی مدد کر سکتے ہیں۔|شکریہ۔"),
    ("hi", "Մենք բաց ենք ամեն օր։|Ինչո՞վ կարող եմ օգնել։"),
    ("hi", "እንዴት ልርዳዎት እችላለሁ፧|ዛሬ ክፍት ነን።|እናመሰግናለን።"),
    ("hi", "Πώς μπορώ να βοηθήσω\u037e|Είμαστε ανοιχτά σήμερα."),
]


@pytest.mark.parametrize(("language", "text"), ENDS)
def test_a_sentence_ends_here(language: str, text: str) -> None:
    assert clauses(text.replace("|", " "), language) == text.split("|")


def test_scripts_without_spaces_end_at_their_own_marks() -> None:
    assert clauses("您好，欢迎致电我们的商店。今天营业到九点！请问有什么可以帮您？谢谢。", "hi") == [
        "您好，欢迎致电我们的商店。",
        "今天营业到九点！请问有什么可以帮您？",
        "谢谢。",
    ]


# --- the structure of a written answer


STRUCTURES = [
    # https://github.com/vellum-ai/vellum-assistant/pull/20731
    ("You can choose:\n- the red car\n- the blue car", ["You can choose:", "the red car", "the blue car"]),
    ("You can choose:\n* One\n* Two\n* Three", ["You can choose:", "One, Two, Three"]),
    ("1. Call us today.\n2. Wait for us.", ["1. Call us today.", "2. Wait for us."]),
    ("# Opening hours\nWe open at nine.", ["Opening hours", "We open at nine."]),
    ("Opening hours\n\nWe open at nine.", ["Opening hours", "We open at nine."]),
    ("12 Main Street\nSpringfield, Illinois", ["12 Main Street", "Springfield, Illinois"]),
    ("We are open from nine\nto five on weekdays.", ["We are open from nine to five on weekdays."]),
    ("| Day | Hours |\n|---|---|\n| Monday | nine to five |", ["Day, Hours", "Monday, nine to five"]),
    ("> We said so before.\n\nAnd we meant it.", ["We said so before.", "And we meant it."]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), STRUCTURES)
def test_lists_headings_and_lines_end_clauses(text: str, wanted: list[str]) -> None:
    assert clauses(text) == wanted


# --- a text without marks starts early


WITHOUT_MARKS = {
    "en": "we are open every day from nine to five and on saturdays we open at ten and close at two so come by " * 3,
    "th": "สวัสดีครับยินดีต้อนรับสู่ร้านของเราวันนี้เราเปิดให้บริการตั้งแต่เก้าโมงเช้าถึงห้าโมงเย็น" * 3,
    "zh": "今天我们营业到晚上九点欢迎光临我们的商店如果您有任何问题请随时联系我们的客服人员谢谢您的来电祝您愉快" * 3,
    "ko": "우리는 매일 아침 아홉 시부터 오후 다섯 시까지 문을 열고 토요일에는 열 시에 열고 두 시에 닫습니다 그러니 "
    * 3,
}


@pytest.mark.parametrize("name", WITHOUT_MARKS)
def test_a_text_without_marks_starts_early_and_is_cut_between_words(name: str) -> None:
    text = WITHOUT_MARKS[name]
    cutter, fed = ClauseCutter(LANGUAGES["en"]), 0
    first: list[str] = []
    while not first:
        first = cutter.feed(text[fed])
        fed += 1
    assert fed <= FIRST_LONGEST + 2
    (clause,) = first
    assert text.startswith(clause)
    if name in ("en", "ko"):
        assert text[len(clause)] == " "


def test_it_is_cut_before_a_word_that_begins_a_clause() -> None:
    assert clauses(WITHOUT_MARKS["en"])[0].endswith("close at two")


# --- any text


pieces = st.sampled_from(
    [
        "Dr. ", "U.S. ", "9 a.m. ", "No. 5", "J. R. ", "Inc.", "etc.", "1.", "3.5", "...", "…", "!", "?", ". ",
        ", ", " - ", "—",
        ":", ";", "।", "؟", "۔", "։", "。", "，", "！", "\n", "\n\n", "\n- ", "\n1. ", "\n# ", "\n> ",
        "\n| a | b |", "\n|-|-|",
        "```\n", "`x`", "**", "*", "_", "__", "~~", "[a](b c)", "[a](https://e.org/x)", "![i](u)", "[1]", "<br>",
        "<b>", "&amp;",
        "&", "*97", "# ", "#", "😀", "👍🏽", "1️⃣", "word ", "Word ", "and ", "the ", "山田さん", "สวัสดี", "हूँ",
        "\\*", "a" * 40,
    ]
)  # fmt: skip
MEANINGFUL_WORDS = ["*97", "#", "*", "&", "AB_12", "5 * 3", "a@b.org", "~7", "#3", "50%", "C#"]
replies = st.lists(pieces | st.text(max_size=5), max_size=30).map("".join)


@unhurried
@given(replies, st.lists(st.integers(min_value=0), max_size=20), st.sampled_from(sorted(LANGUAGES)))
def test_cut_into_deltas_anywhere_a_reply_has_the_same_clauses(reply: str, places: list[int], name: str) -> None:
    edges = [0, *sorted(place % (len(reply) + 1) for place in places), len(reply)]

    def cut(deltas: list[str]) -> list[str]:
        cutter = ClauseCutter(LANGUAGES[name])
        return [clause for delta in deltas for clause in cutter.feed(delta)] + cutter.flush()

    assert cut([reply[begin:end] for begin, end in pairwise(edges)]) == cut(list(reply)) == cut([reply])


@pytest.mark.parametrize(
    "reply",
    [
        "Word one.[1];։)...",
        "Word one is ۔।and two",
        "> 山田さんInc.।۔։。_",
        "3.5  *97**  山田さん\\*",
        "x ```a\n```\nb",
        "**5*",
    ],
)
def test_marks_and_symbols_of_which_some_have_come_are_waited_for(reply: str) -> None:
    for size in (1, 2, 3):
        cutter = ClauseCutter(LANGUAGES["en"])
        deltas = (reply[at : at + size] for at in range(0, len(reply), size))
        assert [clause for delta in deltas for clause in cutter.feed(delta)] + cutter.flush() == clauses(reply)


@unhurried
@given(replies)
def test_every_clause_is_bounded_and_a_flushed_cutter_begins_anew(reply: str) -> None:
    cutter = ClauseCutter(LANGUAGES["en"])
    once = [*cutter.feed(reply), *cutter.flush()]
    assert all(0 < len(clause) <= LONGEST for clause in once)
    assert [*cutter.feed(reply), *cutter.flush()] == once


@unhurried
@given(
    st.lists(
        st.sampled_from(["*97", "#", "*", "&", "AB_12", "5 * 3", "a@b.org", "~7", "#3", "50%", "C#"]),
        min_size=1,
        max_size=9,
    )
)
def test_no_symbol_that_carries_meaning_vanishes(words: list[str]) -> None:
    text = "Press " + " or ".join(words) + " now."
    assert " ".join(clauses(text)) == text


@unhurried
@given(st.text(max_size=400))
def test_a_reader_of_markdown_takes_anything(text: str) -> None:
    reader = MarkdownReader()
    whole = reader.feed(text) + reader.flush()
    assert len(whole) <= 3 * len(text) + 3
    one = MarkdownReader()
    assert "".join(map(one.feed, text)) + one.flush() == whole
