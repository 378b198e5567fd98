"""Whether every number can be traced, from the tables to the raw files."""
