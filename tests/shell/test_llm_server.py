"""The embedded language model's server: started, watched, started again."""
