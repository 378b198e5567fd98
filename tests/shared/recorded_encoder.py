"""Our encoder with weights that were recorded from the released code."""

import numpy as np
import torch


def encoder_with(values: dict[str, np.ndarray]):
    """Our encoder with weights named as the released code names them."""
    from userbench.model.encoder import EncoderConfig, UserEncoder

    weight = {
        name.removeprefix("weight/base_model."): torch.from_numpy(value)
        for name, value in values.items()
        if name.startswith("weight/base_model.")
    }
    mask_vector = torch.from_numpy(values["weight/mask_token"])
    encoder = UserEncoder(EncoderConfig(n_items=60, dim=16, max_length=24), dropout=0.1)
    state = {
        "items.weight": torch.cat([weight["item_embedding.weight"], mask_vector]),
        "positions.weight": weight["pos_embedding.weight"],
        "norm.weight": weight["layer_norm.weight"],
        "norm.bias": weight["layer_norm.bias"],
        "pooling.query": weight["pooler.query"],
    }
    for layer in range(2):
        theirs, ours = f"trm_encoder.layers.{layer}", f"layers.{layer}"
        for kind in ("weight", "bias"):
            attention = f"{theirs}.self_attn"
            state[f"{ours}.attention.project.{kind}"] = torch.cat(
                [weight[f"{attention}.W{part}.{kind}"] for part in "QKV"]
            )
            state[f"{ours}.attention.merge.{kind}"] = weight[f"{attention}.WO.{kind}"]
            state[f"{ours}.attention_norm.{kind}"] = weight[f"{attention}.layer_norm.{kind}"]
            state[f"{ours}.widen.{kind}"] = weight[f"{theirs}.ffn.dense_1.{kind}"]
            state[f"{ours}.narrow.{kind}"] = weight[f"{theirs}.ffn.dense_2.{kind}"]
            state[f"{ours}.network_norm.{kind}"] = weight[f"{theirs}.ffn.layer_norm.{kind}"]
    encoder.load_state_dict(state)
    return encoder.eval()
