"""The agents that are configured, and the session that serves a call."""
