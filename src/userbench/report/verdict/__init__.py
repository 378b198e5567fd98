"""Which values of the paper are reproduced."""
