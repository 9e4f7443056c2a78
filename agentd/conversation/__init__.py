"""The conversation of one call, pure: events in, commands out, by tables. No clock, no I/O."""
