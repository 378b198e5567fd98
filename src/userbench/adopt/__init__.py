"""Results that were moved: what of them is current here, and marking it so for Snakemake."""
