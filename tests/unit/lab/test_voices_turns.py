"""Turns put together from what was said, and kept."""

import attrs
import numpy as np
import pytest

from tests.lab.voices import fetching
from tests.lab.voices.conditions import RATE, Line
from tests.lab.voices.kokoro import Said, place, quietest, tokens, with_output
from tests.lab.voices.plans import plan_of_recording, plans
from tests.lab.voices.recordings import Recording, recordings
from tests.lab.voices.sources import SOURCES, AnotherSource, Source, listed
from tests.lab.voices.split import Part, speakers
from tests.lab.voices.texts import Kind, texts
from tests.lab.voices.turns import HISS, TAIL, Kept, composed, english_voices


def plan(kind: Kind, line: Line = Line.CLEAN, **changes: object):
    first = plans(Part.FIT, kind, speakers(), texts(), 1)[0]
    return attrs.evolve(first, line=line, **changes)


def said(seconds: float = 2.0, gap: float = 0.1) -> Said:
    """A hum that is quiet for a moment in its middle."""
    time = np.arange(round(seconds * RATE)) / RATE
    hum = 5000 * np.sin(2 * np.pi * 150 * time)
    hum[np.abs(time - seconds / 2) < gap / 2] = 0
    return Said(hum, round(seconds * RATE / 2))


@pytest.mark.parametrize("line", Line)
def test_a_hesitation_lasts_as_long_as_it_was_planned_whatever_the_line(line):
    sample = composed(said(), plan(Kind.HESITATION, line, pause=0.9))
    assert sample.pause is not None
    assert sample.pause.end - sample.pause.start == pytest.approx(0.9, abs=0.03)
    assert sample.span.start < sample.pause.start < sample.pause.end < sample.span.end
    assert sample.line == line.value


def test_a_finished_turn_has_no_pause_and_its_line_goes_on_after_it():
    sample = composed(attrs.evolve(said(), at=None), plan(Kind.FINISHED, Line.STREET))
    assert sample.pause is None
    after = np.frombuffer(sample.pcm, "<i2")[round(sample.span.end * RATE) + 400 :].astype(float)
    assert len(after) / RATE == pytest.approx(TAIL, abs=0.1)
    assert min(np.abs(half).mean() for half in np.array_split(after, 2)) > 3 * HISS


def test_what_is_drawn_out_is_longer_before_the_pause():
    held = plan(Kind.HESITATION, pause=0.9)
    plain, drawn = (attrs.evolve(held, text=attrs.evolve(held.text, drawn_out=drawl)) for drawl in (False, True))
    longer = composed(said(), drawn).pause.start - composed(said(), plain).pause.start
    assert longer > 0.05


def test_a_turn_comes_out_the_same_every_time():
    held = plan(Kind.HESITATION, Line.LOSS)
    assert composed(said(), held) == composed(said(), held)


def test_a_recorded_sentence_keeps_its_tempo_and_is_held_up_as_the_others_are():
    recording = Recording("librivox austen", "x", "y.wav", 16000, 0.0, 2.0, 1.0, "some words")
    speaker = next(speaker for speaker in speakers() if speaker.name == "librivox austen")
    made = plan_of_recording(speaker, recording, Kind.HESITATION, Line.ROOM)
    assert (made.tempo, made.pitch, made.line) == (1.0, 1.0, Line.ROOM)
    assert 0.7 <= made.pause <= 1.2
    assert plan_of_recording(speaker, recording, Kind.FINISHED, Line.ROOM).pause == 0.0


def test_every_recording_is_by_a_speaker_of_the_table_from_a_source_that_is_used():
    names = {speaker.name for speaker in speakers()}
    for recording in recordings():
        assert recording.speaker in names
        assert not SOURCES[recording.source].unused
        assert recording.start < (recording.cut or (recording.start + recording.end) / 2) < recording.end


