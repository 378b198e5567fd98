"""The encoder on a GPU: behaviours of all users side by side, a layer in eight kernels.

Plain version: `UserEncoder.encode`. A step of a small Transformer takes as long as its kernels are
many and its tensors large; arithmetic is nothing. So padding is not computed, what lies between two
products is one kernel (`kernels/`), hidden states stay in bf16 between kernels where the encoder
multiplies in it, and weights are rounded to it once a step. Sums, norms and softmaxes are in fp32.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from userbench.model.kernels.attention import attention
from userbench.model.kernels.bias_gelu import bias_gelu
from userbench.model.kernels.embedding import embedding
from userbench.model.kernels.language import Seed, draw_seed
from userbench.model.kernels.residual_norm import Twice, residual_norm
from userbench.model.kernels.side_by_side import Items, SideBySide, side_by_side

Packed = Float[Tensor, "capacity dim"]


class Encoded(NamedTuple):
    """The last hidden states, and whose they are; behind the last user's, anything."""

    hidden: Packed
    batch: SideBySide


class Weights(NamedTuple):
    """What the products of a layer multiply by, in the encoder's precision."""

    project: Tensor
    project_bias: Tensor
    merge: Tensor
    widen: Tensor
    narrow: Tensor


class Masks:
    """Dropout of one pass: each place draws masks of its own from one seed."""

    def __init__(self, encoder: nn.Module, device: torch.device):
        self.training = encoder.training
        drops = self.training and encoder.dropout.p > 0
        self.seed: Seed = (
            draw_seed(device) if drops else torch.zeros(1, dtype=torch.long, device=device)
        )
        self.places = 0

    def at_next_place(self, dropout: nn.Module) -> tuple[Seed, int, float]:
        """Seed, place and rate; the rate is 0 outside training."""
        self.places += 1
        return self.seed, self.places, dropout.p if self.training else 0.0


def encode(encoder: nn.Module, items: Items, capacity: int) -> Encoded:
    """The Transformer of a `UserEncoder` on right-padded rows of at most `capacity` behaviours."""
    batch = side_by_side(items, capacity)
    masks = Masks(encoder, items.device)
    hidden = embedding(
        *(encoder.items(batch.items), batch.positions, batch.starts, encoder.positions.weight),
        *(encoder.norm.weight, encoder.norm.bias),
        *(*masks.at_next_place(encoder.dropout), encoder.bf16),
    )
    states = Twice(hidden, hidden)
    for layer, weights in zip(encoder.layers, rounded(encoder), strict=True):
        states = layer_of(layer, weights, states, batch, masks, encoder.causal)
    return Encoded(states.first, batch)


def layer_of(
    layer: nn.Module,
    weights: Weights,
    states: Twice,
    batch: SideBySide,
    masks: Masks,
    causal: bool,
) -> Twice:
    """A `TransformerLayer` without grafts."""
    of_attention, norm = layer.attention, layer.attention_norm
    projected = F.linear(states.first, weights.project, weights.project_bias)
    seed, *dropped = masks.at_next_place(of_attention.dropout)
    longest = batch.rows.shape[1]
    mixed = attention(projected, batch.starts, seed, of_attention.heads, longest, *dropped, causal)
    states = residual_norm(
        *(F.linear(mixed, weights.merge), of_attention.merge.bias, states.second),
        *(norm.weight, norm.bias, *masks.at_next_place(layer.dropout)),
    )
    widened = bias_gelu(F.linear(states.first, weights.widen), layer.widen.bias)
    norm = layer.network_norm
    return residual_norm(
        *(F.linear(widened, weights.narrow), layer.narrow.bias, states.second),
        *(norm.weight, norm.bias, *masks.at_next_place(layer.dropout)),
    )


def rounded(encoder: nn.Module) -> Iterator[Weights]:
    """The weights of each layer, all of them rounded by one kernel."""
    tensors = []
    for layer in encoder.layers:
        project, merge = layer.attention.project, layer.attention.merge
        own = project.weight, project.bias, merge.weight, layer.widen.weight, layer.narrow.weight
        tensors += Weights(*own)
    if encoder.bf16:
        tensors = Rounded.apply(*tensors)
    width = len(Weights._fields)
    for first in range(0, len(tensors), width):
        yield Weights(*tensors[first : first + width])


class Rounded(torch.autograd.Function):
    """Many tensors in bf16, and their gradients in fp32, each by one kernel."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors in bf16."""
        return copied(tensors, torch.bfloat16)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Their gradients in fp32."""
        return copied(gradients, torch.float32)


def copied(tensors: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The tensors in another precision."""
    out = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    torch._foreach_copy_(out, list(tensors))
    return tuple(out)
