"""Which events of a log become the input of a corpus, and which are held out of it."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from userbench.data.events.core import k_core
from userbench.data.events.cut import INPUT, PART_NAMES, last_three
from userbench.data.events.sequences import Events, latest_left, present, repeats_left
from userbench.data.events.settings import CorpusSettings, HoldOut


class Selection(NamedTuple):
    """Input and held-out events with numbers of the store, and whose these are in the log."""

    input: Events
    held_out: Events
    users: Int64[np.ndarray, " users"]
    """Number in the log of user 0, 1, .. of the store."""
    items: Int64[np.ndarray, " items"]
    """Number in the log of item 1, 2, .. of the store."""
    steps: list[dict[str, Any]]
    """What each step left."""
    counts: dict[str, Any]
    """What was held out, and of whom nothing."""


def select(events: Events, settings: CorpusSettings) -> Selection:
    """Choose the events of a corpus: repeats, k-core, cut, latest ones, in this order.

    Raises:
        ValueError: too little is left, or there is nothing to hold out.
    """
    steps = [step("read", events)]

    def done(name: str, left: Events) -> Events:
        steps.append(step(name, left))
        check_left(steps)
        return left

    check_left(steps)
    if settings.repeats != "all":
        left = events.only(repeats_left(events, settings.repeats))
        events = done(f"repeats: {settings.repeats}", left)
    least = settings.min_user_events, settings.min_item_users
    if max(least) > 1:
        left = events.only(k_core(events.users, events.items, *least))
        events = done("min_user_events: {}, min_item_users: {}".format(*least), left)
    parts = last_three(events.offsets) if settings.hold_out.last else events.parts
    check_parts(np.bincount(parts, minlength=INPUT), settings.hold_out)
    events = events._replace(parts=parts)
    inputs, held_out = events.only(parts == INPUT), events.only(parts != INPUT)
    if len(held_out.users):
        inputs = done("hold_out", inputs)
    if settings.max_length is not None:
        left = inputs.only(latest_left(inputs.offsets, settings.max_length))
        inputs = done(f"max_length: {settings.max_length}", left)
    most_users, most_items = int(events.users.max()), int(events.items.max())
    users, items = present(inputs.users, most_users), present(inputs.items, most_items)
    of_known_user, in_catalogue = users[held_out.users], items[held_out.items]
    asked = held_out.only(of_known_user & in_catalogue)
    had_held_out, is_asked = (present(one.users, most_users) for one in (held_out, asked))
    counts = {
        "cut": "last" if settings.hold_out.last else "dates" if len(held_out.users) else "none",
        "events": by_part(asked),
        "items_outside_catalogue": by_part(held_out.only(of_known_user & ~in_catalogue)),
        "of_users_without_input": by_part(held_out.only(~of_known_user)),
        "users_without_input": int((had_held_out & ~users).sum()),
        "users_without_held_out": int((users & ~had_held_out).sum()),
        "users_asked_nothing": int((users & ~is_asked).sum()),
    }
    return Selection(
        renumbered(inputs, users, items),
        renumbered(asked, users, items),
        np.flatnonzero(users),
        np.flatnonzero(items),
        steps,
        counts,
    )


def step(name: str, left: Events) -> dict[str, Any]:
    """How much is left after a step."""
    return {
        "step": name,
        "events": len(left.users),
        "users": int(np.count_nonzero(np.diff(left.offsets))),
        "items": int(np.count_nonzero(present(left.items, int(left.items.max(initial=0))))),
    }


def left_by(step: dict[str, Any]) -> str:
    """What a step left, in words."""
    return "{step}: {events:,} events of {users:,} users and {items:,} items".format(**step)


def check_left(steps: list[dict[str, Any]]) -> None:
    """ValueError, with what each step left, unless there are two users and two items."""
    for what in ("users", "items"):
        if steps[-1][what] < 2:
            remedy = "Give more events" if len(steps) == 1 else "Loosen the last of these settings"
            story = "; ".join(map(left_by, steps))
            raise ValueError(f"too few {what} are left ({story}). {remedy}")


def check_parts(events: Int64[np.ndarray, " parts"], hold_out: HoldOut) -> None:
    """ValueError where no event is held out for one of the parts."""
    dates = hold_out.train_from, hold_out.validation_from, hold_out.test_from
    if hold_out.last and not events[:INPUT].any():
        raise ValueError("hold_out: last 3: no user has more than 3 events. Leave hold_out out")
    if None in dates:
        return
    for part, name in enumerate(PART_NAMES):
        if not events[part]:
            until = f" and before {dates[part + 1]}" if part + 1 < INPUT else ""
            raise ValueError(
                f"hold_out: no event that is left is from {name}_from {dates[part]} on{until}. "
                "Choose dates within the time of the log"
            )


def by_part(events: Events) -> dict[str, int]:
    """Number of events by part."""
    counts = np.bincount(events.parts, minlength=INPUT).tolist()
    return dict(zip(PART_NAMES, counts, strict=True))


def renumbered(
    events: Events, users: Bool[np.ndarray, " users"], items: Bool[np.ndarray, " items"]
) -> Events:
    """Events with places among the users that are kept, from 0, and such items, from 1."""
    user, item = (np.cumsum(kept, dtype=np.int32) for kept in (users, items))
    return events._replace(users=user[events.users] - 1, items=item[events.items])
