"""What all figures share: inputs, marks, style, and the command."""
