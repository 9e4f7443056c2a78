"""ARI, the Asterisk REST Interface: events -> rest -> client -> channel."""
