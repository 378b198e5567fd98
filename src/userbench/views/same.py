"""The sequence twice (CLUE, Cheng et al., ICDM 2021; SimCSE, Gao et al., EMNLP 2021).

Nothing but the encoder's dropout tells the two views apart.
"""

from dataclasses import dataclass, field

from userbench.data.store import Batch, Bounds
from userbench.model.encoder import UserEncoder
from userbench.view import Pair, ViewOptions, Views


@dataclass(frozen=True)
class Options(ViewOptions):
    """Nothing to choose: the rate of dropout is the method's."""

    kind: str = field(default="same", init=False)

    def views(self, encoder: UserEncoder) -> Views:
        """The same views for every encoder."""
        return Same()


class Same(Views):
    """No augmentation."""

    def __call__(self, batch: Batch, progress: float) -> Pair:
        """Each user's sequence, twice."""
        return Pair(batch.items, batch.items)

    def bounds(self, batch: Batch) -> Bounds | None:
        """Those of the sequences."""
        return batch.bounds