class Voice:
    """Says a hum, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def say(self, voice: str, before: str, after: str = "", speed: float = 1.0) -> Said:
        self.asked += 1
        return said() if after else attrs.evolve(said(), at=None)


def test_what_was_said_once_is_kept_by_voice_words_and_speed(tmp_path):
    voice = Voice()
    kept = Kept(voice, tmp_path)
    first = kept.say("af_heart", "Hello", "world.", 1.0)
    again = Kept(voice, tmp_path).say("af_heart", "Hello", "world.", 1.0)
    assert voice.asked == 1
    assert (again.at, again.samples.tolist()) == (first.at, first.samples.tolist())
    for other in (
        ("af_sky", "Hello", "world.", 1.0),
        ("af_heart", "Hello world.", "", 1.0),
        ("af_heart", "A", "b", 1.1),
    ):
        kept.say(*other)
    assert voice.asked == 4
    assert kept.say("af_heart", "Hello world.", "", 1.0).at is None


def test_only_english_voices_are_taken_and_by_their_names(tmp_path):
    for name in ("af_heart", "bm_lewis", "ef_dora"):
        (tmp_path / f"{name}.bin").touch()
    assert english_voices(tmp_path) == {"kokoro heart": "af_heart", "kokoro lewis": "bm_lewis"}


def test_phonemes_that_the_network_does_not_know_are_left_out():
    assert tokens("abxc", {"a": 1, "b": 2, "c": 3}) == [1, 2, 3]


def test_the_gap_after_some_phonemes_is_read_off_their_lengths():
    # 25 ms are 200 samples of 8 kHz: silence, two phonemes, the gap, one phoneme, silence
    assert place(np.array([2.0, 1, 3, 4, 1, 2]), 2) == (1200, 2000)


def test_the_cut_is_where_it_is_quietest():
    samples = np.full(RATE, 1000.0)
    samples[4000:4100] = 0
    assert 4000 < quietest(samples, 3000, 5000) < 4100
    assert quietest(samples, 100, 110) == 105


def test_an_output_is_added_to_a_network_behind_what_it_was():
    # graph (field 7) of 14 bytes: output (12) of 12: name (1) of 10
    assert with_output(b"model", "inner name") == b"model" + b"\x3a\x0e" + b"\x62\x0c" + b"\x0a\x0ainner name"
    assert with_output(b"", "n" * 200)[:3] == b"\x3a\xce\x01"


def test_a_source_is_taken_by_the_digest_of_all_its_files(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"one")
    (tmp_path / "b.wav").write_bytes(b"two")
    (tmp_path / "c.txt").write_bytes(b"three")
    digest = listed(tmp_path, ("*.wav", "a.*"))
    source = Source("x", "Debian", "x", "1", "none", ("*.wav",), digest, "1 MB", "two words")
    source.check(tmp_path)
    (tmp_path / "b.wav").write_bytes(b"TWO")
    with pytest.raises(AnotherSource, match=digest):
        source.check(tmp_path)


async def test_a_source_that_cannot_be_had_is_named_with_what_that_leaves_out(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told: list[str] = []
    assert await fetching.bring_what_there_is(["linphone-common", "kokoro-js"], told.append) == {}
    left_out = [line for line in told if line.startswith("left out: ")]
    assert all(
        SOURCES[name].holds in line for name, line in zip(("linphone-common", "kokoro-js"), left_out, strict=True)
    )


def test_what_turns_are_made_of_can_be_fetched_without_the_rest():
    assert fetching.named(["used"]) == [name for name in SOURCES if not SOURCES[name].unused]
    assert set(fetching.named(["used"])) < set(fetching.named(["all"])) == set(SOURCES)
    assert fetching.named(["alsa-utils", "x"]) == ["alsa-utils", "x"]


def test_every_source_says_who_speaks_under_which_licence_and_when_it_was_looked_at():
    by_source = {speaker.source for speaker in speakers()}
    for source in SOURCES.values():
        assert source.version and source.licence and source.checked and len(source.sha256) == 64
        assert any(source.name.startswith(name) for name in by_source | {"kokoro"}), source.name
