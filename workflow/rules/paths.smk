# Where the data lie. Each thing that is made alone has a folder, and in it a checksums.json, which is
# equal for equal content. That small file is what other jobs take as input: Snakemake compares small
# files by content, and folders by time alone.
# In:  the raw folder or zip of a corpus
# Out: data/<corpus>/behaviours/, data/<corpus>/tasks/<task>/, splits/<by>/<corpus>/users/,
#      splits/<by>/<corpus>/tasks/<task>/, neighbours/<by>/<corpus>/


wildcard_constraints:
    task="|".join(map(re.escape, TASKS)),


# Of real data, what is known of large files; not a result, so not in results/.
REMEMBERED = ".snakemake/raw-checksums.json"


def simulated_raw(wildcards):
    """The simulated folder. Real data are no input, their content is a param: `raw_content`."""
    return [f"{OUT}/raw/{wildcards.corpus}"] if is_simulated(wildcards.corpus) else []


def raw_path(corpus):
    return RAW.get(corpus) or f"{OUT}/raw/{corpus}"


def raw_content(corpus, source, made):
    """What a reader finds in the raw file of a source, wherever it lies; `made` is its output.

    Of simulated data nothing: their folder is an input.
    """
    # Why: only this process compares it with that of the last run, and large files take a while.
    if corpus not in RAW or not workflow.is_main_process:
        return ""
    from userbench.data import raw_content as reader

    told = CORPORA[corpus]
    allowed = told.get("max_bad_rows", 0), told.get("sha256", {})
    try:
        return reader.raw_content(
            Path(RAW[corpus]), told["format"], source, Path(made), *allowed, Path(REMEMBERED)
        )
    except ValueError as error:
        raise wrong(f"corpora.{corpus}", error)


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
