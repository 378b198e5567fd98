"""What a test leaves out of the smoke config where its runs are others."""

STUDIES = ("frozen", "ablation", "combination", "similarity", "worlds", "labels", "fairness")
"""The keys that name runs, beside Table 2."""
