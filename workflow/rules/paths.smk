# Where the data lie. Each thing that is made alone has a folder, and in it a checksums.json, which is
# equal for equal content. That small file is what other jobs take as input: Snakemake compares small
# files by content, and folders by time alone.
# Out: data/<corpus>/behaviours/, data/<corpus>/tasks/<task>/, splits/<by>/<corpus>/users/,
#      splits/<by>/<corpus>/tasks/<task>/, neighbours/<by>/<corpus>/


wildcard_constraints:
    task="|".join(map(re.escape, TASKS)),


def source_of(task):
    """The raw file that a task reads."""
    return TASKS[task].get("source", task)


def store(corpus):
    return f"{OUT}/data/{corpus}"


def splits_of(run, corpus):
    return f"{OUT}/splits/{split_of(run)}/{corpus}"


def behaviours(corpus):
    return f"{store(corpus)}/behaviours/checksums.json"


def examples(corpus):
    return [f"{store(corpus)}/tasks/{task}/checksums.json" for task in tasks_of(corpus)]


def user_split(run, corpus):
    return f"{splits_of(run, corpus)}/users/checksums.json"


def task_splits(by, corpus):
    return [f"{OUT}/splits/{by}/{corpus}/tasks/{task}/checksums.json" for task in tasks_of(corpus)]


def neighbours(run, corpus):
    return f"{OUT}/neighbours/{split_of(run)}/{corpus}/checksums.json"


def manifests(checksums):
    """Name of a corpus or task and the manifest beside its checksums, as NAME=FILE."""
    return [f"{name}={Path(path).with_name('manifest.json')}" for name, path in checksums.items()]


def held_out_data(wildcards):
    """What says who the test users are, for a run that may not pre-train on some users."""
    if not held_out(wildcards):
        return []
    return examples(wildcards.corpus) + task_splits(split_of(wildcards.run), wildcards.corpus)
