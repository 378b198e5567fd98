"""Which events of a log are kept: each step against a slow version, on any events."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_corpus import Row, slow_corpus, without_repeats

from userbench.data import ragged
from userbench.data.events import sequences
from userbench.data.events.core import k_core
from userbench.data.events.sequences import Events

# (user, item), few enough to meet again.
LOGS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=40)


def events_of(log: list[tuple[int, int]]) -> Events:
    """Events by user, in the order of the log."""
    users, items = np.array(sorted(log, key=lambda one: one[0]), np.int32).T
    n = len(log)
    return Events(users, items, np.zeros(n, bool), np.full(n, 3, np.uint8))


def pairs(events: Events) -> list[tuple[int, int]]:
    """User and item of each event."""
    return list(zip(events.users.tolist(), events.items.tolist(), strict=True))


@given(LOGS, st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_k_core_is_what_slow_rounds_leave(log, min_user_events, min_item_users):
    """Wrong: a user or item stays with too few, or is left out for a count that is no longer so."""
    events = events_of(log)
    left = events.only(k_core(events.users, events.items, min_user_events, min_item_users))
    rows = [Row(user, item, 0, place) for place, (user, item) in enumerate(pairs(events))]
    slow = slow_corpus(rows, "all", min_user_events, min_item_users)
    expected = [
        (user, item) for user, own in zip(slow.users, slow.sequences, strict=True) for item in own
    ]
    assert pairs(left) == expected


def test_k_core_takes_a_long_chain_apart_by_its_ends(monkeypatch):
    """Wrong: as many rounds as users look at all events each, which never ends in a large log."""
    looked_at = []
    places = ragged.places

    def counted(offsets, rows):
        looked_at.append(len(rows))
        return places(offsets, rows)

    monkeypatch.setattr(ragged, "places", counted)
    n = 300  # user u has items u and u + 1; the ends have one user each
    users = np.repeat(np.arange(n, dtype=np.int32), 2)
    items = (np.stack([np.arange(n), np.arange(n) + 1], 1).reshape(-1) + 1).astype(np.int32)
    assert not k_core(users, items, 2, 2).any()
    assert sum(looked_at) == n + n + 1  # each user and each item once


@pytest.mark.parametrize("repeats", ["all", "first", "last", "consecutive"])
@given(log=LOGS, at_once=st.sampled_from([1, 5, 1 << 22]))
@settings(max_examples=60, deadline=None)
def test_repeats_are_those_of_a_slow_version(repeats, log, at_once):
    """Wrong: another event of an item stays, or blocks of events change which."""
    events = events_of(log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequences, "ITEMS_AT_ONCE", at_once)
        left = events.only(sequences.repeats_left(events, repeats))
    expected = []
    for user in sorted({user for user, _ in log}):
        own = [Row(user, item, 0, 0) for one, item in pairs(events) if one == user]
        expected += [(user, row.item) for row in without_repeats(own, repeats)]
    assert pairs(left) == expected


@given(LOGS, st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_the_latest_events_of_each_user_are_kept(log, most):
    """Wrong: the oldest are kept, or those of a neighbouring user."""
    events = events_of(log)
    left = events.only(sequences.latest_left(events.offsets, most))
    expected = []
    for user in sorted({user for user, _ in log}):
        expected += [pair for pair in pairs(events) if pair[0] == user][-most:]
    assert pairs(left) == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 3)), min_size=1))
@settings(max_examples=60, deadline=None)
def test_ties_and_duplicated_rows_are_counted(log):
    """Wrong: the manifest says less, or more, of what the order of the file decides."""
    log = sorted(log, key=lambda one: one[:2])
    users, times, items = np.array(log, np.int32).T
    tied = np.append(False, (users[1:] == users[:-1]) & (times[1:] == times[:-1]))
    events = Events(users, items, tied, np.full(len(log), 3, np.uint8))
    own_times = [one[:2] for one in log]
    assert sequences.tied_events(events) == sum(own_times.count(one) > 1 for one in own_times)
    assert sequences.duplicated_rows(events) == len(log) - len(set(log))
