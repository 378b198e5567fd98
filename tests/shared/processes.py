"""Commands in processes of their own."""

import os
import subprocess


def call(words, *importable, **options):
    """Exit status of a command, some folders being importable, and everything it printed."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("USERBENCH_")}
    variables |= {"PYTHONPATH": os.pathsep.join(map(str, importable)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    return done.returncode, done.stdout
