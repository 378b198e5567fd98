"""What is on disk afterwards: atomic files with provenance, predictions, scores."""
