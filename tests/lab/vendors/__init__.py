"""Fakes of vendors that are true: real loopback servers that keep to the published order of messages, and fail on demand."""
