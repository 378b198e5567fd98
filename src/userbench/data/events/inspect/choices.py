"""What a config for a log chooses, from the counts of the log: what is kept, and sizes.

The sizes are those of a first table, four rows within ten minutes on two cores for 3,000 users.
"""

from typing import NamedTuple

import numpy as np

from userbench.data.events.inspect.counts import Counts

MOST_LOST = 0.2  # share of users or events that a k-core may cost
HELD_OUT = 3
LARGE = 20_000  # users, from which on an encoder of twice the size is worth its time
EXACT_SOFTMAX = 20_000  # items


class Choice(NamedTuple):
    """A value, and why it was chosen."""

    value: object
    why: str


def k_core(counts: Counts) -> dict[str, Choice]:
    """How many events a user and how many users an item must have."""
    users = largest(lambda k: float((counts.lengths < k).mean()), [5, 2])
    item_events = counts.item_events
    items = largest(lambda k: float(item_events[item_events < k].sum() / counts.events), [5, 2])
    short = (counts.lengths < users).mean()
    rare = (item_events < items).mean()
    return {
        "min_user_events": Choice(users, f"{short:.1%} of the users have fewer events"),
        "min_item_users": Choice(items, f"about {rare:.1%} of the items have fewer users"),
    }


def largest(lost, candidates: list[int]) -> int:
    """The first candidate that costs little, else 1."""
    return next((k for k in candidates if lost(k) <= MOST_LOST), 1)


def hold_out(counts: Counts) -> Choice:
    """Whether everybody's last events are asked for."""
    long_enough = float((counts.lengths >= HELD_OUT + 2).mean())
    why = f"{long_enough:.0%} of the users have {HELD_OUT + 2} events or more"
    return Choice({"last": HELD_OUT} if long_enough >= 0.5 else None, why)


def repeats(counts: Counts) -> Choice:
    """Which of a user's events with the same item are kept."""
    if counts.consecutive >= 0.1:
        return Choice("consecutive", f"{counts.consecutive:.0%} repeat the item just before")
    return Choice("all", f"{counts.repeats:.1%} have an item that the user had before")


def sizes(counts: Counts) -> dict[str, Choice]:
    """Sizes of the encoder and lengths of the trainings."""
    long = int(np.quantile(counts.lengths, 0.9))
    length = min(50, max(10, -(-long // 10) * 10))
    is_large = counts.users >= LARGE
    batch = 128 if is_large else 32
    steps = max(1, round(0.9 * counts.users / batch))
    epochs = min(20, max(2, round(1000 / steps)))
    return {
        "length": Choice(length, f"nine of ten users have at most {long:,} events; 50 at most"),
        "dim": Choice(64 if is_large else 32, f"{counts.users:,} users"),
        "layers": Choice(2 if is_large else 1, ""),
        "batch": Choice(batch, ""),
        "epochs": Choice(epochs, f"about {epochs * steps:,} steps of {batch} users"),
        "finetune_epochs": Choice(3 if is_large else 8, "validation chooses the best of them"),
        "lr": Choice(
            "1.0e-3" if is_large else "4.0e-3", "higher than the paper's, for so few steps"
        ),
        "negatives": Choice(
            1024 if counts.items > EXACT_SOFTMAX else None,
            f"a softmax over all {counts.items:,} items would take longer than everything else",
        ),
    }
