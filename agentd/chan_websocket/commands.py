"""What chan_websocket is told: control messages as JSON. Pure.

Source: Asterisk 22 channels/chan_websocket.c, handle_command and process_text_message.
"""

import json

LONGEST_COMMAND = 128
"""Bytes. Asterisk drops a longer one with a warning in its log, and tells nobody else (MAX_TEXT_MESSAGE_LEN)."""


def _command(name: str, correlation_id: str = "") -> str:
    fields = {"command": name} | ({"correlation_id": correlation_id} if correlation_id else {})
    text = json.dumps(fields, separators=(",", ":"))
    if len(text) > LONGEST_COMMAND:
        raise ValueError(f"Asterisk takes commands of {LONGEST_COMMAND} bytes, not {text!r:.200}")
    return text


def mark_media(correlation_id: str) -> str:
    """Have Asterisk tell when the frame that is sent next begins to be heard. Marks take no room in its queue."""
    return _command("MARK_MEDIA", correlation_id)


FLUSH_MEDIA = _command("FLUSH_MEDIA")
"""Drop what waits in the queue, marks too, which then report nothing. A queue that is paused stays paused."""
CONTINUE_MEDIA = _command("CONTINUE_MEDIA")
"""Play on after a pause."""
REPORT_QUEUE_DRAINED = _command("REPORT_QUEUE_DRAINED")
"""Have Asterisk tell, once, when a frame is due and its queue is empty."""
HANG_UP = _command("HANGUP")
"""Hang up the channel."""
