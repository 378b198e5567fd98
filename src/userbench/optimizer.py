"""Adam for both loops; the item table, by far the largest tensor, may be stepped row by row."""

from torch import Tensor, nn, optim, sparse_coo_tensor

ITEM_TABLES = ("dense", "lazy")


class Adam:
    """Adam over all parameters that train; `item_table` says how the item table is stepped.

    "dense": as released. Rows without a gradient keep moving on their momentum. "lazy": such rows
    and their moments stay (torch's SparseAdam).
    """

    def __init__(self, model: nn.Module, lr: float, item_table: str, table: nn.Parameter):
        if item_table not in ITEM_TABLES:
            raise ValueError(f"item_table {item_table!r}: use one of {', '.join(ITEM_TABLES)}")
        trained = [value for value in model.parameters() if value.requires_grad]
        self.lazy: list[nn.Parameter] = []
        if item_table == "lazy" and table.requires_grad:
            self.lazy = [table]
            trained = [value for value in trained if value is not table]
            self.of_lazy = optim.SparseAdam(self.lazy, lr=lr)
        self.of_others = optim.Adam(trained, lr=lr, fused=True)

    def step(self, loss: Tensor) -> None:
        """Go one step down the gradient of `loss`."""
        self.of_others.zero_grad(set_to_none=True)
        for table in self.lazy:
            table.grad = None
        loss.backward()
        self.of_others.step()
        for table in self.lazy:
            dense = table.grad
            rows = dense.any(1).nonzero()
            table.grad = sparse_coo_tensor(
                rows.T, dense[rows[:, 0]], dense.shape, is_coalesced=True, check_invariants=False
            )
            self.of_lazy.step()
