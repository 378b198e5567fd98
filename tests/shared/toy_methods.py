"""Every method on a toy corpus, and NT-Xent as a double loop."""

from dataclasses import replace

import numpy as np
import torch

N_ITEMS, USERS, DIM = 40, 48, 16


def build(name, store, views=None, **changes):
    from userbench.conformance import Case
    from userbench.conformance import build as built
    from userbench.method import load_method

    module = load_method(name)
    config = replace(module.Config(), **changes)
    if views:
        config = replace(config, views=replace(config.views, **views))
    return built(Case(module, config, store))


def seeded(method, batch, seed=1, progress=0.0):
    torch.manual_seed(seed)
    return method(batch, progress)


def views_of(method, batch, seed=1, progress=0.0):
    """The views that `seeded` compares: no random number is drawn before them."""
    torch.manual_seed(seed)
    return method.views(batch, progress)


def nt_xent_by_the_book(first, second, similarity, temperature, groups=None):
    """The double loop; users of one group are no negatives of each other."""
    vectors, n = [*first, *second], len(first)
    if similarity == "cosine":
        vectors = [v / v.norm() for v in vectors]
    total = 0.0
    for i, anchor in enumerate(vectors):
        positive = (i + n) % (2 * n)
        scores = [
            float(anchor @ other) / temperature
            for j, other in enumerate(vectors)
            if j == positive or (j != i and (groups is None or groups[j % n] != groups[i % n]))
        ]
        total += np.logaddexp.reduce(scores) - float(anchor @ vectors[positive]) / temperature
    return total / (2 * n)
