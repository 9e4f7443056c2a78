"""`agentd speech-server`: this host's speech engines, lent to other hosts over Wyoming."""
