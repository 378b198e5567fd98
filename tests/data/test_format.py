"""Raw formats: what each file of formats/ must have, and how their raw files are found."""

import pytest

from userbench.data.format import find_file, format_names, is_named_after, load_format


@pytest.mark.parametrize("name", format_names())
def test_a_format_is_a_file_with_its_sources_and_a_reader(name):
    """If wrong: a new format fails when a corpus is read, not when its file is written."""
    module = load_format(name)
    assert callable(module.read_rows)
    assert module.SOURCES["pretrain"].tail == "none"
    for short, source in module.SOURCES.items():
        assert short == "pretrain" or source.tail in ("label", "targets")
        assert source.low <= source.high


def test_a_new_file_is_a_format(tmp_path, monkeypatch):
    """If wrong: a new format must also be entered in a list, or another file counts as one."""
    from userbench.data import format

    for name in ("__init__.py", "events.py", "notes.txt"):
        (tmp_path / name).touch()
    monkeypatch.setattr(format, "FOLDER", tmp_path)
    assert format_names() == ["events"]
    with pytest.raises(ValueError, match=r"unknown format 'ttl'\. Choose one of: events$"):
        load_format("ttl")


def test_a_config_accepts_every_format():
    """If wrong: a config refuses a format that can be read, or takes one that cannot."""
    from userbench.experiment.corpora import FORMATS

    assert format_names() == FORMATS


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("original_desen_age.csv", True),
        ("original_desen_age_3.csv", True),
        ("original_desen_age (1).csv", True),
        ("original_desen_agegroup.csv", False),
        ("my_original_desen_age.csv", False),
        ("original_desen_age.CSV", True),
        ("original_desen_age_3.csv.gz", True),
        ("original_desen_age.csv.zip", False),
        ("ORIGINAL_desen_age.csv", False),
    ],
)
def test_file_names(name, fits):
    """If wrong: a copy with a suffix is not found, or another file is taken for it."""
    assert is_named_after(load_format("ttl").SOURCES["age"], name) == fits


def test_no_name_fits_two_sources():
    """If wrong: one file would serve as two sources."""
    for name in format_names():
        sources = load_format(name).SOURCES.values()
        for source in sources:
            assert [s for s in sources if is_named_after(s, f"{source.stem}_3.csv")] == [source]


def test_what_cannot_be_found(tmp_path):
    """If wrong: a wrong path ends in a traceback, or in a file chosen at random."""
    with pytest.raises(ValueError, match="does not exist"):
        find_file(tmp_path / "nowhere", "ttl", "age")
    with pytest.raises(ValueError, match="holds no original_desen_age.csv"):
        find_file(tmp_path, "ttl", "age")
    with pytest.raises(ValueError, match="unknown format 'csv'. Choose one of: app, ttl"):
        find_file(tmp_path, "csv", "age")
    with pytest.raises(ValueError, match="no source 'height'. Choose one of: pretrain, age"):
        find_file(tmp_path, "ttl", "height")
    (tmp_path / "original_desen_age.csv").write_bytes(b"1,,1\n")
    with pytest.raises(ValueError, match="neither a folder nor a zip"):
        find_file(tmp_path / "original_desen_age.csv", "ttl", "age")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "original_desen_age_3.csv").write_bytes(b"1,,1\n")
    with pytest.raises(ValueError, match="more than one file is named.*old.*Remove all but one"):
        find_file(tmp_path, "ttl", "age")


def test_folder_instead_of_file(tmp_path):
    """If wrong: a folder that bears a file's name hides the file."""
    (tmp_path / "original_desen_age.csv").mkdir()
    (tmp_path / "original_desen_age.csv" / "original_desen_age_1.csv").write_bytes(b"1,,1\n")
    assert find_file(tmp_path, "ttl", "age").name == "original_desen_age_1.csv"
