"""Raw files to arrays, and arrays to batches."""
