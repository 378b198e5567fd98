"""Tensor code: the encoder, augmentations, losses, heads and metrics."""
