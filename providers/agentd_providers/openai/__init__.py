"""OpenAI and whoever speaks its protocols: Realtime, chat, and speech for pipelines."""
