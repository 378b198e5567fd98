"""A user and another user of the same last item (DuoRec, Qiu et al., WSDM 2022).

Users with the same last item had the same intent, so what they did before it should be alike.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from userbench.data.store import Batch, BehaviourStore
from userbench.model.augment import Uniform, below, drop_last, lengths_of
from userbench.model.encoder import UserEncoder
from userbench.model.kernels.language import used_for
from userbench.model.kernels.same_target import same_target_views
from userbench.view import Pair, ViewOptions, Views


@dataclass(frozen=True)
class Options(ViewOptions):
    """No options.

    Deviation: the authors' code makes a sample of every prefix of a sequence and its next item;
    here a user is one sample, the last item the target.
    """

    kind: str = field(default="same_target", init=False)

    def build(self, encoder: UserEncoder) -> Views:
        """The same views for every encoder."""
        return SameTarget()


class SameTarget(Views):
    """What a user and a partner, drawn among the others with the same last item, did before it.

    Where nobody else has that item, both views are the user's own, as in the authors' code; then
    only dropout makes them differ. The target is in neither view: the pair would be trivially
    similar.
    """

    partnered: Float[Tensor, ""]
    """Share of users of the last batch that had a partner."""

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Sort the training users by last item."""
        self.store = store
        # Why: without its target, nothing is left of a sequence of one behaviour to be a view.
        partners = users[store.lengths[users] > 1]
        targets = store.items[store.offsets[partners + 1] - 1]
        order = targets.argsort(stable=True)
        # Users of item t are members[first[t] : first[t] + counts[t]]. One more place, never drawn,
        # can be read for a user without a partner.
        self.members = F.pad(partners[order].int(), (0, 1))
        self.counts = targets.bincount(minlength=store.n_items + 1)
        self.first = self.counts.cumsum(0) - self.counts
        places = torch.arange(len(order), device=users.device)
        self.rank = torch.full((store.n_users,), -1, dtype=torch.int32, device=users.device)
        self.rank[partners[order]] = (places - self.first[targets[order].long()]).int()

    def __call__(self, batch: Batch, progress: float) -> Pair:
        """The user's own past and the partner's."""
        users, items = batch.users, batch.items
        uniform = torch.rand(len(items), device=items.device, dtype=torch.float64)
        if not used_for(items):
            return self.plain(batch, uniform)
        store, room = self.store, max(items.shape[1], self.store.longest)
        groups = (self.members, self.counts, self.first, self.rank)
        views, found = same_target_views(
            users, items, uniform, store.items, store.offsets, *groups, room
        )
        self.partnered = found.mean()
        return Pair(*views)

    def plain(self, batch: Batch, uniform: Uniform) -> Pair:
        """The views whose partners these numbers draw."""
        others = self.store.batch(self.partners(batch, uniform)).items
        width = max(batch.items.shape[1], others.shape[1])
        return Pair(
            *(
                drop_last(F.pad(items, (0, width - items.shape[1]))).past
                for items in (batch.items, others)
            )
        )

    def partners(self, batch: Batch, uniform: Uniform | None = None) -> Int[Tensor, " users"]:
        """A uniform other training user with the same last item; the user where there is none."""
        target, rank = self.groups(batch), self.rank[batch.users]
        member = rank >= 0
        choices = self.counts[target] - member.long()
        choices = choices * (lengths_of(batch.items) > 1)
        drawn = below(choices, uniform)
        drawn = drawn + (member & (drawn >= rank)).long()
        found = choices > 0
        self.partnered = found.float().mean()
        place = (self.first[target] + drawn).clamp(min=0, max=len(self.members) - 1)
        return torch.where(found, self.members[place].long(), batch.users)

    def groups(self, batch: Batch) -> Int[Tensor, " users"]:
        """Last item of each user."""
        return drop_last(batch.items).last
