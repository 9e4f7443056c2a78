"""Words that an engine invents on silence or noise take no turn and end no call; the same words, spoken, do.

What was heard decides. Each row names who reported the words: repository and number of its issue or pull request."""

import time

import pytest
from trio.testing import MockClock

from agentd import session_events as tells
from agentd_providers.turns.ghosts import Evidence, Judgement, Speech, judge
from tests.shell.pipeline_fakes import FakeDetector, Talk, talking

SURE_MS = 64
SHORTEST_YOU = Speech(speech_ms=192, sure_ms=160, likely_ms=192, mean=0.96, above_floor_db=43)
"""Of 40 that were spoken (just bench-ghosts)."""
COUGH = Speech(speech_ms=224, sure_ms=32, likely_ms=96, mean=0.65, above_floor_db=47)
LOUD_COUGH = Speech(speech_ms=384, sure_ms=96, likely_ms=256, mean=0.76, above_floor_db=48)
HUM = Speech(speech_ms=128, sure_ms=0, likely_ms=0, mean=0.65, above_floor_db=45)
MUSIC = Speech(speech_ms=224, sure_ms=32, likely_ms=160, mean=0.75, above_floor_db=5.7)
WORD_ON_A_NOISY_LINE = Speech(speech_ms=480, sure_ms=0, likely_ms=320, mean=0.72, above_floor_db=9.3)
SENTENCE = Speech(speech_ms=1800, sure_ms=1500, likely_ms=1700, mean=0.95, above_floor_db=40)

INVENTED = {
    "You": "davabase/transcriber_app#8, srcnalt/OpenAI-Unity#65, jaredrhod/backtalk#13",
    "you you you you": "screenpipe/screenpipe#4070",
    "Thank you.": "zachlatta/freeflow#68",
    "Thank you very much.": "zachlatta/freeflow#68",
    "Thanks for watching!": "saurabhav88/EnviousWispr#452",
    "Thank you for watching!": "woheller69/whisperIME#57, vivekuppal/transcribe#184",
    "Mhm.": "Pedal-Intelligence/saypi-userscript#69",
    "If you have any questions, feel free to contact me.": "Pedal-Intelligence/saypi-userscript#69",
    "I'll see you later.": "agent0ai/agent-zero#282",
    "Bye-bye.": "of the same kind; it ends a call by default",
    "I will go to sleep. I will go to sleep. I will go to sleep.": "open-nvr/open-nvr#266",
    "おやすみなさい": "amicalhq/amical#71",
    "Subtitles by the Amara.org community": "voquill/voquill#446",
    "the": "alphacep/vosk-api#1139",
    "huh": "alphacep/vosk-api#1101",
    "einen": "alphacep/vosk-api#361",
    "nun": "alphacep/vosk-api#361",
    "嗯": "alphacep/vosk-api#1157",
    "시청해주셔서 감사합니다!": "PocketShell-io/pocketshell#452",
    "ご視聴ありがとうございました": "Vexa-ai/vexa#617",
    "Abone olmayı unutmayın": "Vexa-ai/vexa#617",
    "For more information, visit www.FEMA.gov": "dhruvyad/uttertype#4",
    "But,": "what Moonshine makes of a throat that is cleared (just bench-ghosts)",
    "For her,": "the same",
}
"""What engines wrote of silence and noise: on a list or not, none is heard where nobody spoke."""


@pytest.mark.parametrize("words", INVENTED)
@pytest.mark.parametrize("noise", [COUGH, HUM], ids=["a cough", "a hum"])
def test_what_an_engine_makes_of_noise_does_not_count(words: str, noise: Speech) -> None:
    assert judge(words, noise, SURE_MS) == Judgement("unsure", may_hang_up=False)


@pytest.mark.parametrize(
    "words", ["You", "Thank you.", "Bye-bye.", "Uh-huh.", "But,", "No. No. No.", "To sleep. To sleep. To sleep."]
)
@pytest.mark.parametrize("noise", [LOUD_COUGH, MUSIC], ids=["a loud cough", "music"])
def test_what_is_known_to_be_invented_has_to_be_surer(words: str, noise: Speech) -> None:
    assert judge(words, noise, SURE_MS).doubt == "unsure"


