"""The encoder every method pre-trains: item ids -> one vector per user.

A bidirectional post-LN Transformer (BERT4Rec, Sun et al., CIKM 2019) with attention pooling, as in
AdaptSSR's code: d 64, 2 layers, 2 heads, exact GELU, LayerNorm eps 1e-12, one pooling query.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int16
from torch import Tensor, nn

from userbench.data.store import Bounds
from userbench.model import fused
from userbench.model.kernels.item_rows import Pending, RowState, look_up
from userbench.model.kernels.language import used_for
from userbench.model.kernels.pooling import pooling
from userbench.model.kernels.side_by_side import SideBySide, unpacked
from userbench.model.packing import Hidden, Items, Packed, Places, groups_by_look, pad_to

Allowed = Bool[Tensor, "users 1 #length length"]
UserVectors = Float[Tensor, "users width"]

SHAPES_COMPILED = 64
COUNTERS: list[Counter["UserEncoder"]] = []
"""Those of the blocks of `counted_rows` that are being run."""


@dataclass(frozen=True)
class EncoderConfig:
    """Size of the encoder: the benchmark compares methods at equal size."""

    n_items: int
    dim: int = 64
    layers: int = 2
    heads: int = 2
    max_length: int = 150
    attention_dropout: bool = True
    """Dropout on the attention probabilities, too, as in the authors' code; without it attention is
    fused."""

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"encoder: {name} {getattr(self, name)}: give 1 or more")
        if self.dim % self.heads:
            raise ValueError(f"encoder: dim {self.dim} is no multiple of heads {self.heads}")

    @property
    def mask_id(self) -> int:
        """Row of the item table that holds the learned mask vector."""
        return self.n_items + 1


class Dropout(nn.Dropout):
    """`nn.Dropout`, with random bits four times cheaper on a CPU (keep probability in 1/65536)."""

    def forward(
        self, values: Float[Tensor, "..."], places: Places | None = None
    ) -> Float[Tensor, "..."]:
        """Zero each value with probability `p` while training; scale the others by 1/(1-p).

        What a value meets does not depend on which other positions are computed.
        """
        if not self.training or self.p == 0 or values.is_cuda:
            return super().forward(values)
        dropped = round(self.p * 2**16)
        if places is None:
            bits = random_bits(*values.shape)
        else:
            everywhere = random_bits(places.rows * places.length, values.shape[1])
            bits = places.pick(everywhere)
        keep = torch.empty_like(values, requires_grad=False)
        torch.ge(bits, dropped - 2**15, out=keep)
        return values * keep.mul_(2**16 / (2**16 - dropped))


def random_bits(*shape: int) -> Int16[Tensor, "..."]:
    """Uniform 16-bit integers."""
    # Why: drawing one float per value costs ten times a GELU here; 64 bits decide four values.
    count = math.prod(shape)
    words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    return words.view(torch.int16)[:count].view(shape)


class SelfAttention(nn.Module):
    """Multi-head self-attention over whole sequences, dropout on the attention probabilities."""

    def __init__(self, config: EncoderConfig, dropout: float):
        super().__init__()
        self.heads = config.heads
        self.project = nn.Linear(config.dim, 3 * config.dim)
        self.merge = nn.Linear(config.dim, config.dim)
        self.dropout = Dropout(dropout if config.attention_dropout else 0.0)

    def forward(self, hidden: Packed, places: Places, allowed: Allowed) -> Packed:
        """Mix every position with the `allowed` positions of its sequence."""
        dim = hidden.shape[1]
        projected = places.pad(self.project(hidden))
        projected = projected.unflatten(2, (3, self.heads, dim // self.heads))
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        if self.training and self.dropout.p > 0 and not hidden.is_cuda:
            scores = (query * (dim // self.heads) ** -0.5) @ key.transpose(-1, -2)
            scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
            mixed = self.dropout(scores.softmax(-1)) @ value
        else:
            rate = self.dropout.p if self.training else 0.0
            mixed = F.scaled_dot_product_attention(query, key, value, allowed, dropout_p=rate)
        return self.merge(places.pack(mixed.transpose(1, 2).flatten(2)))


class TransformerLayer(nn.Module):
    """Post-LN layer: attention and a GELU network of width 4d, each followed by add and norm."""

    def __init__(self, config: EncoderConfig, dropout: float):
        super().__init__()
        self.attention = SelfAttention(config, dropout)
        self.attention_norm = nn.LayerNorm(config.dim, eps=1e-12)
        self.widen = nn.Linear(config.dim, 4 * config.dim)
        self.narrow = nn.Linear(4 * config.dim, config.dim)
        self.network_norm = nn.LayerNorm(config.dim, eps=1e-12)
        self.dropout = Dropout(dropout)
        # Why: places where a method may graft something of its own (see `methods/peterrec.py`).
        self.after_attention, self.after_network = nn.Identity(), nn.Identity()

    def forward(self, hidden: Packed, places: Places, allowed: Allowed) -> Packed:
        """One layer; hidden states of padding are never read."""
        attended = self.after_attention(self.attention(hidden, places, allowed))
        hidden = self.attention_norm(hidden + self.dropout(attended, places))
        network = self.after_network(self.narrow(F.gelu(self.widen(hidden))))
        return self.network_norm(hidden + self.dropout(network, places))


class AttentionPooling(nn.Module):
    """One vector per learned query, side by side: no projection, no scaling, as in the
    authors' code."""

    def __init__(self, dim: int, queries: int = 1):
        super().__init__()
        self.query = nn.Parameter(torch.empty(queries, dim))
        nn.init.normal_(self.query, std=0.02)
        self.width = queries * dim

    # Whether hidden states may come side by side.
    side_by_side = True

    def forward(self, hidden: Hidden | Packed, items: Items | SideBySide) -> UserVectors:
        """Mean of the hidden states, weighted by the softmax of their dot product with a query."""
        if isinstance(items, SideBySide):
            return pooling(hidden, items.starts, self.query).flatten(1)
        padding = (items == 0)[:, :, None]
        scores = hidden @ self.query.T
        scores = scores.masked_fill(padding, torch.finfo(scores.dtype).min)
        return (scores.softmax(1).transpose(1, 2) @ hidden).flatten(1)


