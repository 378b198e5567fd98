"""Adam for both loops; the item table, by far the largest tensor, may be updated row by row."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn, optim, sparse_coo_tensor

from userbench.model.encoder import ItemTable
from userbench.model.kernels.item_rows import (
    BETA1,
    BETA2,
    EPS,
    FADED,
    item_rows_apply,
    new_row_state,
)
from userbench.model.kernels.item_step import step_all, step_rows
from userbench.model.kernels.language import used_for

ITEM_TABLES = ("dense", "lazy")
# Why: on a CPU, smaller tables are updated whole in less time than their read rows are found.
DEFERRED_FROM = 1 << 17
NODES = 6
ROWS_AT_ONCE = 1 << 16


class Adam:
    """Adam over all parameters that train; `item_table` says how the item table is updated.

    "dense": as in the authors' code; rows without a gradient keep moving by their momentum.
    "lazy": such rows and their moments stay (torch's SparseAdam).
    """

    def __init__(self, model: nn.Module, lr: float, item_table: str, items: ItemTable):
        if item_table not in ITEM_TABLES:
            raise ValueError(f"item_table {item_table!r}: use one of {', '.join(ITEM_TABLES)}")
        trained = [value for value in model.parameters() if value.requires_grad]
        self.items, self.table = items, items.weight
        table = self.table
        self.lazy: list[nn.Parameter] = []
        self.deferred: DeferredAdam | DeferredAdamOnGpu | None = None
        if item_table == "lazy" and table.requires_grad:
            self.lazy = [table]
            self.of_lazy = optim.SparseAdam(self.lazy, lr=lr)
        elif table.requires_grad and len(table) >= DEFERRED_FROM:
            if used_for(table):
                self.deferred = DeferredAdamOnGpu(items, lr)
            elif not table.is_cuda:
                self.deferred = DeferredAdam(items, lr)
        if self.lazy or self.deferred:
            trained = [value for value in trained if value is not table]
        # Capturable: what counts its steps is on the GPU, so that a CUDA graph may hold a step.
        self.of_others = optim.Adam(trained, lr=lr, fused=True, capturable=table.is_cuda)

    def step(self, loss: Tensor) -> None:
        """Go one step down the gradient of `loss`."""
        self.of_others.zero_grad(set_to_none=True)
        self.table.grad = None
        self.items.pending.clear()
        loss.backward()
        self.of_others.step()
        if self.deferred is not None:
            self.deferred.step()
        for table in self.lazy:
            dense = table.grad
            rows = dense.any(1).nonzero()
            table.grad = sparse_coo_tensor(
                rows.T, dense[rows[:, 0]], dense.shape, is_coalesced=True, check_invariants=False
            )
            self.of_lazy.step()

    def state_dict(self) -> dict[str, Any]:
        """All that is kept of earlier steps; no deferred update is applied for it."""
        return {
            "others": self.of_others.state_dict()["state"],
            "lazy": self.of_lazy.state_dict()["state"] if self.lazy else {},
            "deferred": self.deferred.state_dict() if self.deferred else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what `state_dict` of an equal model returned."""
        load_moments(self.of_others, state["others"])
        if self.lazy:
            load_moments(self.of_lazy, state["lazy"])
        if self.deferred is not None:
            self.deferred.load_state_dict(state["deferred"])


def load_moments(optimizer: optim.Optimizer, state: dict[str, Any]) -> None:
    """Set what torch's optimizer keeps of each parameter; its settings stay."""
    moments = {int(number): moments for number, moments in state.items()}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


class DeferredAdam:
    """The trajectory of dense Adam on a large table, at the cost of the rows that are read.

    A row that gets no gradient in k steps after step t moves by its momentum m alone:

        lr m sum_(j=1..k) w_j / (sqrt(v) h_j + eps),
        w_j = b1^j / (1 - b1^(t+j)),  h_j = sqrt(b2^j / (1 - b2^(t+j))).

    That update is deferred until the row is read through `ItemTable`. The sum is an integral
    over atoms h_j that are the same for all rows of one t: a Gauss rule of six nodes gives it to
    float precision, whatever v is.
    """

    def __init__(self, items: ItemTable, lr: float):
        self.table, self.lr, self.steps = items.weight, lr, 0
        # Mean and square of the gradients, side by side: half as many rows to read and write.
        self.moments = torch.zeros_like(self.table).repeat(1, 2)
        self.moved_at = torch.zeros(len(self.table), dtype=torch.long)
        # Row t: the rule for what has happened since step t, final once its momentum has faded.
        self.nodes, self.weights = torch.zeros(2, FADED, NODES)
        items.sparse = True  # Why: else each look-up has a gradient as large as the table.
        items.before_read = self.apply_deferred
        items.register_state_dict_pre_hook(lambda *_: self.apply_deferred(None))
        items.register_load_state_dict_post_hook(self.take_as_current)

    @torch.no_grad()
    def step(self) -> None:
        """One step of Adam for the rows with a gradient, which are up to date: they were read."""
        self.steps += 1
        gradient = self.table.grad
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            self.step_rows(gradient.indices()[0], gradient.values())
        else:
            every = torch.arange(len(gradient))
            for rows in every.split(ROWS_AT_ONCE):
                self.step_rows(rows, gradient[rows])
        self.extend_rules()

    def extend_rules(self) -> None:
        """Add the step just made to the rules of all steps whose momentum has not faded."""
        if self.steps > len(self.nodes):
            self.nodes, self.weights = (
                torch.cat([rules, torch.zeros_like(rules)]) for rules in (self.nodes, self.weights)
            )
        since = np.arange(max(0, self.steps - FADED), self.steps)
        rule = gauss_rule(since, self.steps)
        self.nodes[since] = torch.from_numpy(rule.nodes).float()
        self.weights[since] = torch.from_numpy(rule.weights).float()

    def step_rows(self, rows: Int[Tensor, " rows"], gradient: Float[Tensor, "rows dim"]) -> None:
        """Adam's update of some rows (Kingma and Ba, ICLR 2015)."""
        moments = self.moments.index_select(0, rows)
        mean, square = moments.chunk(2, dim=1)
        mean.lerp_(gradient, 1 - BETA1)
        square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        self.moments.index_copy_(0, rows, moments)
        root = square.sqrt_().div_((1 - BETA2**self.steps) ** 0.5).add_(EPS)
        size = self.lr / (1 - BETA1**self.steps)
        values = self.table.index_select(0, rows).addcdiv_(mean, root, value=-size)
        self.table.index_copy_(0, rows, values)
        self.moved_at[rows] = self.steps

    def state_dict(self) -> dict[str, Any]:
        """What is kept of earlier steps, beside the table."""
        return {
            "steps": self.steps,
            **{name: getattr(self, name) for name in ("moments", "moved_at", "nodes", "weights")},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what `state_dict` returned."""
        for name, value in state.items():
            setattr(self, name, value)

    def take_as_current(self, *_: object) -> None:
        """Drop the deferred updates: weights that were loaded have none."""
        self.moved_at.fill_(self.steps)

    @torch.no_grad()
    def apply_deferred(self, ids: Int[Tensor, "..."] | None) -> None:
        """Apply the deferred updates of the rows that are about to be read; None: of all rows."""
        at = self.moved_at if ids is None else self.moved_at[ids]
        missed = at < self.steps
        rows = missed.nonzero()[:, 0] if ids is None else ids[missed].unique()
        for some in rows.split(ROWS_AT_ONCE):
            self.apply_deferred_rows(some)

    def apply_deferred_rows(self, rows: Int[Tensor, " rows"]) -> None:
        """Apply the deferred updates of these rows."""
        since = self.moved_at[rows]
        moments = self.moments.index_select(0, rows)
        mean, square = moments.chunk(2, dim=1)
        root, moved = square.sqrt(), torch.zeros_like(mean)
        for node, weight in zip(self.nodes[since].T, self.weights[since].T, strict=True):
            moved += weight[:, None] / (root * node[:, None]).add_(EPS)
        values = self.table.index_select(0, rows).addcmul_(mean, moved, value=-self.lr)
        self.table.index_copy_(0, rows, values)
        missed = (self.steps - since)[:, None]
        mean.mul_(BETA1**missed)
        square.mul_(BETA2**missed)
        self.moments.index_copy_(0, rows, moments)
        self.moved_at[rows] = self.steps


class DeferredAdamOnGpu:
    """`DeferredAdam` by kernels of our own: no shape depends on which rows are read, none waits.

    A look-up computes what its rows have missed and writes nothing; their step writes it.
    """

    def __init__(self, items: ItemTable, lr: float):
        self.items, self.table = items, items.weight
        self.state = items.row_state = new_row_state(self.table, lr)
        # What marks the table as trained after a step that read only some rows: no gradient of it.
        self.no_rows = torch.sparse_coo_tensor(
            size=self.table.shape, device=self.table.device, check_invariants=False
        )
        items.before_read = lambda _: self.apply_deferred()
        items.register_state_dict_pre_hook(lambda *_: self.apply_deferred())
        items.register_load_state_dict_post_hook(self.take_as_current)

    @torch.no_grad()
    def step(self) -> None:
        """One step of Adam: for all rows where the whole table was read, else for those read."""
        gradient, pending = self.table.grad, self.items.pending
        if gradient is not None:
            step_all(self.table, self.state, pending, gradient)
        elif pending:
            step_rows(self.table, self.state, pending)
            self.table.grad = self.no_rows
        pending.clear()

    def apply_deferred(self) -> None:
        """Apply the deferred updates of all rows."""
        # Why `.data`: what autograd has kept of the table is what this leaves as it is.
        item_rows_apply(self.table.data, *self.state)

    def take_as_current(self, *_: object) -> None:
        """Drop the deferred updates: weights that were loaded have none."""
        self.state.moved_at.copy_(self.state.steps.expand_as(self.state.moved_at))

    def state_dict(self) -> dict[str, Any]:
        """What is kept of earlier steps, beside the table."""
        return self.state._asdict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what `state_dict` returned, where captured steps read it."""
        for name, value in self.state._asdict().items():
            value.copy_(state[name])


class Rule(NamedTuple):
    """Of sums over missed steps: sum_j w_j f(h_j) = sum_i weights_i f(nodes_i)."""

    nodes: Float64[np.ndarray, "steps nodes"]
    weights: Float64[np.ndarray, "steps nodes"]


def gauss_rule(since: Int[np.ndarray, " steps"], now: int) -> Rule:
    """Gauss rules for the atoms (h_j, w_j) of `DeferredAdam`, from each step `since` until `now`.

    By Lanczos and the eigenvectors of its matrix (Golub and Welsch, 1969). Exact where fewer steps
    than nodes were missed.
    """
    later = np.arange(1, FADED + 1)
    step = since[:, None] + later
    weight = np.where(step <= now, BETA1**later / (1 - BETA1**step), 0)
    atom = np.sqrt(BETA2**later / (1 - BETA2**step))
    total = weight.sum(1, keepdims=True)
    matrix = np.zeros((len(since), NODES, NODES))
    vector, before, norm = np.sqrt(weight / total), 0.0, np.zeros((len(since), 1))
    for i in range(NODES):
        rest = atom * vector
        matrix[:, i, i] = (rest * vector).sum(1)
        rest -= matrix[:, i, i, None] * vector + norm * before
        if i + 1 < NODES:
            norm = np.linalg.norm(rest, axis=1, keepdims=True)
            matrix[:, i, i + 1] = matrix[:, i + 1, i] = norm[:, 0]
            before, vector = vector, rest / np.maximum(norm, 1e-300)
    nodes, vectors = np.linalg.eigh(matrix)
    return Rule(nodes, total * vectors[:, 0] ** 2)
