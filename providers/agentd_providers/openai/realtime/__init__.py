"""The OpenAI Realtime agent: the server hears, thinks and speaks."""
