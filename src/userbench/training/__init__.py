"""What a training loop needs around its steps: saved states, optimizer, GPU, checkpoints."""
