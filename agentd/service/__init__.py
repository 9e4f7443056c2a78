"""What runs for as long as the daemon does, and how it is laid down on a host."""
