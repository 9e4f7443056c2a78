"""Model files: which there are, and how they come onto this host."""
