"""What chance can explain of a difference, over seeds and over test users."""