@pytest.mark.parametrize("words", ["You.", "Thank you.", "Bye-bye.", "Yeah.", "No.", "Zwei"])
def test_the_same_words_count_where_somebody_spoke(words: str) -> None:
    """zachlatta/freeflow#68: "without filtering out someone actually saying 'thank you'"."""
    assert judge(words, SHORTEST_YOU, SURE_MS).doubt == ""


def test_no_list_of_words_decides_alone() -> None:
    for speech in (COUGH, SHORTEST_YOU):
        assert judge("Bye-bye.", speech, SURE_MS).doubt == judge("Marmalade.", speech, SURE_MS).doubt


def test_a_noisy_line_loses_no_words() -> None:
    """alphacep/vosk-api#837, the other way round: Silero is less sure of every word before noise."""
    assert judge("Four.", WORD_ON_A_NOISY_LINE, SURE_MS).doubt == ""


def test_more_words_than_a_mouth_says_in_the_time_do_not_count() -> None:
    """saurabhav88/EnviousWispr#452: a whole sentence of a short sound."""
    words = "Thank you for watching this video, see you in the next one."
    assert judge(words, SHORTEST_YOU, SURE_MS).doubt == "pace"
    assert judge(words, SENTENCE, SURE_MS).doubt == ""


@pytest.mark.parametrize(
    ("speech", "ends"),
    [
        (SENTENCE, True),
        (Speech(352, 288, 340, 0.96, 35.0), True),  # the faintest and shortest "goodbye" of 40
        (Speech(352, 288, 340, 0.96, None), True),  # the caller's first sound: the noise before it is not known
        (SHORTEST_YOU, False),
        (LOUD_COUGH, False),
        (Speech(700, 300, 500, 0.7, 35.0), False),
        (Speech(700, 600, 700, 0.95, 4.0), False),  # a television behind the caller says goodbye
        (None, True),  # the turn came as text
    ],
)
def test_hanging_up_wants_speech_that_was_surely_there(speech: Speech | None, ends: bool) -> None:
    assert judge("Goodbye.", speech, SURE_MS).may_hang_up == ends


def test_zero_lets_all_words_count() -> None:
    assert judge("You", HUM, 0) == Judgement()


# --- what is measured


def heard(*windows: tuple[float, float]) -> Evidence:
    """Windows of 32 ms, as (probability, dBFS), behind half a second of a quiet line."""
    evidence = Evidence(0.5)
    for probability, dbfs in [(0.05, -60.0)] * 16 + list(windows):
        evidence.hear(probability, 32, dbfs, in_turn=probability >= 0.5)
    return evidence


def test_speech_is_told_by_how_sure_it_was_and_by_its_level_above_the_noise() -> None:
    speech = heard((0.6, -30), (0.8, -25), (0.95, -20), (0.99, -22)).speech
    assert (speech.speech_ms, speech.likely_ms, speech.sure_ms) == (128, 96, 64)
    assert speech.mean == pytest.approx(0.835)
    assert speech.above_floor_db == pytest.approx(40, abs=1)


def test_a_click_before_a_turn_does_not_belong_to_it() -> None:
    evidence = heard((0.95, -20), *[(0.1, -60.0)] * 4)
    assert evidence.speech.sure_ms == 0
    evidence.hear(0.95, 32, -20, in_turn=False)
    assert evidence.speech.sure_ms == 32


def test_the_floor_follows_what_becomes_quieter_at_once_and_what_becomes_louder_in_seconds() -> None:
    evidence = heard(*[(0.1, -30.0)] * 63, (0.95, -20.0))
    assert evidence.speech.above_floor_db == pytest.approx(10, abs=1)
    evidence = heard((0.1, -30.0), (0.95, -20.0))
    assert evidence.speech.above_floor_db == pytest.approx(40, abs=1)
    evidence = heard((0.1, -90.0), (0.95, -20.0))
    assert evidence.speech.above_floor_db == 50


