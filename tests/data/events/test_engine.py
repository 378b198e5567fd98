"""The database that sorts events, where the file system lacks what it asks for."""

import duckdb
import pytest

from userbench.data.events.engine import engine


def test_without_locks_events_are_sorted_in_memory(tmp_path, monkeypatch):
    """Wrong: on a shared file system without locks, no event log can be read."""
    connect = duckdb.connect

    def refuse_files(*path, config):
        if path:
            raise duckdb.IOException(
                f'IO Error: Could not set lock on file "{path[0]}": No locks available.'
            )
        return connect(config=config)

    monkeypatch.setattr(duckdb, "connect", refuse_files)
    with engine(tmp_path / "store", 1) as database:
        database.execute("create table events as select range as time from range(9)")
        assert database.sql("select sum(time) from events").fetchall() == [(36,)]
        ((overflow,),) = database.sql("select current_setting('temp_directory')").fetchall()
        assert overflow.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_other_refusals_of_the_disk_are_not_hidden(tmp_path, monkeypatch):
    """Wrong: a database on a full disk becomes one in memory without a word."""

    def refuse(*_, **__):
        raise duckdb.IOException("IO Error: something else")

    monkeypatch.setattr(duckdb, "connect", refuse)
    with pytest.raises(duckdb.IOException, match="something else"), engine(tmp_path / "store", 1):
        pass
