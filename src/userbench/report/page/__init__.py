"""The page of an experiment: everything it has found, in one HTML file."""
