"""Who serves a call: the agents that are configured, and the session that one of them has with the caller."""
