# Table of contents: `snakemake --cores 8 results/table2.csv` makes the table of the default config,
# `--configfile workflow/config/<other>.yaml` that of another experiment.
from snakemake.utils import min_version

min_version("9.19")

# Why: `configfile:` and --configfile would be merged, and two experiments mixed.
if "corpora" not in config:

    configfile: "workflow/config/default.yaml"


# Why: the limit of profiles/default is that of one machine, not of a cluster.
resource_scopes:
    gpu="local",


report: "workflow/report/workflow.rst"


include: "workflow/rules/config.smk"
include: "workflow/rules/paths.smk"
include: "workflow/rules/code.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/alone.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/events.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/similarity.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/statistics.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/page.smk"


if CONFIG.frozen:

    include: "workflow/rules/frozen.smk"


rule all:
    """Every table and figure that the config asks for."""
    default_target: True
    input:
        [f"results/{name}" for name in (*PUBLISHED, *FAIRNESS, *FROZEN_TABLES, *DRAWN)],
