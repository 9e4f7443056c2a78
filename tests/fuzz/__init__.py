"""Fuzzing: whatever bytes a peer sends, its parser gives a value or an error of ours, in bounded time and memory."""
