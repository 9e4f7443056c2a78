"""A parrot for agentd: an agent that says back what it hears (agent), and a voice that whistles (stage)."""
