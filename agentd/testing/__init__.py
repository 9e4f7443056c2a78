"""For who tests a provider: the telephone, and what it needs of a PBX in memory."""
