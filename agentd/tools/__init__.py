"""Tools: what an agent's model may do beside speaking (end the call, transfer it, ask a service)."""
