"""So that the report names each test of the contract that was passed over, and why."""

pytest_plugins = ["agentd.testing.plugin"]
