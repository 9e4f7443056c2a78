"""The parts that every vendor's agents and stages share: WebSocket, HTTP, voice, and its judgement of our key."""