class ItemTable(nn.Embedding):
    """Vectors of padding (row 0), all items, and the mask (last row).

    All code reads them through here, so that an optimizer may defer the update of a row until then.
    """

    def __init__(self, config: EncoderConfig):
        super().__init__(config.n_items + 2, config.dim, padding_idx=0)
        self.before_read: Callable[[Tensor | None], None] | None = None
        # On a GPU: what look-ups compute deferred updates from, and the gradients of look-ups.
        self.row_state: RowState | None = None
        self.pending: list[Pending] = []

    def forward(self, ids: Int[Tensor, "..."]) -> Float[Tensor, "... dim"]:
        """Vectors of these items."""
        if self.row_state is not None:
            return look_up(self.weight, ids, self.row_state, self.pending)
        if self.before_read is not None:
            self.before_read(ids)
        return super().forward(ids)

    def whole(self) -> Float[Tensor, "rows dim"]:
        """All vectors."""
        if self.before_read is not None:
            self.before_read(None)
        return self.weight

    def without_mask(self) -> Float[Tensor, "items dim"]:
        """Vectors of padding and all items."""
        return self.whole()[:-1]


class UserEncoder(nn.Module):
    """Item ids -> hidden state of every behaviour, or one vector per user."""

    def __init__(self, config: EncoderConfig, dropout: float):
        super().__init__()
        self.config = config
        self.items = ItemTable(config)
        self.positions = nn.Embedding(config.max_length, config.dim)
        self.norm = nn.LayerNorm(config.dim, eps=1e-12)
        self.layers = nn.ModuleList(TransformerLayer(config, dropout) for _ in range(config.layers))
        self.dropout = Dropout(dropout)
        self.apply(initialise)
        self.pooling: nn.Module = AttentionPooling(config.dim)
        # Every behaviour attends to all of its sequence, or, where causal, to no later one.
        self.causal = False
        # Whether padding is left out where nothing has to wait for it.
        self.packed = True
        # Whether the Transformer multiplies in bfloat16 (autocast), and whether it is compiled.
        self.bf16 = self.compiled = False

    @property
    def width(self) -> int:
        """Length of a user vector: more than `dim` where a method pools several interests."""
        return self.pooling.width

    @property
    def item_table(self) -> Float[Tensor, "items dim"]:
        """Vectors of padding and all items, without the mask vector: what tied softmaxes read."""
        return self.items.without_mask()

    def forward(self, items: Items, bounds: Bounds | None = None) -> UserVectors:
        """One vector per user."""
        return self.by_length(items, self.pooling, bounds)

    def hidden(self, items: Items, bounds: Bounds | None = None) -> Hidden:
        """Last hidden state of every behaviour; at padding, anything."""
        length = items.shape[1]
        return self.by_length(items, lambda hidden, rows: pad_to(hidden, length), bounds)

    def by_length(
        self,
        items: Items,
        finish: Callable[[Hidden, Items], Tensor],
        bounds: Bounds | None = None,
    ) -> Float[Tensor, "users ..."]:
        """Encode and `finish` groups of rows of similar length, each cut to its longest row.

        Batches are random, so most rows are shorter than the longest: here padding is saved. On a
        GPU, where one would have to wait for the lengths, behaviours lie side by side: as many as
        the `bounds` of a batch say whose users all have equally many rows here. A `finish` that
        has no attribute `side_by_side` gets them in padded rows.
        """
        for counter in COUNTERS:
            counter[self] += len(items)
        if used_for(items) and not self.compiled and not any(map(grafted, self.layers)):
            encoded = fused.encode(self, items, most_behaviours(items, bounds))
            if getattr(finish, "side_by_side", False):
                return finish(*encoded)
            return finish(unpacked(*encoded), items)
        if items.is_cuda:
            return finish(self.states(self.items(items), items), items)
        lengths, order = (items != 0).sum(1).sort()
        sizes, widths = groups_by_look(lengths)
        # Why: looked up once, because each look-up has a gradient as large as the item table.
        embedded, rows = self.items(items[order]).split(sizes), items[order].split(sizes)
        groups = [
            finish(self.states(vectors[:, :width], some[:, :width]), some[:, :width])
            for vectors, some, width in zip(embedded, rows, widths, strict=True)
        ]
        return torch.cat(groups)[order.argsort()]

    def states(self, embedded: Hidden, items: Items) -> Hidden:
        """`encode` in the precision that is set; what comes after it is fp32 again."""
        encode = compiled_encode() if self.compiled else UserEncoder.encode
        with torch.autocast(items.device.type, torch.bfloat16, enabled=self.bf16):
            return encode(self, embedded, items).float()

    def encode(self, embedded: Hidden, items: Items) -> Hidden:
        """The Transformer on rows as they are; at padding it gives anything."""
        places = Places(items, self.packed and not items.is_cuda)
        hidden = places.pack(embedded + self.positions.weight[: items.shape[1]])
        hidden = self.dropout(self.norm(hidden), places)
        allowed = (items != 0)[:, None, None, :]
        if self.causal:
            allowed = allowed & allowed.new_ones(items.shape[1], items.shape[1]).tril()
        for layer in self.layers:
            hidden = layer(hidden, places, allowed)
        return places.pad(hidden)


