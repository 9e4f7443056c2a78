"""Turns by voices that nothing was tuned for: who speaks, what is said, on which line, and who is kept apart."""
