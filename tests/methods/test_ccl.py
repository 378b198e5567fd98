"""CCL: its generator."""

import torch
from toy_methods import build


def test_ccl_generator_is_frozen(store, batch):
    """Else the generator would learn from the contrast to write views that are easy to match."""
    method = build("ccl", store)
    generator = method.views.generator
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    for _ in range(3):
        loss, _ = method(batch, 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(torch.equal(value, before[n]) for n, value in generator.state_dict().items())
    assert {name.split(".")[0] for name, _ in method.named_parameters()} == {"encoder", "project"}
    assert not torch.equal(method.encoder.items.weight, before["items.weight"])
