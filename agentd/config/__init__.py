"""The configuration: what a setting is (schema), which there are (settings), the file, its sample, and secrets."""
