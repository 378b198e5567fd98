"""userbench: self-supervised pre-training of user models, compared under one protocol."""

__version__ = "0.1.0"
