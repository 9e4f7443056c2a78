"""AudioSocket: Asterisk's TCP protocol for one call's audio. frames -> connection -> listener."""
