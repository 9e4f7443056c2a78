"""Deepgram: the Voice Agent, and speech to text and text to speech for pipelines."""
