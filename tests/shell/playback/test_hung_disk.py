"""A media disk that does not answer: on the real clock, which goes on while a thread works."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from agentd.agent import Audio
from agentd.errors import MediaUnwritable
from agentd.metrics import Metrics
from agentd.playback import file as playback_module
from agentd.playback.contract import Announcement
from agentd.playback.directory import MediaDirectory
from agentd.playback.file import FilePlayback, takes_files

PATIENCE = 60.0
"""Real seconds until a test that hangs is given up."""


async def test_it_holds_up_no_call_and_what_it_writes_later_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playback_module, "WRITE_DEADLINE", 0.05)
    answers, write, written = threading.Event(), MediaDirectory.write, list[Path]()

    def late(self: MediaDirectory, path: Path, pcm: bytes) -> None:
        answers.wait(PATIENCE)
        write(self, path, pcm)
        written.append(path)

    monkeypatch.setattr(MediaDirectory, "write", late)
    channel: Any = SimpleNamespace(client=SimpleNamespace(leg_id=lambda *parts: "-".join(parts)))
    directory, metrics = MediaDirectory(tmp_path, "agentd"), Metrics()
    playback = FilePlayback(channel, directory, metrics)
    try:
        with trio.fail_after(PATIENCE):
            with pytest.raises(MediaUnwritable, match="its disk does not answer"):
                await playback.announce(Announcement(audio=(Audio(0, 0, bytes(320), 8000),)))
            assert "does not answer" in directory.trouble
            assert metrics.registry.get_sample_value("agentd_media_write_failures_total", {"reason": "hung"}) == 1
            assert not await takes_files(directory), "whether it answers again is not waited for either"
            answers.set()
            while len(written) < 2 or any(tmp_path.iterdir()):
                await trio.sleep(0.01)
            assert not directory.trouble
    finally:
        answers.set()