def most_behaviours(items: Items, bounds: Bounds | None) -> int:
    """How many behaviours these rows may have together."""
    if bounds is None:
        return items.numel()
    return min(items.numel(), len(items) // bounds.users * bounds.behaviours)


def grafted(layer: TransformerLayer) -> bool:
    """Whether a method has put something of its own into a layer."""
    grafts = layer.after_attention, layer.after_network
    return not all(isinstance(graft, nn.Identity) for graft in grafts)


@contextmanager
def counted_rows() -> Iterator[Counter[UserEncoder]]:
    """How many sequences each encoder is given while the block runs, from shapes alone."""
    counter: Counter[UserEncoder] = Counter()
    COUNTERS.append(counter)
    try:
        yield counter
    finally:
        COUNTERS.pop()


@cache
def compiled_encode() -> Callable[[UserEncoder, Hidden, Items], Hidden]:
    """`UserEncoder.encode`, compiled once for each shape."""
    torch._dynamo.config.recompile_limit = SHAPES_COMPILED
    return torch.compile(UserEncoder.encode, dynamic=False, fullgraph=True)


def initialise(part: nn.Module, generator: torch.Generator | None = None) -> None:
    """N(0, 0.02) for every matrix, zero for every bias, as in the authors' code.

    The row of padding is drawn, too.
    """
    if isinstance(part, nn.Linear | nn.Embedding):
        nn.init.normal_(part.weight, std=0.02, generator=generator)
    if isinstance(part, nn.Linear):
        nn.init.zeros_(part.bias)
