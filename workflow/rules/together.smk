# Which seeds share a process: a question of the machine, so the command line or a profile answers it
# (--config seeds_together=3), not the config of an experiment.
# What is finished stays in the group that made it, whatever is asked now: Snakemake compares the
# inputs of a job as a whole, and would run it again in another company.

EACH = ["{seed}"]  # in a command, where it stands for every seed of the process
AT_ONCE = config.get("seeds_together", 1)
AT_ONCE = len(SEEDS) if AT_ONCE == "all" else AT_ONCE
WAY = config.get("together", "one-by-one")


def process_of(path, seed):
    """Seeds of the process that wrote a file; none where it is not there."""
    record = Path(f"{path}.provenance.json")
    if not (Path(path).exists() and record.exists()):
        return ()
    return tuple(json.loads(record.read_text(encoding="utf-8")).get("process_seeds", [seed]))


def groups(path):
    """The seeds by groups that share a process; `path` with {seed} is a file that each writes."""
    found = []
    for seed in SEEDS:
        group = process_of(path.replace("{seed}", str(seed)), seed)
        if group and set().union(*found).isdisjoint(group):
            found.append(group)
    left = [seed for seed in SEEDS if seed not in set().union(*found)]
    return found + [tuple(left[i : i + AT_ONCE]) for i in range(0, len(left), AT_ONCE)]


def company(path):
    """Runs by the seeds that share a process; `path` as in `groups`, with {run}."""
    found = {}
    for run in RUNS:
        for group in groups(path.replace("{run}", run)):
            if len(group) > 1:
                found.setdefault(group, []).append(run)
    return found


def seeds_of(wildcards, group):
    """Seeds of a job: those of its group, or the one of its wildcard."""
    return list(group) or [wildcards.seed]


def of_each(path, group):
    """The path for every seed of a group, or with the wildcard."""
    return [path.replace("{seed}", str(seed)) for seed in group] or [path]


def named(name, group, *where):
    """Name of the rule of a group; the one for seeds alone gives way to it."""
    if not group:
        return name
    together = "_".join([name, *where, "seeds", *map(str, group)])
    workflow.ruleorder(together, name)
    return together


def label(group):
    """Name of the log of a group."""
    return f"seeds{'-'.join(map(str, group))}" if group else "seed{seed}"
