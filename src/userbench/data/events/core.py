"""k-core: users with enough events of items with enough users, both counted among what is left."""

import numpy as np
from jaxtyping import Bool, Int32, Int64

from userbench.data import ragged
from userbench.data.events.sequences import first_of_each


def k_core(
    users: Int32[np.ndarray, " events"],
    items: Int32[np.ndarray, " events"],
    min_user_events: int,
    min_item_users: int,
) -> Bool[np.ndarray, " events"]:
    """Which events are left when no user has fewer events, and no item fewer users; users ascend.

    Each round looks at the events of users and items that have just become too few, so that it
    takes no longer where one leaves after the other.
    """
    kept = np.ones(len(users), bool)
    is_first = first_of_each(users, items)
    events_of_user, users_of_item = np.bincount(users), np.bincount(items[is_first])
    of_user, of_item = ragged.offsets_of(events_of_user), None
    few_users = np.flatnonzero((events_of_user > 0) & (events_of_user < min_user_events))
    few_items = np.flatnonzero((users_of_item > 0) & (users_of_item < min_item_users))
    while len(few_users) or len(few_items):
        gone = ragged.places(of_user, few_users)
        gone = gone[kept[gone]]
        kept[gone] = False
        few_items = np.concatenate(
            [few_items, fewer(users_of_item, items[gone[is_first[gone]]], min_item_users)]
        )
        if of_item is None and len(few_items):
            by_item = np.argsort(items).astype(np.int32)
            of_item = ragged.offsets_of(np.bincount(items))
        few_users = few_items[:0]
        if len(few_items):
            gone = by_item[ragged.places(of_item, few_items)]
            gone = gone[kept[gone]]
            kept[gone] = False
            few_users = fewer(events_of_user, users[gone], min_user_events)
            few_items = few_items[:0]
    return kept


def fewer(
    counts: Int64[np.ndarray, " all"], lost: Int32[np.ndarray, " events"], least: int
) -> Int64[np.ndarray, " few"]:
    """Take one from the count of each of the lost; those that fall below `least` by it."""
    owners, numbers = np.unique(lost, return_counts=True)
    before = counts[owners]
    counts[owners] = before - numbers
    return owners[(before >= least) & (before - numbers < least)].astype(np.int64)
