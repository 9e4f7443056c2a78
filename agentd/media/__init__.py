"""A leg of the call, whatever transport carries it: what a leg is, the caller's audio leg after leg, and DTMF."""
