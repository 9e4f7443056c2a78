"""The local agent: its engines, its model files, and their assembly into an agent."""
