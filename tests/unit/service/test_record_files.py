"""The directory of the calls' records: in memory, whole files, nobody else's."""

import os
from pathlib import Path

import pytest

from agentd.calls.record import MOST_BYTES
from agentd.service.record_files import (
    RecordFiles,
    RecordsTaken,
    RecordsUnusable,
    lives_in_memory,
)

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
25 22 0:22 / /run rw,nosuid,nodev shared:2 - tmpfs tmpfs rw,size=1600k
30 25 8:2 / /run/disk rw - ext4 /dev/sdb rw
31 22 0:30 / /mnt/with\\040space rw - tmpfs tmpfs rw
32 22 8:3 / /over rw - ext4 /dev/sdc rw
33 32 0:31 / /over rw - tmpfs tmpfs rw
a line that is none
"""


@pytest.fixture
def files(tmp_path: Path) -> RecordFiles:
    return in_memory(tmp_path)


def in_memory(path: Path, app: str = "agentd") -> RecordFiles:
    mounts = path.parent / "mounts"
    mounts.write_text(f"25 22 0:22 / {path.resolve()} rw - tmpfs tmpfs rw\n")
    return RecordFiles(path, app, mounts)


@pytest.mark.parametrize(
    ("directory", "in_memory"),
    [
        ("/run/agentd", True),
        ("/run", True),
        ("/run/disk/agentd", False),
        ("/runner", False),
        ("/var/lib/agentd", False),
        ("/mnt/with space/agentd", True),
        ("/over/agentd", True),
    ],
)
def test_whether_a_directory_lives_in_memory(directory: str, in_memory: bool) -> None:
    assert lives_in_memory(MOUNTS, directory) is in_memory


def test_a_directory_that_is_not_there_or_on_a_disk_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordsUnusable, match="No such file"):
        in_memory(tmp_path / "nowhere").open()
    mounts = tmp_path / "mounts"
    mounts.write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    with pytest.raises(RecordsUnusable, match="does not live in memory"):
        RecordFiles(tmp_path, "agentd", mounts).open()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RecordsUnusable, match="is no directory"):
        RecordFiles(tmp_path / "file", "agentd", mounts).open()


def test_a_directory_that_everybody_can_write_to_is_not_used(files: RecordFiles) -> None:
    files.directory.chmod(0o777)
    with pytest.raises(RecordsUnusable, match="everybody"):
        files.open()


def test_two_agentd_of_one_application_do_not_share_their_callers(files: RecordFiles, tmp_path: Path) -> None:
    files.open()
    with pytest.raises(RecordsTaken, match="another agentd of the application 'agentd' is alive"):
        in_memory(tmp_path).open()
    other = in_memory(tmp_path, "other")
    other.open()
    other.close()
    files.close()
    again = in_memory(tmp_path)
    again.open()
    again.close()


def test_what_was_written_is_there_for_the_next_one_and_for_nobody_else(files: RecordFiles) -> None:
    files.write("1.2", b"first")
    files.write("1.2", b"second")
    assert files.read() == {files.path("1.2"): b"second"}
    assert files.path("1.2").stat().st_mode & 0o777 == 0o600
    assert in_memory(files.directory, "other").read() == {}


@pytest.mark.parametrize("channel", ["../../etc/passwd", "a/b", "", "\x00", "x" * 5000, "\ud83d", "Ж"])
def test_any_channel_has_a_file_of_its_own_in_the_directory(channel: str, files: RecordFiles) -> None:
    files.write(channel, b"data")
    assert [path.parent for path in files.read()] == [files.directory]
    files.remove([files.path(channel), files.path("1.2")])
    assert list(files.directory.iterdir()) == []


@pytest.mark.parametrize("app", ["a*", "[a]", "a/b", "..", "agentd?"])
def test_any_application_reads_its_own_records_only(app: str, files: RecordFiles) -> None:
    mine = in_memory(files.directory, app)
    files.write("1.2", b"theirs")
    mine.write("1.2", b"mine")
    assert list(mine.read().values()) == [b"mine"]
    assert list(files.read().values()) == [b"theirs"]


def test_a_link_a_pipe_and_what_cannot_be_read_are_nothing(files: RecordFiles, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    files.path("link").symlink_to(tmp_path / "secret")
    os.mkfifo(files.path("pipe"))
    files.path("directory").mkdir()
    assert set(files.read().values()) == {b""}


def test_of_a_file_that_is_too_long_no_more_is_read_than_shows_it(files: RecordFiles) -> None:
    files.path("1.2").write_bytes(bytes(3 * MOST_BYTES))
    assert [len(data) for data in files.read().values()] == [MOST_BYTES + 1]


def test_what_was_not_finished_is_removed_and_stands_in_nobodys_way(files: RecordFiles) -> None:
    files.path("1.2").with_suffix(".new").write_bytes(b"hal")
    files.write("1.2", b"whole")
    files.path("1.3").with_suffix(".new").write_bytes(b"hal")
    assert files.read() == {files.path("1.2"): b"whole"}
    assert list(files.directory.iterdir()) == [files.path("1.2")]


def test_a_link_in_the_place_of_an_unfinished_file_is_not_followed(files: RecordFiles, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_bytes(b"untouched")
    files.path("1.2").with_suffix(".new").symlink_to(target)
    files.write("1.2", b"whole")
    assert target.read_bytes() == b"untouched"
    assert files.path("1.2").read_bytes() == b"whole"


def test_files_that_were_found_are_removed(files: RecordFiles) -> None:
    files.write("1.2", b"data")
    files.remove(files.read())
    assert files.read() == {}
