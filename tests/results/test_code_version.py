"""The commit in provenance records, and why it is not known where git could not answer."""

import subprocess

import pytest

from userbench.results import code_version


@pytest.fixture
def checkout(tmp_path):
    """A commit of one file."""
    (tmp_path / "code.py").touch()
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (["init", "-q"], ["add", "code.py"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    return tmp_path / "code.py"


def state_of(file):
    return code_version.git_state.__wrapped__(file)


def test_the_commit_and_its_changes(checkout):
    found = state_of(checkout)
    assert len(found["commit"]) == 40 and not found["changed"]
    checkout.write_text("a = 1\n")
    assert state_of(checkout) == {**found, "changed": True}


def test_outside_a_checkout_nothing_is_recorded(checkout):
    """Installed into an environment below somebody else's checkout, too."""
    installed = checkout.parent / "lib/code.py"
    installed.parent.mkdir()
    installed.touch()
    assert state_of(installed) == {}
    assert state_of(checkout.parent.parent / "code.py") == {}


def test_git_that_is_missing_is_not_a_missing_checkout(checkout, tmp_path, monkeypatch):
    """If wrong: on a node without git, results look as if made outside a checkout."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    found = state_of(checkout)
    assert found == {"unknown": "git cannot be run here (No such file or directory)"}


def test_git_that_refuses_is_not_a_missing_checkout(checkout, monkeypatch):
    """If wrong: in a clone of another user (safe.directory), results give no commit, no reason."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    assert "git ls-files: fatal: detected dubious ownership" in state_of(checkout)["unknown"]


def test_a_status_that_failed_is_not_an_unchanged_tree(checkout, monkeypatch):
    """If wrong: "changed" is false because git could not look."""
    ask = code_version.git

    def fails(here, *words):
        if words[0] == "status":
            (here.parent / ".git/index").write_bytes(b"damaged")
        return ask(here, *words)

    monkeypatch.setattr(code_version, "git", fails)
    found = state_of(checkout)
    assert len(found["commit"]) == 40 and "changed" not in found
    assert "git status: " in found["unknown"]
