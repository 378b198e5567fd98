"""Tables 1 and 2, what stands below them, and the tables beside them."""
