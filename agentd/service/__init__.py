"""The parts that run for as long as the daemon does, and how they are laid down on a host."""
