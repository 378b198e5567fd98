"""The sequence twice (CLUE, Cheng et al., ICDM 2021; SimCSE, Gao et al., EMNLP 2021).

Only the encoder's dropout makes the two views differ.
"""

from dataclasses import dataclass, field

from userbench.data.store import Batch, Bounds
from userbench.model.encoder import UserEncoder
from userbench.view import Pair, ViewOptions, Views


@dataclass(frozen=True)
class Options(ViewOptions):
    """No options: the dropout rate is the method's."""

    kind: str = field(default="same", init=False)

    def build(self, encoder: UserEncoder) -> Views:
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
