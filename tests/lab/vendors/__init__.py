"""Fakes of vendors that are true: loopback servers that keep to the published protocols, and fail on demand."""
