"""The test laboratory: a private Asterisk, a SIP caller, recorded speech, and the measuring of calls.

Used by the end-to-end tests, the benchmarks and the demo; nothing here is part of the daemon.
"""
