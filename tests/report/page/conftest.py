from functools import cache

import pytest
from experiment_tree import HOSTILE, add_results, make_page, write_tree


@pytest.fixture(scope="module")
def command():
    from userbench.report.page import command

    return command


@pytest.fixture(scope="module")
def reports(command, tmp_path_factory):
    """Two experiments side by side, the texts of one of them hostile: folder, and pages by name."""
    from userbench.results import artifact

    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Why: each of a hundred records would ask git thrice.
        patch.setattr(artifact, "environment", cache(artifact.environment))
        texts = {}
        for name, label in (("first", HOSTILE), ("second", "AdaptSSR")):
            tree = write_tree(name, label)
            if name == "first":
                add_results(tree)
            texts[name] = make_page(command, tree)
    return folder, texts
