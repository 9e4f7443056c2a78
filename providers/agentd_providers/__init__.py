"""The agents that agentd can be given: each provider meets the contract of agentd.agent."""
