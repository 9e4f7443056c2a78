"""What agents and stages of any vendor share: its WebSocket, its HTTP, its voice, and what it says of our key."""
