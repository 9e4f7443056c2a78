"""Playback: bringing the agent's utterances to the caller. One contract, several ways (see `contract`)."""
