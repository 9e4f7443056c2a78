"""The lines of a play as turns: their archive, the table, and how a cut is told to be a hesitation or not."""

import io
import struct

import numpy as np
import pytest
import soundfile

from tests.lab.voices.conditions import RATE
from tests.lab.voices.dialogues import HERO, OTHERS, Dialogue, dialogues, read_archive, speaker_of, written
from tests.lab.voices.find_dialogues import follow, in_no_order, kind_at
from tests.lab.voices.split import Part, speakers
from tests.lab.voices.texts import Kind


def an_archive(*files: tuple[str, bytes]) -> bytes:
    """As ScummVM's `compress_queen` writes it."""
    at = 15 + 21 * len(files)
    table = b""
    for name, sound in files:
        table += struct.pack(">12sBII", name.encode(), 1, at, len(sound))
        at += len(sound)
    heading = b"QTBLCEM10" + bytes(3) + struct.pack(">BH", 1, len(files))
    return heading + table + b"".join(sound for _, sound in files)


def tone(seconds: float) -> bytes:
    samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 11025)) / 11025)
    file = io.BytesIO()
    soundfile.write(file, samples, 11025, format="MP3")
    return file.getvalue()


def test_a_line_is_read_from_the_archive_as_8_khz():
    archive = read_archive(an_archive(("010001J1.SB", tone(0.5)), ("APE.ACT", b"pictures"), ("010001P1.SB", tone(1.5))))
    assert archive.lines == ["010001J1.SB", "010001P1.SB"]
    samples = archive.samples("010001P1.SB")
    assert len(samples) / RATE == pytest.approx(1.5, abs=0.15)  # MP3 pads
    assert 10_000 < np.abs(samples).max() < 20_000


@pytest.mark.parametrize("sound", [b"QTBLPEM10" + bytes(20), b"QTBLCEM10" + bytes(3) + b"\x02\0\0"])
def test_another_archive_is_refused(sound: bytes):
    with pytest.raises(ValueError, match="expected it to begin with b'QTBLCEM10' and coding 1"):
        read_archive(sound, "queen.1c")


@pytest.mark.parametrize(
    ("file", "speaker"),
    [("JOE04691.SB", HERO), ("3100D2J1.SB", HERO), ("3100D2P1.SB", OTHERS), ("C69G_332.SB", OTHERS)],
)
def test_the_hero_is_told_by_the_names_of_his_files(file: str, speaker: str):
    assert speaker_of(file) == speaker


@pytest.mark.parametrize(
    ("whole", "before", "kind"),
    [
        ("I'm a pilot for hire.", "I'm a pilot,", Kind.HESITATION),
        ("If you get me out, I will pay.", "If you get me out.", Kind.GOES_ON),
        ("I got the skull. Now let them go.", "I got the skull.", Kind.GOES_ON),
        ("You can file that under no good.", "You can fly", None),
        ("He left.", "He left.", None),
        ("Stop it now.", "Stop", None),
    ],
)
def test_a_mark_of_the_transcriber_tells_a_hesitation_from_a_sentence_that_goes_on(whole: str, before: str, kind: Kind):
    assert kind_at(whole, before) is kind


def test_files_that_differ_in_the_last_digit_follow_each_other():
    files = ["010001J1.SB", "010001J2.SB", "010001J4.SB", "010002J1.SB", "C41B_742.SB", "C41B_743.SB", "C41B_7SS.SB"]
    assert list(follow(files)) == [("010001J1.SB", "010001J2.SB"), ("C41B_742.SB", "C41B_743.SB")]


def test_a_table_comes_back_as_it_was_written(tmp_path):
    rows = [Dialogue(HERO, Kind.FINISHED, None, ("a.SB",)), Dialogue(OTHERS, Kind.GOES_ON, 1.25, ("b.SB", "c.SB"))]
    table = tmp_path / "dialogues.tsv"
    table.write_text(written(rows))
    assert dialogues(table) == rows


def test_any_beginning_of_the_list_is_a_fair_share():
    rows = [Dialogue(OTHERS, Kind.FINISHED, None, (f"{number:06}P1.SB",)) for number in range(200)]
    first = [int(row.files[0][:6]) for row in in_no_order(rows)[:40]]
    assert 70 < sum(first) / 40 < 130
    assert in_no_order(reversed(rows)) == in_no_order(rows)


def test_the_third_part_has_none_of_the_play():
    parts = {speaker.name: speaker.part for speaker in speakers()}
    found = dialogues()
    assert {(row.speaker, parts[row.speaker]) for row in found} == {(HERO, Part.CHOOSE), (OTHERS, Part.FIT)}
    assert all(speaker_of(file) == row.speaker for row in found for file in row.files)
    assert all((row.cut is None) == (row.kind is Kind.FINISHED) for row in found)
