"""What a run of the workflow will cost, measured before it starts."""
