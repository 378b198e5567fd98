"""`make install`: an environment that is not whole is made anew before it is used."""

import os
import shutil
import subprocess

import pytest
from repository import ROOT

# A Python that does nothing but write down what it is asked for.
FAKE = """#!/bin/sh
version={version}
case "$1" in
-c) test $version -ge 11 && echo "3 $version" ;;
-m) case "$2" in
    venv) echo "venv $version" >> calls; mkdir -p "$3/bin"; touch "$3/pyvenv.cfg"
          test -e no-ensurepip && exit 1
          cp "$0" "$3/bin/python"
          printf "#!$PWD/$3/bin/python\n" > "$3/bin/pip"; chmod +x "$3/bin/pip" ;;
    pip) echo "pip" >> calls
         test ! -e killed || kill -9 $PPID ;;
    esac ;;
esac
"""


@pytest.fixture
def folder(tmp_path):
    """The Makefile beside Pythons 3.10, 3.11 and 3.12."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for version in (10, 11, 12):
        python = tmp_path / f"python3.{version}"
        python.write_text(FAKE.format(version=version))
        python.chmod(0o755)
    (tmp_path / "python3").symlink_to("python3.11")
    return tmp_path


def install(folder, *words):
    """What an installation asked of Python, and the end of what it said."""
    (folder / "calls").write_text("")
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "VENV", "MAKEFLAGS")}
    variables["PATH"] = f"{folder}:{os.environ['PATH']}"
    run = subprocess.run(
        ["make", "install", *words], cwd=folder, env=variables, capture_output=True, text=True
    )
    return (folder / "calls").read_text().split("\n")[:-1], run.stdout + run.stderr


MADE = ["venv 11", "pip", "pip"]


def test_a_whole_environment_is_left_alone(folder):
    """If wrong: each call of make installs everything again."""
    assert install(folder)[0] == MADE
    assert install(folder)[0] == []
    (folder / "requirements.lock").write_text("other==1\n")
    assert install(folder)[0] == ["pip", "pip"]
    # A Python that is too old, and not asked for, is none of its business.
    (folder / "python3").unlink()
    assert install(folder)[0] == []


def test_an_environment_without_pip_is_made_anew(folder):
    """If wrong: once ensurepip was missing, "No module named pip" for ever."""
    (folder / "no-ensurepip").touch()
    assert install(folder)[0] == ["venv 11"]
    (folder / "no-ensurepip").unlink()
    calls, said = install(folder)
    assert calls == MADE and ".venv is not whole" in said


def test_an_environment_that_was_moved_is_made_anew(folder):
    """If wrong: "bad interpreter", because its programs call the Python of the former folder."""
    install(folder)
    moved = folder.with_name("moved")
    folder.rename(moved)
    assert install(moved)[0] == MADE
    moved.rename(folder)


def test_an_interrupted_installation_is_made_anew(folder):
    """If wrong: a package that is half there counts as installed."""
    (folder / "killed").touch()
    install(folder)
    (folder / "killed").unlink()
    assert install(folder)[0] == MADE
    assert install(folder)[0] == []


def test_the_python_that_is_asked_for_is_used(folder):
    """If wrong: PYTHON=python3.12 goes on with the environment of another one."""
    assert install(folder)[0] == MADE
    assert install(folder, "PYTHON=python3.12")[0] == ["venv 12", "pip", "pip"]
    assert install(folder, "PYTHON=python3.12")[0] == install(folder)[0] == []
    calls, said = install(folder, "PYTHON=python3.10")
    assert calls == [] and "python3.10 is no Python of 3.11 or later. Name one: make" in said
    assert install(folder)[0] == []


def test_another_folder_is_not_deleted(folder):
    """If wrong: `make VENV=..` deletes a folder of data."""
    (folder / "data").mkdir()
    (folder / "data/file").touch()
    calls, said = install(folder, "VENV=data")
    assert calls == [] and "data is no virtual environment. Delete it, or name another" in said
    assert (folder / "data/file").exists()
