"""The Deepgram Voice Agent: the vendor hears, thinks and speaks."""
