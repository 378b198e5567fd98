"""The check of a config, as it is done before anything runs."""


def check_config(content):
    """What is done with a config before anything runs; methods are not asked."""
    from userbench.experiment.check import read_experiment, resolve_checked

    resolve_checked(read_experiment(content, "fuzzed.yaml"), "fuzzed.yaml", asks=False)
