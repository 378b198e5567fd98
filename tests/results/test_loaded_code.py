"""Checksums of the sources that a process has loaded."""

import sys

from repository import ROOT


def test_packages_that_are_loaded_are_named_with_their_data_files():
    """Wrong: an edited module or template is in no record, or one that is not used is."""
    import userbench.experiment.ledger  # noqa: F401
    from userbench.results.loaded_code import code_digest, loaded_code

    found = loaded_code()
    source = "userbench/experiment/ledger.py"
    assert found[source] == code_digest(ROOT / "src" / source)
    assert "userbench/experiment/ledger.yaml" in found
    loaded = "userbench.data.events.inspect" in sys.modules
    assert loaded == ("userbench/data/events/inspect/config.yaml.j2" in found)


def test_methods_from_elsewhere_are_named_as_they_were_loaded(tmp_path, monkeypatch):
    """Wrong: an edit of one's own method or view is not seen, or of code that did not run yet."""
    from userbench.results.loaded_code import OWN, loaded_code
    from userbench.view import load_part

    package = tmp_path / "adopted_own"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "views.py").write_text("KIND = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    load_part("view", "adopted_own.views")
    try:
        first = loaded_code()["adopted_own/views.py"]
        assert "adopted_own/__init__.py" in loaded_code()
        (package / "views.py").write_text("KIND = 2\n")
        assert loaded_code()["adopted_own/views.py"] == first
    finally:
        OWN.discard("adopted_own")
        for name in ("adopted_own", "adopted_own.views"):
            del sys.modules[name]
