"""Cutting an utterance into files."""

from agentd.agent import Audio, SegmentEnd, SegmentStart
from agentd.playback.segments import SegmentCutter


def audio(seconds: float, rate: int = 8000) -> Audio:
    return Audio(0, 1, b"\x01\x00" * int(seconds * rate), rate)


def test_a_clause_is_played_as_soon_as_it_is_complete_and_waits_for_no_other() -> None:
    cutter = SegmentCutter()
    assert cutter.feed(SegmentStart(0, 1, "Well,")) == []
    assert cutter.feed(audio(0.1)) == []
    ((words, pcm),) = cutter.feed(SegmentEnd(0, 1))
    assert (words.text, len(pcm)) == ("Well,", 1600)


def test_a_segment_without_an_end_of_its_own_ends_with_the_next_one_and_with_the_utterance() -> None:
    cutter = SegmentCutter()
    cutter.feed(SegmentStart(0, 1, "One."))
    cutter.feed(audio(0.1))
    assert [words.text for words, _ in cutter.feed(SegmentStart(0, 1, "Two."))] == ["One."]
    cutter.feed(audio(0.2))
    assert [(words.text, len(pcm)) for words, pcm in cutter.feed(None)] == [("Two.", 3200)]
    assert cutter.feed(None) == []


def test_what_the_voice_says_for_the_words_comes_along() -> None:
    cutter = SegmentCutter()
    cutter.feed(SegmentStart(0, 1, "$5", ("five dollars",)))
    cutter.feed(audio(0.1))
    ((words, _),) = cutter.feed(SegmentEnd(0, 1))
    assert words.said == ("five dollars",)


def test_endless_audio_without_marks_is_cut_by_length() -> None:
    cutter = SegmentCutter(longest=1.0)
    pieces = [piece for _ in range(25) for piece in cutter.feed(audio(0.1))]
    assert [len(pcm) for _, pcm in pieces] == [16000, 16000]


def test_audio_of_another_rate_is_brought_to_the_files_rate_without_losing_its_length() -> None:
    cutter = SegmentCutter()
    for _ in range(10):
        cutter.feed(audio(0.1, 22050))
    ((_, pcm),) = cutter.feed(SegmentEnd(0, 1))
    assert abs(len(pcm) - 16000) <= 4
