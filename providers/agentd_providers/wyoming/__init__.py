"""Wyoming, the protocol of Home Assistant's speech servers: client, and agentd's own speech server."""
