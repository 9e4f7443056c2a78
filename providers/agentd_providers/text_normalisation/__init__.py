"""Text normalisation: from text as it is written to text as it is spoken."""
