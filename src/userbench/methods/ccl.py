"""CCL (Bian et al., CIKM 2021): contrast views written by a generator, from easy to difficult.

A generator fills masked behaviours with items of its own, so that views stay close to real
sequences, and a curriculum makes them harder as training goes on (`views/fill.py`).

Reconstruction: the published code has neither the generator nor the difficulty evaluator. Here the
generator is a frozen masked item model, and difficulty is the share of behaviours it fills.
"""

from dataclasses import dataclass

from torch import nn

from userbench.data.store import Batch
from userbench.fields import Positive
from userbench.method import Objective, PretrainMethod, TrainingConfig
from userbench.model.encoder import UserEncoder, initialise
from userbench.model.losses import Similarity, nt_xent
from userbench.view import ViewOptions
from userbench.views import fill


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Cosine and linear head of the authors' code.

    Deviation: dropout, 0.1, and learning rate, 2e-4, are those of all contrastive methods here; the
    authors' are 0.5 and 1e-3 (docs/ambiguities.md: compared_dropout, compared_lr).
    """

    views: ViewOptions = fill.Options()
    similarity: Similarity = "cosine"
    # Deviation: the authors' code has 1, at which cosines of other users hardly change the loss.
    temperature: Positive = 0.1


class Method(PretrainMethod):
    """NT-Xent between two filled sequences, by a linear head that is dropped afterwards."""

    config: Config

    def __init__(self, encoder: UserEncoder, config: Config):
        super().__init__(encoder, config)
        self.project = nn.Linear(encoder.width, encoder.width)
        initialise(self.project)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """L = NT-Xent(z1, z2), z = W u + b."""
        # Deviation: the authors' code takes anchors from one view only, and sums over the batch.
        z = self.project(self.encode_views(batch, progress))
        return Objective(nt_xent(*z.chunk(2), self.config.similarity, self.config.temperature))
