"""What is run: every key of a config, once, and what a config implies."""
