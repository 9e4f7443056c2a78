"""What is spoken is what was meant: rows of what was written and what is said, for each language, and what holds for
any text. The rows are in `spoken/`, with the public reports that they come from."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd_providers.pipeline.clauses import ClauseCutter
from agentd_providers.text_normalisation.language import Language
from agentd_providers.text_normalisation.lexicon import lexicon_entries
from agentd_providers.text_normalisation.markdown import EMOJI
from agentd_providers.text_normalisation.normaliser import Spoken, TextNormaliser
from agentd_providers.text_normalisation.tables import languages, open_language

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

ROWS = Path(__file__).parent / "spoken"


def rows(name: str) -> Iterator[tuple[str, str]]:
    for line in (ROWS / name).read_text(encoding="utf-8").splitlines():
        if " => " in line:
            written, _, said = line.partition(" => ")
            yield written.strip(), said.strip()


EVERY_ROW = [(file.stem, *row) for file in sorted(ROWS.glob("*.txt")) for row in rows(file.name)]


@cache
def normaliser(language: str, *, reads_numbers: bool = False) -> TextNormaliser:
    return TextNormaliser(open_language(language), reads_numbers=reads_numbers)


def spoken(text: str, language: str = "en-US", *, reads_numbers: bool = False) -> str:
    return normaliser(language, reads_numbers=reads_numbers).spoken(text).text


# --- rows


@pytest.mark.parametrize(("language", "written", "said"), EVERY_ROW)
def test_it_is_said_as_it_was_meant(language: str, written: str, said: str) -> None:
    assert spoken(written, language) == said


@pytest.mark.parametrize(("language", "written", "said"), EVERY_ROW)
def test_what_was_made_for_speech_is_said_as_it_is(language: str, written: str, said: str) -> None:
    assert spoken(said, language) == said


@pytest.mark.parametrize(("language", "written", "said"), EVERY_ROW)
def test_each_written_word_has_its_share_of_what_is_said(language: str, written: str, said: str) -> None:
    whole = normaliser(language).spoken(written)
    assert len(whole.words) == len(written.split())
    assert letters(" ".join(whole.words)) == letters(whole.text)


def test_english_has_at_least_150_rows_and_every_language_with_a_table_has_some() -> None:
    assert len(list(rows("en.txt"))) >= 150
    assert {name.partition("-")[0] for name in languages()} <= {file.stem for file in ROWS.glob("*.txt")}


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


# --- voices


def test_a_voice_that_reads_numbers_gets_them_as_they_are_written_but_codes_and_addresses_in_words() -> None:
    written = "It costs $49.95 at 8:00 on 11/30; call 555-1234 or mail a@example.com."
    assert spoken(written, reads_numbers=True) == (
        "It costs $49.95 at 8:00 on 11/30; call five five five, one two three four or mail a at example dot com."
    )


def test_an_unknown_language_gets_no_english_words() -> None:
    written = "Hinta on 5,50 € klo 8.30, https://www.example.fi/polku?x=1 😀 tai [soita] *97"
    assert spoken(written, "fi-FI") == "Hinta on 5,50 € klo 8.30, example.fi tai soita *97"


def test_a_hash_is_pound_in_america_and_hash_in_britain() -> None:
    assert spoken("Press #.", "en-US") == "Press pound."
    assert spoken("Press #.", "en-GB") == "Press hash."
    assert spoken("on 30/11/2026", "en-GB") == "on the thirtieth of November, twenty twenty-six"


# --- the lexicon


LEXICON = {"Łódź": "/wutɕ/", "Siobhan": "shivawn", "agentd": "agent dee", "C++": "see plus plus"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Fly to Łódź today.", "Fly to [[wutɕ]] today."),
        ("SIOBHAN runs agentd.", "shivawn runs agent dee."),
        ("agentdaemon stays", "agentdaemon stays"),
        ("Write C++ code.", "Write see plus plus code."),
    ],
)
def test_the_lexicon_says_words_as_it_has_them(written: str, said: str) -> None:
    assert TextNormaliser(open_language("en"), LEXICON, takes_ipa=True).spoken(written).text == said


def test_only_the_lexicon_brings_double_brackets_to_a_voice_that_takes_ipa() -> None:
    said = TextNormaliser(open_language("en"), LEXICON, takes_ipa=True).spoken("[[hələʊ]] and [x]").text
    assert "[" not in said


@pytest.mark.parametrize(
    "wrong",
    [{"": "x"}, {"x": ""}, {"x": "//"}, {"x": "/a"}, {"x": "/a]]b/"}, {"a" * 101: "x"}, {"x": "a\nb"}, {"#": "hash"}],
)
def test_a_lexicon_that_cannot_be_said_is_refused(wrong: dict[str, str]) -> None:
    assert lexicon_entries(wrong)


def test_a_lexicon_of_words_and_ipa_is_taken() -> None:
    assert lexicon_entries(LEXICON) is None


# --- any text


pieces = st.sampled_from(
    [
        "Dr.", "St.", "No.", "U.S.", "p.m.", "$", "€", "49.95", "1,234", "5", "8:00", "17:30", "11/30", "2026-11-30",
        "555-123-4567", "+49", "(020)", "*97", "#", "*", "&", "%", "°C", "km", "-", "–", "...", "…", "/", "1/2",
        "½", "1st",
        "https://a.example.com/b?c=1", "a@example.com", "example.com", "AB_12", "XIV", "Louis", "😀", "👍🏽", "→",
        "[x]", "{y}",
        "word", "Zürich", "Łódź", "山田", "مرحبا", " ", " ", " ", "\n", ",", ".", "!", "1990s", "24/7", "~", "<",
        ">", "=", "x",
    ]
)  # fmt: skip
texts = st.lists(pieces | st.text(max_size=6), max_size=25).map("".join)
language_names = st.sampled_from(sorted({*languages(), "fi"}))


@unhurried
@given(texts, language_names)
def test_any_text_is_said_within_bounds_and_each_of_its_words_accounted_for(text: str, language: str) -> None:
    said = normaliser(language).spoken(text)
    assert isinstance(said, Spoken)
    assert len(said.words) == len(text.split())
    assert len(said.text) <= 40 + 40 * len(text)
    assert "  " not in said.text
    assert not said.text or any(map(str.isalnum, said.text))


@unhurried
@given(texts, language_names)
def test_no_emoji_and_no_bracket_reaches_a_voice(text: str, language: str) -> None:
    said = normaliser(language).spoken(text).text
    assert not EMOJI.search(said)
    assert not set("[]{}|`\\") & set(said)


@unhurried
@given(st.lists(st.from_regex(r"[A-Za-zäöüéłż]{3,12}", fullmatch=True), min_size=1, max_size=12), language_names)
def test_plain_words_are_said_as_they_are(words: list[str], language: str) -> None:
    plain = [word.lower() for word in words]
    tables = normaliser(language).language.table
    short = {*tables.abbreviations.dotless, *tables.symbols.words}
    text = " ".join(word for word in plain if word not in short)
    assert normaliser(language).spoken(text).text == text


@unhurried
@given(st.integers(min_value=0, max_value=10**15 - 1), language_names)
def test_no_digit_of_a_number_vanishes(number: int, language: str) -> None:
    said = normaliser(language).spoken(f"x {number} y").text
    assert said.startswith("x ") and said.endswith(" y") and len(said) > 4


def test_a_text_without_letters_is_silence() -> None:
    for text in ("", "   ", "?!", "😀", "...", "[]"):
        assert normaliser("en").spoken(text).text == ""


# --- a reply as a model writes it


def clauses(reply: str, *, size: int = 0, language: Language | None = None) -> list[str]:
    cutter = ClauseCutter(language or open_language("en-US"))
    deltas = [reply[at : at + size] for at in range(0, len(reply), size)] if size else [reply]
    return [clause for delta in deltas for clause in cutter.feed(delta)] + cutter.flush()


REPLIES = [
    # https://github.com/onyx-dot-app/onyx/pull/12284
    ("Press # or * to confirm.", ["Press pound or star to confirm."]),
    ("Dial **\\*97** or `*98`.", ["Dial star nine seven or star nine eight."]),
    ("Press:\n- # to confirm\n- * to go back", ["Press: pound to confirm", "star to go back"]),
    # https://github.com/pipecat-ai/pipecat/issues/1798
    ("See [our shop](https://shop.example.com/ab?x=1) for more.", ["See our shop for more."]),
    ("See <https://shop.example.com/ab?x=1>.", ["See shop dot example dot com."]),
    ("See ![a cat](https://example.com/cat.png) here.", ["See a cat here."]),
    ("It is so.[1] Really.【4:0†source】 See [^2] that.", ["It is so. Really.", "See that."]),
    # https://github.com/vellum-ai/vellum-assistant/pull/20731
    ("**Certainly!** It is _very_ ~~old~~ new, my_name.", ["Certainly!", "It is very old new, my underscore name."]),
    ("## Hours\n\n1. **Mon**: 9-5\n2. **Tue**: closed", ["Hours, one. Monday:", "nine to five, two. Tuesday: closed"]),
    ("| Day | Time |\n|-----|-----:|\n| Monday | 9:00 |\n", ["Day, Time", "Monday, nine o'clock"]),
    ("Use this:\n```python\nx = 1\n```\nDone, my friend.", ["Use this:", "x equals one, Done, my friend."]),
    ("AT&amp;T costs &lt; $5<br>a month", ["AT and T costs less than five dollars", "a month"]),
    ("Great 😀! See you 👋🏽 soon, 1️⃣ day.", ["Great! See you soon, one day."]),
    ("Ask Dr. Smith of Smith Inc. in the U.S. at 9 a.m. on Mon. please.",
     ["Ask Doctor Smith of Smith Inc in the US at nine AM on Monday please."]),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "said"), REPLIES)
def test_a_reply_is_said_as_it_was_meant(reply: str, said: list[str]) -> None:
    assert [spoken(clause) for clause in clauses(reply)] == said


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11])
@pytest.mark.parametrize("reply", [reply for reply, _ in REPLIES])
def test_a_reply_is_said_the_same_however_it_came(reply: str, size: int) -> None:
    assert clauses(reply, size=size) == clauses(reply)
