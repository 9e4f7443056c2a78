"""Commands to chan_websocket: JSON that Asterisk takes, and never longer than it takes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.chan_websocket import commands


@pytest.mark.parametrize(
    "command, name",
    [
        (commands.FLUSH_MEDIA, "FLUSH_MEDIA"),
        (commands.CONTINUE_MEDIA, "CONTINUE_MEDIA"),
        (commands.REPORT_QUEUE_DRAINED, "REPORT_QUEUE_DRAINED"),
        (commands.HANG_UP, "HANGUP"),
    ],
)
def test_a_command_is_an_object_with_its_name(command: str, name: str) -> None:
    assert json.loads(command) == {"command": name}
    assert len(command) <= commands.LONGEST_COMMAND


@given(st.integers(0, 1 << 63), st.integers(0, 1 << 63))
def test_the_mark_of_any_frame_fits_into_a_command(flushes: int, number: int) -> None:
    mark = f"{flushes}.{number}"
    command = commands.mark_media(mark)
    assert json.loads(command) == {"command": "MARK_MEDIA", "correlation_id": mark}
    assert len(command.encode()) <= commands.LONGEST_COMMAND


def test_a_command_that_asterisk_would_drop_with_a_warning_in_its_log_alone_is_not_made() -> None:
    with pytest.raises(ValueError, match="Asterisk takes commands of 128 bytes"):
        commands.mark_media("m" * 100)
