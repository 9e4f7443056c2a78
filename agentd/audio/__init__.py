"""Audio on its way between the line and the engines: pure functions and small machines, no I/O, no trio.

Throughout, *slin* is signed 16-bit little-endian mono PCM, as AudioSocket carries it.
"""
