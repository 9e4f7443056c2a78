"""What a speech engine writes about a sound is no word of the caller's, whichever engine wrote it. Each row names who
reported the form: repository and number of its issue or pull request, or the engine whose form it is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd import session_events as tells
from agentd_providers.deepgram.voice_agent.events import UserStartedSpeaking, UserText
from agentd_providers.openai.realtime.events import SpeechStarted, SpeechStopped, Transcribed
from agentd_providers.turns.tags import without_tags
from agentd_providers.turns.words import plain_words
from agentd_providers.vendor import commands as do
from tests.shell import wyoming_peer
from tests.shell.pipeline_fakes import talking
from tests.shell.service.test_speech_server import a_server
from tests.unit.deepgram.test_machine import Playbook as DeepgramPlaybook
from tests.unit.openai.realtime_playbook import Playbook as RealtimePlaybook

NO_WORDS = {
    "[Beep]": "roryeckel/wyoming_openai#18",
    "[Music]": "AreevAI/flowcat#27: the agent ends up replying to music",
    "(silence)": "AreevAI/flowcat#27",
    "[[BLANK_AUDIO]]": "sandrohanea/whisper.net#365",
    "(humming)": "sandrohanea/whisper.net#365",
    "[NOISE]": "sandrohanea/whisper.net#365",
    "* DING *": "ggml-org/whisper.cpp#1324",
    "(Wind Whooshing) (laughing)": "ggml-org/whisper.cpp#1324",
    "[Applause from the left]": "ggml-org/whisper.cpp#1324",
    "[BLANK_AUDIO]": "ggml-org/whisper.cpp#2363",
    "[ Silence ]": "ggml-org/whisper.cpp#2363",
    "[blank_audio] (plastic crinkling) (crunching) (grunts)": "ggml-org/whisper.cpp#2420",
    "(Music)": "zachswift615/speak2#14",
    "[Musik]": "bugbakery/transcribee#25",
    "*Musik*": "bugbakery/transcribee#25",
    "*coughs*": "bugbakery/transcribee#25: the same form",
    "(speaking in foreign language)": "openai/whisper: subtitles that it learned from",
    "[MUSIC PLAYING] (Bell Rings)": "ggml-org/whisper.cpp#2137",
    "♪": "openai/whisper: whisper/tokenizer.py, non_speech_tokens",
    "♪♪♪": "openai/whisper: whisper/tokenizer.py, non_speech_tokens",
    "♪ I will be there ♪": "openai/whisper: a song is written between notes",
    "🎵": "openai/whisper: subtitles that it learned from",
    "<|nospeech|>": "openai/whisper: whisper/tokenizer.py, special tokens",
    "<|zh|><|NEUTRAL|><|BGM|><|woitn|>": "FunAudioLLM/SenseVoice: rich transcription",
    "<en-US>": "handy-computer/transcribe.cpp#39",
    "<unk>": "Kaldi and NVIDIA NeMo: a word that is not known",
    "[unk]": "alphacep/vosk-api: the grammar's word for all others",
    "<noise> </s>": "Kaldi: noise, and the end of a sentence",
    "!SIL": "Kaldi: silence",
    "++COUGH++": "CMU Sphinx: fillers",
    "%HESITATION": "watson-developer-cloud/swift-sdk#1008",
    "%HESITATION.": "watson-developer-cloud/speech-javascript-sdk#13: at the end of a sentence",
    "~NS": "watson-developer-cloud/node-sdk#348",
    "****": "watson-developer-cloud/java-sdk#1126: profanity is masked",
    "{laugh}": "LDC: transcripts of Switchboard",
    "【音楽】": "openai/whisper: Japanese subtitles",
    "（笑）": "openai/whisper: Japanese subtitles",
    "((laughs))": "ggml-org/whisper.cpp#2137: such brackets are tokens",
    "[Mus": "ggml-org/whisper.cpp#2420: cut off in the middle",
    "...": "bugbakery/transcribee#25: punctuation alone",
    "。": "bugbakery/transcribee#25: punctuation alone",
    " - ": "bugbakery/transcribee#25: punctuation alone",
}
WORDS_REMAIN = {
    # ggml-org/whisper.cpp#2420
    "testing [blank_audio] (plastic crinkling) (crunching) (grunts)": "testing",
    "[inaudible] to my account [laughter]": "to my account",
    "*clears throat* Yes, please.": "Yes, please.",
    # watson-developer-cloud/node-sdk#348
    "I thought they have seen the school %HESITATION": "I thought they have seen the school",
    "♪ Thank you ♪ Goodbye": "Goodbye",
    "Hello [Mus": "Hello",
}
SAID = (
    "bracket",
    "open bracket beep close bracket",
    "star ninety seven",
    "I want the music to stop",
    # what smart formatting makes of numbers (Deepgram's docs, smart-format)
    "(555) 123-4567",
    "(555)",
    "press *97",
    "press *97* now",
    "5 * 3 is 15, * is a star",
    "3 < 4 and 5 > 4",
    "50 %",
    # glimpse-hq/Glimpse#72: what was lost where whatever stands in brackets is left out
    "call foo(bar)",
    "I need a room (for the dog and me)",
    "the front door (the one on the left)",
    "I *really* want it",
    "「はい」",
    "嗯",
    "Ja, gern.",
    "Ça va ?",
)


@pytest.mark.parametrize("text", NO_WORDS)
def test_a_transcript_of_tags_alone_has_no_words(text: str) -> None:
    assert without_tags(text) == ""


@pytest.mark.parametrize(("text", "words"), WORDS_REMAIN.items())
def test_the_words_beside_a_tag_remain(text: str, words: str) -> None:
    assert without_tags(text) == words


@pytest.mark.parametrize("text", SAID)
def test_what_a_caller_says_of_brackets_and_stars_is_words(text: str) -> None:
    assert without_tags(text) == text


@given(st.text(st.characters(categories=["L", "N", "Zs"]), min_size=1).filter(lambda text: any(map(str.isalnum, text))))
def test_words_without_marks_are_left_as_they_are(text: str) -> None:
    assert without_tags(text) == text


@given(st.text("[](){}<>*♪|/ab 1.%!+_", max_size=60))
def test_what_remains_of_anything_has_words_or_is_nothing(text: str) -> None:
    kept = without_tags(text)
    assert kept == "" or any(map(str.isalnum, kept))


@pytest.mark.parametrize("mark", ["[", "(", "*a", "<a", "♪", "{", "[(", "++a"])
def test_a_transcript_of_nothing_but_marks_takes_no_time(mark: str) -> None:
    began = time.process_time()
    without_tags(mark * 4000)
    assert time.process_time() - began < 5


def test_punctuation_of_any_language_is_no_word() -> None:
    assert plain_words("¿Cómo está? “Gut” – danke… 谢谢。 I’m") == ["cómo", "está", "gut", "danke", "谢谢", "i'm"]


# --- every engine: a stage of a pipeline, whoever wrote it, and the vendors whose agents take the turns


async def test_a_stage_that_writes_a_tag_takes_no_turn(autojump_clock: object) -> None:
    async with talking() as talk:
        await talk.say("[Beep]")
        assert talk.of(tells.CallerSpeechDismissed) == [tells.CallerSpeechDismissed("no words were recognised")]
        assert talk.of(tells.CallerWordsDropped) == [tells.CallerWordsDropped("tag")]
        assert not talk.of(tells.CallerSpeechEnded)
        assert talk.history == []


async def test_the_words_beside_a_stage_s_tag_are_answered_and_told_without_it(autojump_clock: object) -> None:
    async with talking() as talk:
        await talk.say("[Beep] what is the time")
        await talk.until(lambda: talk.of(tells.UtteranceEnded))
        assert talk.of(tells.CallerText)[-1] == tells.CallerText("what is the time")
        assert talk.of(tells.CallerWordsDropped) == [tells.CallerWordsDropped("tag")]
        assert talk.prompts[-1] == ["what is the time"]


async def test_a_tag_is_no_end_phrase(autojump_clock: object) -> None:
    async with talking() as talk:
        await talk.say("(Goodbye)")
        await talk.be_silent(1.0)
        assert not talk.of(tells.Ended)


def test_a_tag_in_realtime_s_transcript_is_not_in_the_history() -> None:
    book = RealtimePlaybook()
    book.on(SpeechStarted("item", 0))
    book.on(SpeechStopped("item", 900))
    done = book.on(Transcribed("item", "[Beep]"))
    assert done == [do.Tell(tells.CallerWordsDropped("tag"))]
    assert not book.history.turns


def test_a_tag_of_deepgram_s_agent_is_a_turn_without_words_which_it_answers() -> None:
    book = DeepgramPlaybook()
    book.on(UserStartedSpeaking())
    done = book.on(UserText("[Beep]"))
    assert do.Tell(tells.CallerWordsDropped("tag")) in done
    assert not [command for command in done if isinstance(command, do.RecordCaller)]
    assert len(book.told(tells.CallerSpeechEnded)) == 1


@pytest.mark.loopback
async def test_the_speech_server_sends_no_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wyoming_peer, "WORDS", ["", "[noise]", "[noise] two"])
    async with a_server() as at, at.client() as client:
        for heard, sent in (("[noise]", ""), ("[noise] two", "two")):
            await client.send("transcribe", {"language": "en-US"})
            await client.say(wyoming_peer.sound_of(heard))
            assert await client.answer() == ("transcript", {"text": sent})
