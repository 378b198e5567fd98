"""Cosines of user vectors with three tiers: an implicit view, explicit views, and other users."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from userbench.model.encoder import UserVectors


class Tiers(NamedTuple):
    """Cosines of each user, the anchor, with the three tiers; in `others`, -inf for own views."""

    implicit: Float[Tensor, " users"]
    explicit: Float[Tensor, "2 users"]
    others: Float[Tensor, "negatives users"]


def tiers_of(anchor: UserVectors, again: UserVectors, explicit: Sequence[UserVectors]) -> Tiers:
    """The cosines of unit vectors; `again` is the anchor's implicit view.

    Of other users, all of these views are compared with the anchor.
    """
    itself = torch.eye(len(anchor), dtype=torch.bool, device=anchor.device)
    others = [
        (view @ anchor.T).masked_fill(itself, -torch.inf) for view in (anchor, again, *explicit)
    ]
    return Tiers(
        (anchor * again).sum(-1),
        torch.stack([(anchor * view).sum(-1) for view in explicit]),
        torch.cat(others),
    )
