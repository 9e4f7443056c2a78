"""One call: read `call` first."""