def test_digital_silence_is_not_the_noise_of_a_line() -> None:
    """What stands in for a gap, or for the agent's own echo, is nothing that was heard."""
    evidence = heard(*[(0.1, -30.0)] * 100, *[(0.0, -120.0)] * 10, (0.95, -20.0))
    assert evidence.speech.above_floor_db == pytest.approx(10, abs=1)
    silent = Evidence(0.5)
    silent.hear(0.0, 32, -120.0, in_turn=False)
    silent.hear(0.95, 32, -20.0, in_turn=False)
    assert silent.speech.above_floor_db is None


# --- in a conversation


def noise(talk: Talk) -> None:
    """Whatever sounds from now on is not surely speech."""
    assert isinstance(talk.session.detector, FakeDetector)
    talk.session.detector.sound = 0.6


async def test_an_invented_thank_you_takes_no_turn(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        noise(talk)
        await talk.say("Thank you.", seconds=0.3)
        assert talk.of(tells.CallerWordsDropped) == [tells.CallerWordsDropped("unsure")]
        measured = dict(talk.of(tells.CallerWordsDropped)[0].measured)
        assert measured == {"speech_ms": 300, "likely_ms": 0, "sure_ms": 0, "mean": 0.6, "above_noise_db": None}
        assert len(talk.of(tells.CallerSpeechDismissed)) == 1
        assert not talk.of(tells.CallerSpeechEnded)
        assert (talk.history, talk.prompts) == ([], [])


async def test_a_spoken_thank_you_is_answered(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.say("Thank you.", seconds=0.3)
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.history[0] == ("caller", "Thank you.")
        assert not talk.of(tells.CallerWordsDropped)


async def test_an_invented_goodbye_does_not_end_the_call(autojump_clock: MockClock) -> None:
    """mcp-use/mcp-use-voice-assistant#1: commands while nobody talks."""
    async with talking() as talk:
        noise(talk)
        await talk.say("Goodbye.")
        await talk.be_silent(1.0)
        assert not talk.of(tells.Ended)
        assert not talk.voice.spoken


async def test_a_goodbye_that_is_hardly_heard_is_answered_and_does_not_end_the_call(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.say("Goodbye.", seconds=0.16)
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert not talk.of(tells.Ended)
        assert talk.history[0] == ("caller", "Goodbye.")
        assert talk.of(tells.CallerWordsDropped) == [tells.CallerWordsDropped("end_phrase")]


async def test_noise_over_the_agent_s_words_takes_no_turn(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.say("what is the time")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        talk.begin_to_hear("I heard")
        noise(talk)
        await talk.say("Thank you.", seconds=0.3)
        assert len(talk.of(tells.CallerSpeechDismissed)) == 1
        assert len(talk.of(tells.CallerTakesTurn)) == 1  # that of the question


async def test_who_goes_on_after_a_doubtful_beginning_is_heard_whole(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        noise(talk)
        await talk.speak("My", seconds=0.2)
        await talk.be_silent(0.16)
        talk.session.detector.sound = 0.95  # type: ignore[attr-defined]
        await talk.say("name is Ann")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.history[0] == ("caller", "My name is Ann")


async def test_what_was_owed_before_a_cough_is_answered_after_it(autojump_clock: MockClock) -> None:
    """A ghost is no reason to forget the question before it."""
    async with talking() as talk:
        talk.responder.seconds = 0.5
        await talk.say("what is the time")
        noise(talk)
        await talk.say("You", seconds=0.2)
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.history[0] == ("caller", "what is the time")
        assert "You" not in [text for _, text in talk.history]


def test_a_transcript_of_a_quarter_of_a_megabyte_holds_nobody_up() -> None:
    """A speech server may answer whatever it likes: its loop of words was looked for by each length, seven seconds for
    131 kB."""
    began = time.process_time()
    assert judge("a " * 120_000 + "b", SENTENCE, 64).doubt == "pace"
    assert time.process_time() - began < 1.0
