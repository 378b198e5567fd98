"""One file per augmentation strategy: how the views of a user are made."""
