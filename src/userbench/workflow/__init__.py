"""What the rules of workflow/ call in Snakemake's own process."""
