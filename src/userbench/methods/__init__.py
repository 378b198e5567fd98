"""One file per pre-training method, named after its paper's method."""
